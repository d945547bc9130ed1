"""The command line in this process, and what it says where it refuses."""

import re

from typer.testing import CliRunner, Result

from training.cli import app


def ganserve(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *parts: str) -> None:
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit)
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())
    assert "Traceback" not in shown
    for part in parts:
        assert part in shown
