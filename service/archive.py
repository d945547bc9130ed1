"""ZIP archives of stored members (PKWARE's APPNOTE 6.3), made around what they hold without copying it."""

import struct
from collections.abc import Iterable, Sequence

from isal.isal_zlib import crc32

Buffer = bytes | memoryview

# From here on a number goes into the fields of Zip64, and this value stands in its place.
ZIP64 = 2**32 - 1
MOST_MEMBERS = 2**16 - 1

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")

_UNIX = 3 << 8
_FIRST_OF_1980 = 1 << 5 | 1  # the same day always, so that the same members give the same bytes
_MODE = 0o644 << 16


def stored(members: Iterable[tuple[str, Sequence[Buffer]]]) -> list[Buffer]:
    """The buffers of an archive, in order; a member is an ASCII name and buffers of bytes."""
    archive: list[Buffer] = []
    directory: list[bytes] = []
    offset = count = 0
    for name, content in members:
        count += 1
        size = checksum = 0
        for part in content:
            size += len(part)
            checksum = crc32(part, checksum)
        path = name.encode("ascii")
        extra = _zip64(size, size)
        version = 45 if extra else 20
        common = (0, 0, 0, _FIRST_OF_1980, checksum, _capped(size), _capped(size), len(path))
        local = _LOCAL.pack(b"PK\3\4", version, *common, len(extra)) + path + extra
        archive += (local, *content)
        extra = _zip64(size, size, offset)
        central = (len(extra), 0, 0, 0, _MODE, _capped(offset))
        directory.append(_CENTRAL.pack(b"PK\1\2", _UNIX | 45, version, *common, *central) + path + extra)
        offset += len(local) + size
    return [*archive, *directory, _end(count, sum(map(len, directory)), offset)]


def _zip64(*numbers: int) -> bytes:
    """The extra field for those that need it."""
    large = [number for number in numbers if number >= ZIP64]
    return struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""


def _capped(number: int) -> int:
    return 2**32 - 1 if number >= ZIP64 else number


def _end(count: int, size: int, offset: int) -> bytes:
    end = _END.pack(
        b"PK\5\6", 0, 0, min(count, MOST_MEMBERS), min(count, MOST_MEMBERS), _capped(size), _capped(offset), 0
    )
    if max(size, offset) < ZIP64 and count < MOST_MEMBERS:
        return end
    zip64 = _ZIP64_END.pack(b"PK\6\6", 44, _UNIX | 45, 45, 0, 0, count, count, size, offset)
    return zip64 + _ZIP64_LOCATOR.pack(b"PK\6\7", 0, offset + size, 1) + end
