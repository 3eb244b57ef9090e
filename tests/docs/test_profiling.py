"""What docs/profiling.md shows is what runs."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from davinci_sim.core.program import parse
from davinci_sim.platforms import platform
from davinci_sim.trace.ledger import CAUSES
from experiments.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "profiling.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    davinci (.*)$", PAGE, flags=re.MULTILINE)
WAIT = "PIPE_V wait_flag src=5 dst=2 event_id=0 dtype=int32\n"


def test_the_table_of_causes_is_that_of_the_ledger():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert [row for row in rows if "--" not in row[0]] == [(cause.name, cause.meaning) for cause in CAUSES]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(cli, shlex.split(command))
    assert result.exit_code == 0, result.output


def test_the_python_of_the_page_runs():
    """With a program of one flag that is set and waited for."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    program = parse(WAIT.replace("PIPE_V wait_flag", "PIPE_MTE2 set_flag") + WAIT)
    scope = {"program": program, "platform": platform("ascend910a")}
    exec(compile(source, "docs/profiling.md", "exec"), scope)
    assert scope["book"].cycles == scope["trace"].cycles
