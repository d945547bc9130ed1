"""Archives, read by zipfile."""

import io
import zipfile
from collections.abc import Sequence

import numpy as np
import pytest

from service import archive
from service.archive import Buffer, stored

MEMBERS: list[tuple[str, Sequence[Buffer]]] = [
    ("one.txt", [b"one"]),
    ("several/buffers.bin", [b"", b"a" * 1000, memoryview(b"bc"), np.arange(500).data.cast("B")]),
    ("none", []),
    ("last.txt", [b"last"]),
]
CONTENTS = {name: b"".join(content) for name, content in MEMBERS}


def read(buffers: Sequence[Buffer]) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(b"".join(buffers))) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def test_members_are_read_as_they_were() -> None:
    assert read(stored(MEMBERS)) == CONTENTS


def test_an_archive_of_nothing_is_one() -> None:
    assert read(stored([])) == {}


def test_what_is_stored_is_not_copied() -> None:
    content = memoryview(bytes(10))
    assert any(buffer is content for buffer in stored([("zeros", [content])]))


def test_members_are_files_that_everybody_may_read_and_bear_no_date() -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(stored(MEMBERS)))) as found:
        for member in found.infolist():
            assert member.external_attr >> 16 == 0o644
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert member.compress_type == zipfile.ZIP_STORED


@pytest.mark.parametrize("limit", [0, 100, 2000, 6000])
def test_what_is_too_large_for_zip_is_written_as_zip64(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = b"".join(stored(MEMBERS))
    monkeypatch.setattr(archive, "ZIP64", limit)
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    large = stored(MEMBERS)
    assert b"PK\6\6" in b"".join(large)
    assert b"PK\6\6" not in ordinary
    assert read(large) == CONTENTS
