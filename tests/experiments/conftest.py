"""What the tests of the command line share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from experiments.cli.main import cli

OWN_KERNELS = Path(__file__).with_name("own_kernels.py")


@pytest.fixture
def davinci() -> Callable[..., Result]:
    """Return a function that runs `davinci` with the given arguments in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def answer(davinci: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs `davinci ... --json` and reads the one object that it prints."""

    def run(*arguments: object, code: int = 0) -> dict[str, Any]:
        result = davinci(*arguments, "--json")
        assert result.exit_code == code, result.output
        found = json.loads(result.stdout)
        assert isinstance(found, dict)
        assert result.stdout.count("\n") == 1
        return found

    return run


@pytest.fixture
def refusal(davinci: Callable[..., Result]) -> Callable[..., str]:
    """Return a function that runs `davinci`, expects exit code 2, and returns the message."""

    def run(*arguments: object) -> str:
        result = davinci(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        return result.stderr.removeprefix("error: ").rstrip("\n")

    return run
