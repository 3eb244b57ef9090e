"""What the page about kernels shows is what works."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from davinci_sim.platforms import platform
from experiments.cli.main import cli
from experiments.user_files import load_module
from framework.ir.registry import OPERATORS
from kernels.debug import KernelDebugger

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "writing_kernels.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = re.findall(r"^    davinci (.*)$", PAGE, flags=re.MULTILINE)
FILES = [DOCS / "examples" / "my_kernels" / name for name in ("gelu.py", "sigmoid.py", "network.py")]


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """Work in a copy of the examples."""
    folder = shutil.copytree(DOCS / "examples", tmp_path / "examples")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DAVINCI_TUNINGS", str(tmp_path / "tunings"))
    return Path(folder)


def test_the_source_that_is_shown_stands_in_the_examples():
    """As a whole, but for the sessions in Python, which are run below."""
    sources = [path.read_text(encoding="utf-8") for path in FILES]
    shown = [block for block in BLOCKS if "kernels.debug" not in block and "kernels.tune" not in block]
    assert len(shown) == 4
    assert [block for block in shown if not any(block in source for source in sources)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_on_the_page_runs(examples, command):
    result = CliRunner().invoke(cli, shlex.split(command))
    assert result.exit_code == 0, result.output


def test_every_session_in_python_runs(examples, monkeypatch, capsys):
    """With a debugger that goes on at once."""
    monkeypatch.setattr(KernelDebugger, "runcall", lambda self, function, *operands: function(*operands))
    module = load_module(examples / "my_kernels" / "gelu.py", "gelu_of_the_page")
    scope = {"gelu": module.gelu, "Vector": module.Vector, "platform": platform}
    sessions = [block for block in BLOCKS if "kernels.debug" in block or "kernels.tune" in block]
    for session in sessions:
        exec(session, scope)
    assert len(sessions) == 3
    assert "gelu n=9000, block 0 of " in capsys.readouterr().out


def test_the_network_is_built_as_shown(examples):
    before = dict(OPERATORS)
    module = load_module(examples / "my_kernels" / "network.py", "network_of_the_page")
    assert module.Net(16, 3).hidden is not None
    for name in OPERATORS.keys() - before.keys():
        del OPERATORS[name]


def test_the_error_on_the_page_is_the_one_that_is_told(examples):
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    path = examples / "my_kernels" / "gelu.py"
    path.write_text(
        path.read_text().replace("end = share_end(core, shape.n,", "end = share_end(core, shape.nn,", 1)
    )
    result = CliRunner().invoke(cli, ["kernel", "run", f"{path}:gelu", "--shape", "n=10"])
    assert (result.exit_code, result.stderr) == (2, f"error: {shown}")
