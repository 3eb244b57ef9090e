"""What is wrong with a kernel's source is told with its line, a caret and the next step."""

from __future__ import annotations

import textwrap

import pytest

from davinci_sim.errors import DavinciError
from davinci_sim.platforms import platform
from experiments.user_files import load_module

P = platform("ascend910a")
HEAD = """
from dataclasses import dataclass
from kernels.lang import *

@dataclass(frozen=True)
class Row(Shape):
    n: int

@dataclass(frozen=True)
class Pieces(Tiling):
    tile: int

    @classmethod
    def default(cls, shape, platform):
        return cls(64)

    def blocks(self, shape, platform):
        return 1

def operands(shape):
    return Operand("x", (shape.n,), FP32), output("y", (shape.n,), FP32)

def plain(core, ub):
    flat_dup(core, ub, 1.0, 8, FP32)

"""
DECLARED = "@kernel(Row, Pieces, operands, lambda shape, x: (x,))\ndef own(core, x, y, shape, tiling):\n"
FIRST = len((HEAD + DECLARED).splitlines()) + 1
"""The line of the first statement of the kernel."""


def refusal(folder, body: str, before: str = "") -> str:
    """Return how a kernel with a body is refused, when it is loaded or when it is emitted."""
    path = folder / "own.py"
    path.write_text(
        HEAD + before + DECLARED + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n"
    )
    with pytest.raises(DavinciError) as refused:
        emit(path)
    return str(refused.value)


def emit(path) -> None:
    """Load a kernel and emit it."""
    found = load_module(path, "own_of_a_test").own
    found.program(found.shape_type(64), P)


def complaint(what: str, source: str, mark: str, step: str, line: int = FIRST) -> str:
    """Return the text of a complaint with carets under a part of a source line."""
    place = f"own.py:{line}: "
    carets = " " * (2 + len(place) + source.index(mark)) + "^" * len(mark)
    return f"kernel own cannot be compiled: {what}\n  {place}{source}\n{carets}\n  next: {step}"


CALLABLE = "abs, bool, divmod, enumerate, float, int, len, max, min, print, range, round, zip"
STEP = "a kernel has if, for, while, calls and integers"


@pytest.mark.parametrize(
    ("source", "mark", "what", "step"),
    [
        ("ub = alloc(core, UB, sise * 4)", "sise", "name 'sise' is not defined", "did you mean size?"),
        ("ub = alloc(core, UB, qqqqqq)", "qqqqqq", "name 'qqqqqq' is not defined", "define it"),
        ("alloc(core, UB, tiling.tyle)", "tiling.tyle", "tiling has no field 'tyle'", "its fields are tile"),
        ("ub = alloc(core, UB, shape.m)", "shape.m", "shape has no field 'm'", "its fields are n"),
        ("plain(core, x)", "plain", "plain is a plain Python function",
         "mark it with @emits; its first argument is the core"),
        ("open('file')", "open", "open() is not compiled", f"of Python's own functions there are {CALLABLE}"),
        ("breakpoint()", "breakpoint", "breakpoint() is not compiled",
         "davinci kernel step runs it as plain Python"),
        ("names = {1: 2}", "{1: 2}", "a dict is not compiled", STEP),
        ("names = [x for _ in range(3)]", "[x for _ in range(3)]", "a list is not compiled", STEP),
        ("print(f'{x} {y}')", "f'{x} {y}'", "an f-string is not compiled", STEP),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_is_marked_where_it_stands(tmp_path, source, mark, what, step):
    text = refusal(tmp_path, f"size = 3\n{source}")
    assert text == complaint(what, source, mark, step, FIRST + 1)


def test_a_statement_is_shown_without_a_caret(tmp_path):
    text = refusal(tmp_path, "with open('file') as opened:\n    pass")
    assert text == (
        f"kernel own cannot be compiled: `with` is not compiled\n"
        f"  own.py:{FIRST}: with open('file') as opened:\n  next: {STEP}"
    )


def test_the_first_of_several_is_told(tmp_path):
    text = refusal(tmp_path, "one = missing_one\ntwo = missing_two")
    assert "name 'missing_one' is not defined" in text
    assert "missing_two" not in text


def test_a_mistake_in_a_function_of_the_kernels_own_is_told_with_its_line(tmp_path):
    before = "@emits\ndef helps(core, n: int):\n    flat_dup(core, undescribed, 1.0, n, FP32)\n\n"
    text = refusal(tmp_path, "helps(core, 8)", before)
    source = "flat_dup(core, undescribed, 1.0, n, FP32)"
    line = len(HEAD.splitlines()) + 3
    assert text == complaint("name 'undescribed' is not defined", source, "undescribed", "define it", line)


def test_what_only_the_compiler_knows_is_told_in_its_words_with_the_line(tmp_path):
    text = refusal(tmp_path, "ub = alloc(core, UB, 64)\nub = ub + 'text'")
    lines = text.splitlines()
    assert lines[0].startswith("kernel own cannot be compiled: No implementation of function")
    assert lines[0].endswith("add(int64, Literal[str](text))")
    assert lines[1:] == [
        f"  own.py:{FIRST + 1}: ub = ub + 'text'",
        "  next: a kernel computes with integers; davinci kernel step runs it as Python",
    ]


@pytest.mark.parametrize("size", ["shape.n / 3", "4 * (shape.n / 3) + 1", "-(shape.n / 3)"])
def test_a_quotient_is_no_whole_number(tmp_path, size):
    """Compiled code would cut it, plain Python would hand it on."""
    text = refusal(tmp_path, f"ub = alloc(core, UB, {size})")
    assert text == (
        f"own.py:{FIRST}: alloc(core, UB, {size})\n"
        f"  rule: nbytes is a whole number, {size} is none\n  next: divide with //"
    )


def test_a_function_that_lacks_an_operand_is_refused(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(HEAD + DECLARED.replace("x, y, shape", "x, shape") + "    pass\n")
    found = load_module(path, "own_of_a_test").own
    for emit in (found.program, found.plain):
        with pytest.raises(DavinciError) as refused:
            emit(found.shape_type(64), P)
        assert str(refused.value) == (
            "kernel own: its function takes (core, x, shape, tiling)\n"
            "  rule: it takes the core, each operand, shape and tiling\n"
            "  next: def own(core, x, y, shape, tiling)"
        )
