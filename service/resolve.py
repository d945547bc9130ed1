"""What a request means for a generator: exactly which rows to compute, and what they are of."""

import secrets
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.contract import Contract
from service.encoding import Format, contact_sheet_shape
from service.latents import classes, latents, words
from service.limits import INDEXES
from service.rows import Rows
from service.schemas import EXPECTED, GenerateRequest, shown, unprocessable

# From 2**53 on integers lose their last digits in JavaScript, and wherever else JSON's numbers are doubles.
DRAWN_SEEDS = 2**53


@dataclass(frozen=True)
class Resolved:
    """The rows of one request. `indices` int64 [n] are of the seed; of the rows when latents were given."""

    rows: Rows
    seed: int | None
    indices: npt.NDArray[np.int64]


def refuse_other_lengths(request: GenerateRequest, contract: Contract) -> None:
    """Raise Refusal for latents of another length than the generator's, which may fill the memory."""
    dim = contract.latent.dim
    for i, row in enumerate(request.latents or ()):
        if len(row) != dim:
            raise unprocessable(f"latents[{i}]", f"latents[{i}] has {len(row)} numbers", f"{dim} numbers")


def resolve(request: GenerateRequest, contract: Contract, form: Format) -> Resolved:
    """The rows that the request asks a generator for, to be answered in the format `form`.

    Raises Refusal where the request does not fit the generator; not of latents of another length.
    """
    resolved = (_from_seed if request.latents is None else _from_latents)(request, contract)
    _check_size(len(resolved.rows), contract, form)
    return resolved


def _from_seed(request: GenerateRequest, contract: Contract) -> Resolved:
    n, start = request.n or 1, request.index or 0
    seed = secrets.randbelow(DRAWN_SEEDS) if request.seed is None else request.seed
    if start + n > INDEXES:
        raise unprocessable("index", f"index is {start} and n is {n}", "index + n of at most 2**63")
    drawn = words(seed, start, n, contract.latent.dim)
    z = latents(
        drawn, contract.latent.distribution, request.truncation if contract.truncation == "latent" else None
    )
    if contract.classes and request.label is None:
        labels: npt.NDArray[np.int64] | None = classes(drawn, len(contract.classes))
    else:
        labels = _named_classes(request, n, contract)
    return Resolved(Rows(z, labels, _truncation(request, n, contract)), seed, start + np.arange(n))


def _from_latents(request: GenerateRequest, contract: Contract) -> Resolved:
    for field in ("seed", "index"):
        if getattr(request, field) is not None:
            raise unprocessable(field, f"{field} is given, and latents too", "only one of them")
    if request.truncation is not None and contract.truncation == "latent":
        raise unprocessable(
            "truncation", "truncation is given, and latents too", "latents as they are to be used"
        )
    if contract.classes and request.label is None:
        raise unprocessable("label", "latents are given without label", EXPECTED["label"])
    z = _given_latents(request)
    n = len(z)
    labels = _named_classes(request, n, contract)
    return Resolved(Rows(z, labels, _truncation(request, n, contract)), None, np.arange(n))


def _given_latents(request: GenerateRequest) -> npt.NDArray[np.float32]:
    rows = request.latents or []
    if request.n is not None and request.n != len(rows):
        raise unprocessable("latents", f"latents has {len(rows)} rows and n is {request.n}", "as many")
    with np.errstate(over="ignore"):
        z = np.array(rows, np.float32)
    for i, j in np.argwhere(~np.isfinite(z)):
        raise unprocessable(
            f"latents[{i}][{j}]", f"latents[{i}][{j}] is {rows[i][j]}", "a number that float32 holds"
        )
    return z


def _named_classes(request: GenerateRequest, n: int, contract: Contract) -> npt.NDArray[np.int64] | None:
    if request.label is None:
        return None
    if not contract.classes:
        raise unprocessable("label", "label is given", f"none, for {contract.name} has no classes")
    if not isinstance(request.label, list):
        return np.full(n, _class_number("label", request.label, contract))
    if len(request.label) != n:
        raise unprocessable("label", f"label has {len(request.label)} entries", f"{n}, as many as images")
    return np.array([_class_number(f"label[{i}]", label, contract) for i, label in enumerate(request.label)])


def _class_number(field: str, label: str | int, contract: Contract) -> int:
    if isinstance(label, str) and label in contract.classes:
        return contract.classes.index(label)
    if isinstance(label, int) and 0 <= label < len(contract.classes):
        return label
    names = ", ".join(contract.classes[:20]) + (", …" if len(contract.classes) > 20 else "")
    raise unprocessable(
        field,
        f"{field} is {shown(label)}",
        f"a number from 0 to {len(contract.classes) - 1}, or one of {names}",
    )


def _truncation(request: GenerateRequest, n: int, contract: Contract) -> npt.NDArray[np.float32] | None:
    if contract.truncation != "mapping":
        return None
    truncation = 1.0 if request.truncation is None else request.truncation
    if truncation > float(np.finfo(np.float32).max):
        raise unprocessable("truncation", f"truncation is {truncation}", "a number that float32 holds")
    return np.full(n, truncation, np.float32)


def _check_size(n: int, contract: Contract, form: Format) -> None:
    """That a contact sheet of n images is no larger than the format allows."""
    height, width = contact_sheet_shape(n, contract.image.height, contract.image.width)
    if form.largest_side is not None and max(height, width) > form.largest_side:
        raise unprocessable(
            "n",
            f"n is {n}, a {form.name} of {width} x {height} pixels",
            f"at most {form.largest_side} a side",
        )
