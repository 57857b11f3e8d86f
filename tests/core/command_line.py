"""The command line as a user meets it, for the tests of the commands."""

import sys

import pytest
from typer.testing import CliRunner

from sttrans_core.commands.main import app, main


def run_command(*arguments: object) -> str:
    """Run a command that must succeed; give what it prints."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> str:
    """Run as the installed command does; give the one line that it complains with."""
    monkeypatch.setattr(sys, "argv", ["sttrans", *(str(argument) for argument in arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]
