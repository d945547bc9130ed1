"""How a command ends when something is wrong that its user can mend: with one line, and no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import typer
from pydantic import ValidationError

from models.mistake import Mistake

# What torch's allocator says of it, CUDA, cuBLAS, and the C++ library.
OUT_OF_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED", "bad_alloc")


@contextmanager
def in_a_line(out_of_memory: str) -> Iterator[None]:
    """Turn what Ganserve raises on purpose into a message and the exit code 1.

    out_of_memory: what the user of this command can do then.
    """
    try:
        yield
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].removeprefix("Value error, ")
        if problem["loc"]:
            option = "-".join(str(problem["loc"][0]).split("_"))
            message = f"--{option}: {message}, got {problem['input']!r}"
        _fail(message)
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(sign in str(error) for sign in OUT_OF_MEMORY):
            raise
        _fail(f"out of memory; {out_of_memory}")
    except (Mistake, OSError) as error:
        _fail(error)


def _fail(message: object) -> None:
    typer.echo(f"ganserve: {message}", err=True)
    raise typer.Exit(1)
