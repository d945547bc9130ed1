"""Which format the answer has: the request's `format`, else its Accept header (RFC 9110, section 12.5.1)."""

import re
from http import HTTPStatus

from service.encoding import FORMATS, Format
from service.errors import Refusal
from service.schemas import EXPECTED, shown, unprocessable


def negotiate(wanted: str | None, accept: str | None) -> Format:
    """The format that is named, or that the Accept header likes best, the picture as PNG when it is silent.

    Raises Refusal.
    """
    if wanted is not None:
        return _named(wanted)
    if accept is None or not accept.strip():
        return FORMATS[0]
    ranges = _parse(accept)
    best = max(FORMATS, key=lambda form: _quality(form.media_type, ranges))
    if _quality(best.media_type, ranges) == 0:
        offered = ", ".join(dict.fromkeys(form.media_type for form in FORMATS))
        raise Refusal(
            HTTPStatus.NOT_ACCEPTABLE,
            f"Accept is {shown(accept)}, which leaves none of the formats that there are",
            field="Accept",
            expected=f"one of {offered}",
        )
    return best


def _named(wanted: str) -> Format:
    name = wanted.strip().lower()
    for form in FORMATS:
        if name in (form.name, form.media_type):
            return form
    raise unprocessable("format", f"format is {shown(wanted)}", EXPECTED["format"])


def _parse(accept: str) -> dict[str, float]:
    """The quality of each media range; ranges that make no sense are passed over."""
    ranges = {}
    for item in accept.split(","):
        media_range, *parameters = ("".join(part.lower().split()) for part in item.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        if re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", quality):
            ranges[media_range] = float(quality)
    return ranges


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """How much a media type is liked: the quality of the most specific range that it is in."""
    kind = media_type.partition("/")[0]
    for media_range in (media_type, f"{kind}/*", "*/*"):
        if media_range in ranges:
            return ranges[media_range]
    return 0.0
