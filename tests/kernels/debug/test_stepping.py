"""A kernel as plain Python: the same program, under pdb, with breakpoints in its own files."""

from __future__ import annotations

import bdb
import io
import pdb
from pathlib import Path

import numpy as np
import pytest

import kernels
from davinci_sim.core.program import parse
from davinci_sim.errors import BadTiling
from davinci_sim.platforms import platform
from experiments.user_files import load_module
from kernels.debug import KernelDebugger, step
from kernels.lang import plain
from kernels.samples import SMALL, shapes

FOLDER = Path(__file__).parents[3] / "docs" / "examples" / "my_kernels"
HERE = "examples/my_kernels/gelu.py"
MODULE = load_module(FOLDER / "gelu.py", "docs_gelu")
GELU, P = MODULE.gelu, platform("ascend910a")
SHAPE = MODULE.Vector(300)


def session(*commands: str, deep: bool = False):
    """Step through gelu with scripted commands; return the lines that pdb printed, and the program."""
    out = io.StringIO()
    debugger = KernelDebugger(
        deep, stdin=io.StringIO("\n".join((*commands, "c\n"))), stdout=out, nosigint=True
    )
    try:
        program = step(GELU, SHAPE, P, debugger=debugger)
    finally:
        bdb.Breakpoint.clearBreakpoints()  # Python keeps them for all debuggers
    return out.getvalue().splitlines(), program


def printed(*commands: str, deep: bool = False) -> list[str]:
    """Return the lines that a scripted session prints."""
    return session(*commands, deep=deep)[0]


def line_of(text: str, file: str = "gelu.py") -> int:
    """Return the first line of a file that holds a text."""
    lines = (FOLDER / file).read_text().splitlines()
    return next(number for number, each in enumerate(lines, start=1) if text in each)


def test_the_debugger_stops_at_the_first_line_and_goes_on_line_by_line():
    lines = printed("n", "n")
    stops = [line for line in lines if "gelu.py(" in line]
    first = line_of("tile = max(LINE")
    assert [f"gelu.py({first + offset})gelu()" in stop for offset, stop in enumerate(stops[:3])] == [True] * 3


def test_variables_and_breakpoints_are_those_of_the_kernels_own_files():
    """A breakpoint in the helper beside the kernel; the way up shows both."""
    place = f"{FOLDER / 'sigmoid.py'}:{line_of('flat_unary(core, EXP', 'sigmoid.py')}"
    lines = printed(f"b {place}", "c", "p (n, slope)", "up", "p tile")
    assert any(line.endswith("(128, 1.702)") for line in lines)
    assert any(line.endswith(" 4096") for line in lines)


def test_a_step_goes_over_the_language_and_into_the_kernels_own_functions():
    """From the call of sigmoid into its file; from flat_scale to the next line."""
    place = f"{FOLDER / 'gelu.py'}:{line_of('sigmoid(core, made')}"
    lines = [line.removeprefix("(kernel) ") for line in printed(f"b {place}", "c", "s", "s", "s")]
    stops = [Path(line.split("(")[0].removeprefix("> ")).name for line in lines if line.startswith("> ")]
    assert stops == ["gelu.py", "gelu.py", "sigmoid.py", "sigmoid.py", "sigmoid.py"]


def test_a_deep_step_goes_into_the_building_blocks_of_the_language():
    place = f"{FOLDER / 'sigmoid.py'}:{line_of('flat_unary(core, EXP', 'sigmoid.py')}"
    assert any("kernels/lang/flat.py(" in line for line in printed(f"b {place}", "c", "s", "s", deep=True))
    assert not any("kernels/lang/flat.py(" in line for line in printed(f"b {place}", "c", "s", "s"))


def test_emitted_prints_the_last_instructions_and_buffers_what_was_allocated():
    place = f"{FOLDER / 'gelu.py'}:{line_of('filled(core, come)')}"
    lines = printed(f"b {place}", "c", "emitted 2", "buffers")
    shown = "\n".join(lines)
    assert "    5  PIPE_MTE2 data_move    dst=UB+0x0 src=GM+0x0" in shown
    assert "    4  PIPE_MTE2 wait_flag" in shown
    assert "    3  PIPE_MTE3 set_flag" not in shown
    assert f"ub_y@UB+0x8100, 32768 bytes, 2 slots (docs/{HERE}:{line_of('ub_y =')})" in shown


def test_what_was_stepped_through_is_the_program():
    _, program = session("n")
    assert program.digest() == GELU.program(SHAPE, P).digest()


def test_breakpoint_works_in_a_kernel_that_runs_as_plain_python(tmp_path, monkeypatch):
    """Compiled it could not stay there."""
    reached = []
    monkeypatch.setattr("sys.breakpointhook", lambda: reached.append(True))
    source = (FOLDER / "gelu.py").read_text()
    call = "        filled(core, come)\n"
    (tmp_path / "gelu.py").write_text(source.replace(call, f"        breakpoint()\n{call}", 1))
    (tmp_path / "sigmoid.py").write_text((FOLDER / "sigmoid.py").read_text())
    marked = load_module(tmp_path / "gelu.py", "docs_gelu_with_breakpoint").gelu
    assert marked.plain(SHAPE, P).digest() == GELU.program(SHAPE, P).digest()
    assert reached == [True]


@pytest.mark.parametrize("name", ["add", "matmul", "softmax_cross_entropy", "max_pool", "nd_to_nz"])
def test_plain_python_emits_the_program_of_the_compiled_kernel(name):
    kernel = kernels.find(name)
    shape = next(shapes(kernel, SMALL))
    blocks = kernel.tiling(shape, P).blocks(shape, P)
    for block in {0, blocks - 1}:
        plain, compiled = kernel.plain(shape, P, block=block), kernel.program(shape, P, block=block)
        assert np.array_equal(plain.words, compiled.words)


@pytest.mark.parametrize("name", ["add", "matmul", "max_pool"])
def test_a_printed_program_is_read_back(name):
    kernel = kernels.find(name)
    program = kernel.program(next(shapes(kernel, SMALL)), P)
    again = parse(program.text())
    assert again.digest() == program.digest()
    assert again.text() == program.text()


def test_a_program_that_is_too_long_for_plain_python_is_refused(monkeypatch):
    monkeypatch.setattr(plain, "PLAIN_CAPACITY", 10)
    with pytest.raises(BadTiling) as refused:
        GELU.plain(SHAPE, P)
    assert str(refused.value) == (
        "kernel gelu of shape n=300: 23 instructions\n  rule: plain Python emits at most 10\n"
        "  next: use a smaller shape"
    )


def test_pdb_itself_steps_through_a_kernel():
    """The one line of the tutorial: any debugger's runcall will do."""
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("n\nc\n"), stdout=out, nosigint=True)
    GELU.plain(SHAPE, P, call=debugger.runcall)
    assert "gelu.py(" in out.getvalue()
