"""`davinci kernel show`, `inspect` and `step`: a kernel's program, its buffers, and pdb."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from davinci_sim.core.program import parse

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "examples" / "my_kernels"
GELU = (f"{FOLDER / 'gelu.py'}:gelu", "--shape", "n=300")


@pytest.mark.parametrize("command", ["tune", "retune", "show", "inspect", "step"])
def test_every_help_shows_an_example(davinci, command):
    assert "Examples:\n    davinci kernel " in davinci("kernel", command, "--help").stdout


def test_what_show_prints_is_a_program(davinci, answer):
    text = davinci("kernel", "show", *GELU, "--block", "1").stdout
    told = answer("kernel", "show", *GELU, "--block", "1")
    assert told["program"] == text.splitlines()
    assert parse(text).digest() == told["digest"]
    assert "dst=GM+" in text
    assert "gelu.py:" in text


def test_numbers_are_those_that_until_takes(davinci, answer):
    numbered = davinci("kernel", "show", *GELU, "--numbers").stdout.splitlines()
    number, _, instruction = numbered[9].strip().partition("  ")
    assert number == "9"
    assert answer("kernel", "inspect", *GELU, "--until", number)["instruction"] == instruction


def test_a_block_that_there_is_not_is_refused(refusal):
    assert refusal("kernel", "show", *GELU, "--block", "2") == (
        "kernel gelu of shape n=300, tiling tile=4096,slots=2: there is no block 2\n"
        "  rule: blocks are 0 to 1\n  next: choose one of them"
    )


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_inspect_tells_cycle_pipes_and_buffers_and_prints_what_was_asked_for(davinci, answer, engine):
    request = ("kernel", "inspect", *GELU, "--until", "gelu.py:79", "--buffer", "ub_y", "--engine", engine)
    told, text = answer(*request), davinci(*request).stdout
    assert (told["kernel"], told["engine"], told["block"]) == ("gelu", engine, 0)
    assert " vmul " in told["instruction"]
    assert set(told["pipes"]) == {"V", "MTE2", "MTE3"}
    assert list(told["buffers"]) == ["ub_x", "ub_y"]
    assert told["contents"]["ub_y"]["shape"] == [4096]
    assert f"record {told['record']} is done at cycle {told['cycle']}\n" in text
    assert "\nub_y float32[4096]\n[" in text


def test_what_a_buffer_holds_can_be_said_and_saved(answer, tmp_path):
    file = tmp_path / "deep" / "y.npy"
    wanted = ("--as", "shape=2x64,dtype=fp32,slot=0", "--buffer", "ub_y", "--save", str(file))
    told = answer("kernel", "inspect", *GELU, *wanted)["contents"]["ub_y"]
    assert (told["shape"], told["dtype"]) == ([2, 64], "float32")
    assert np.load(file, allow_pickle=False).tolist() == told["values"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--as", "form=3"), "unknown --as key 'form'; known: dtype, layout, shape, slot"),
        (("--as", "shape=3xq"), "--as shape=q: 'q' is no whole number; write shape=64"),
        (
            ("--save", "nothing.npy"),
            "--save nothing.npy: 0 buffers\n  rule: it takes one\n  next: --buffer NAME",
        ),
    ],
)
def test_a_wrong_option_is_answered_exactly(refusal, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal("kernel", "inspect", *GELU, *options) == message


def step(*commands: str) -> subprocess.CompletedProcess[str]:
    """Step through gelu in a process of its own, with commands on standard input."""
    command = [sys.executable, "-m", "experiments.cli.main", "kernel", "step", *GELU]
    script = "".join(f"{each}\n" for each in commands)
    return subprocess.run(command, cwd=ROOT, input=script, capture_output=True, text=True, check=True)


def test_step_is_a_session_of_pdb():
    done = step("n", "n", "buffers", "p tile", "c")
    assert "ub_x@UB+0x0, 32768 bytes, 2 slots" in done.stdout
    assert "(kernel) 4096\n" in done.stdout
    assert done.stderr == "gelu: block 0 has 27 instructions\n"


def test_a_session_can_be_left():
    assert step("n", "q").stderr == "gelu: left before its end\n"
