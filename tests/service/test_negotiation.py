"""Which format an answer has, by the rules of RFC 9110, section 12.5.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.encoding import FORMATS, Format
from service.errors import Refusal
from service.negotiation import negotiate


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_format_is_known_by_its_name_and_its_media_type(form: Format) -> None:
    assert negotiate(form.name, None) is form
    first = next(each for each in FORMATS if each.media_type == form.media_type)
    assert negotiate(form.media_type.upper(), "text/html") is first


@pytest.mark.parametrize("wanted", ["gif", "", "image/*", "*/*", "image/png;q=1", "PNG\n\n;"])
def test_other_formats_are_refused(wanted: str) -> None:
    with pytest.raises(Refusal) as refusal:
        negotiate(wanted, None)
    assert (refusal.value.status, refusal.value.field) == (422, "format")


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "png"),
        ("", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/png", "png"),
        ("IMAGE/WEBP", "webp"),
        ("image/webp, image/png;q=0.9", "webp"),
        ("application/*", "zip"),
        ("application/x-npz, application/json", "json"),
        ("image/png;q=0.1, image/jpeg;q=0.2", "jpeg"),
        ("image/png;q=0.1, */*;q=0.2", "webp"),
        ("image/png;q=0, image/*", "webp"),
        ("image/*;q=0, */*", "zip"),
        ("text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8", "webp"),
        ("text/html, application/json;q=0.9, */*;q=0.1", "json"),
        ("image/jpeg ; level=1 ; Q=0.5 , application/zip;q=0.4", "jpeg"),
        ("image/jpeg;q=high, application/zip", "zip"),
        ("image/jpeg;q=7, image/png", "png"),
        ("image/jpeg;q=nan, image/webp;q=0.1", "webp"),
        ("image/jpeg; q = 0.1, image/webp;q=0.2", "webp"),
        (", ,image/webp,", "webp"),
    ],
)
def test_accept_chooses(accept: str | None, name: str) -> None:
    assert negotiate(None, accept).name == name


@pytest.mark.parametrize(
    "accept", ["text/html", "image/gif", "image/png;q=0", "*/*;q=0.0", "image", "*", ";"]
)
def test_nothing_acceptable_is_refused(accept: str) -> None:
    with pytest.raises(Refusal) as refusal:
        negotiate(None, accept)
    assert (refusal.value.status, refusal.value.field) == (406, "Accept")


@given(st.text(alphabet="imagepng/*;q=.01, ", max_size=40))
def test_whatever_accept_says_there_is_an_answer(accept: str) -> None:
    try:
        outcome = negotiate(None, accept).name
    except Refusal as refusal:
        outcome = str(refusal.status.value)
    assert outcome in {*(form.name for form in FORMATS), "406"}
