"""Fused chains of element-wise steps: the bits of the kernels one after the other, in less time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import FP16, FP32
from kernels.check import check
from kernels.pieces.broadcast import COLUMN, NUMBER, ROW, SAME
from kernels.run import place, random_inputs, run
from kernels.tiling.expression import (
    BINARY,
    COMPARISONS,
    UNARY,
    Expression,
    Source,
    Step,
    TooLong,
    assemble,
)
from tests.kernels.equality import P, differences, tilings

KERNEL = kernels.find("fused")
TYPES = {FP16: np.float16, FP32: np.float32}


def shape_of(expression: Expression, n: int, rows: int = 1):
    """Return the shape of a fused kernel."""
    return KERNEL.shape_type.of("fused", {"n": n, "rows": rows, **assemble(expression)})


@st.composite
def steps(draw, number: int, known: dict[str, int], broadcast: dict[str, int]):
    """Draw a step whose arguments are known; only steps of two arguments take what is broadcast."""
    whole = [name for name in known if name not in broadcast]
    first = draw(st.sampled_from(whole))
    dtype = known[first]
    alike = [name for name in whole if known[name] == dtype]
    small = [name for name in broadcast if known[name] == dtype]
    kind = draw(st.sampled_from(("two", "two", "one", "cast", "relu_grad", "select")))
    if kind == "cast":
        return Step("cast", (first,), FP32 if dtype == FP16 else FP16)
    if kind == "one":
        return Step(draw(st.sampled_from(UNARY)), (first,), dtype)
    if kind == "two":
        second = draw(st.sampled_from([*alike, *small, 0.5, -3.0]))
        return Step(draw(st.sampled_from(BINARY + COMPARISONS)), (first, second), dtype)
    more = [draw(st.sampled_from(alike)) for _ in range(1 if kind == "relu_grad" else 2)]
    return Step(kind, (first, *more), dtype)


@st.composite
def expressions(draw):
    """Draw an expression, with how many elements and rows it is computed for."""
    rows, n = draw(st.sampled_from([(1, 37), (1, 3000), (12, 12 * 48), (40, 40 * 16)]))
    patterns = [SAME, SAME, NUMBER, ROW, COLUMN] if rows > 1 else [SAME, SAME, NUMBER]
    types = st.sampled_from((FP16, FP32))
    read = [Source(draw(types))] + [
        Source(draw(types), draw(st.sampled_from(patterns))) for _ in range(draw(st.integers(0, 3)))
    ]
    known = {f"x{i}": source.dtype for i, source in enumerate(read)}
    broadcast = {f"x{i}": s.pattern for i, s in enumerate(read) if s.pattern != SAME}
    made = []
    for number in range(draw(st.integers(1, 9))):
        made.append(draw(steps(number, known, broadcast)))
        known[f"t{number}"] = made[-1].dtype
    last = f"t{len(made) - 1}"
    others = st.lists(st.sampled_from([f"t{i}" for i in range(len(made))]), max_size=2)
    results = tuple(dict.fromkeys([last, *draw(others)]))
    return Expression(tuple(read), tuple(made), results), n, rows


def alone(step: Step, table, broadcast, n: int, rows: int):
    """Return what the kernel of one step computes."""
    kernel = kernels.find(step.op)
    arrays = [table[a] if isinstance(a, str) else np.full(1, a, TYPES[step.dtype]) for a in step.arguments]
    axes = {"n": n, "dtype": {np.float16: FP16, np.float32: FP32}[arrays[0].dtype.type]}
    if step.op == "cast":
        axes["out_dtype"] = step.dtype
    if step.op in BINARY + COMPARISONS:
        second = step.arguments[1]
        pattern = broadcast.get(second, SAME) if isinstance(second, str) else NUMBER
        axes |= {"pattern": pattern, "rows": rows if pattern in (ROW, COLUMN) else 1}
    shape = kernel.shape_type.of(step.op, axes)
    names = [operand for operand in kernel.operands(shape) if not operand.is_output]
    given = {o.name: array.reshape(o.shape) for o, array in zip(names, arrays, strict=True)}
    (result,) = run(kernel, shape, given, Chip(P))[0].values()
    return result.reshape(-1)


def one_after_the_other(expression: Expression, inputs, n: int, rows: int):
    """Return the results of an expression whose steps run as kernels of their own."""
    table = dict(inputs)
    broadcast = {f"x{i}": s.pattern for i, s in enumerate(expression.sources) if s.pattern != SAME}
    for number, step in enumerate(expression.steps):
        table[f"t{number}"] = alone(step, table, broadcast, n, rows)
    return [table[name] for name in expression.results]


@settings(max_examples=40)
@given(expressions(), st.integers(0, 5))
def test_a_fused_kernel_gives_the_bits_of_its_steps(drawn, pick):
    """Any expression, any tiling: every step rounds as it does alone."""
    expression, n, rows = drawn
    shape = shape_of(expression, n, rows)
    inputs = random_inputs(KERNEL, shape, pick)
    choices = tilings(KERNEL, shape)
    found, _ = run(KERNEL, shape, inputs, Chip(P), choices[pick % len(choices)])
    expected = one_after_the_other(expression, inputs, n, rows)
    assert [found[f"y{i}"].tobytes() for i in range(len(expected))] == [e.tobytes() for e in expected]


@settings(max_examples=25)
@given(expressions())
def test_integers_stand_for_one_expression_and_emit_without_hazards(drawn):
    """What is assembled is read back as what was written, and no value overwrites one that is still read."""
    expression, n, rows = drawn
    shape = shape_of(expression, n, rows)
    assert shape.expression == expression
    assert check(KERNEL, shape) == []


@pytest.mark.parametrize("sample", range(len(KERNEL.shape_type.SAMPLES)))
def test_samples_equal_the_reference(sample):
    shape = KERNEL.shape_type.of("fused", dict(KERNEL.shape_type.SAMPLES[sample]))
    wrong = [differences(KERNEL, shape, pick, 3) for pick in range(len(tilings(KERNEL, shape)))]
    assert {count for each in wrong for count in each.values()} == {0}


def chain(length: int) -> Expression:
    """Return an expression that adds one source again and again."""
    values = ["x0", *(f"t{i}" for i in range(length))]
    return Expression(
        (Source(FP16), Source(FP16)),
        tuple(Step("add", (values[i], "x1"), FP16) for i in range(length)),
        (f"t{length - 1}",),
    )


def test_a_value_takes_the_place_of_one_that_is_not_read_any_more():
    """A chain of any length needs no array of its own in UB."""
    assert assemble(chain(12))["spare"] == 0


def test_a_shape_prints_what_it_computes():
    shape = shape_of(
        Expression((Source(FP16), Source(FP16, NUMBER)), (Step("mul", ("x0", "x1"), FP16),
                   Step("cast", ("t0",), FP32), Step("maximum", ("t1", 0.1), FP32)), ("t2", "t0")), 64
    )  # fmt: skip
    assert str(shape) == (
        "n=64,x0 fp16, x1 fp16[1]: y1 = mul(x0, x1); t1 = cast(y1, fp32); y0 = maximum(t1, 0.1)"
    )


def test_a_longer_expression_is_refused():
    with pytest.raises(TooLong) as refused:
        assemble(chain(13))
    assert str(refused.value) == (
        "kernel fused: 13 steps\n  rule: an expression has at most 12\n  next: cut it into two"
    )


def test_integers_that_are_no_expression_are_refused():
    with pytest.raises(BadShape) as refused:
        KERNEL.shape_type.of("fused", {"n": 64, "sources": 9, "results": 1, "s0": 63})
    assert str(refused.value) == (
        "kernel fused: s0=63\n  rule: steps are what `assemble` makes of them\n"
        "  next: use the fields of `kernels.tiling.expression.assemble`"
    )


def cycles_of(name: str, **axes: int) -> int:
    """Return the time of a launch from an empty L2."""
    kernel = kernels.find(name)
    chip = Chip(P)
    return chip.cycles(place(kernel, kernel.shape_type.of(name, axes), None, chip).task)


RESIDUAL = Expression(
    (Source(FP16), Source(FP16)), (Step("add", ("x0", "x1"), FP16), Step("relu", ("t0",), FP16)), ("t1",)
)


def test_a_residual_takes_the_time_of_its_addition():
    """Add and relu over 3 million fp16 elements: relu costs nothing more, and one launch is saved."""
    n = 3_200_000
    together = cycles_of("fused", n=n, **assemble(RESIDUAL))
    addition, relu = cycles_of("add", n=n), cycles_of("relu", n=n)
    assert together < 1.05 * addition
    assert together < 0.7 * (addition + relu)
