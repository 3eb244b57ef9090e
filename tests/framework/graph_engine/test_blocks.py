"""What is put together is made in its place, and what is taken apart is looked at there: no copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.memory.layout import LAYOUTS
from framework import Tensor, jit, ops
from framework.frontend.trace import trace
from framework.graph_engine import Options, Session
from framework.graph_engine.service.adjacent import unit_of
from framework.graph_engine.service.compile import compile_graph
from framework.graph_engine.service.dependencies import accesses
from framework.graph_engine.service.events import at_addresses, races
from framework.ir import Builder
from framework.ir.types import TensorType, parse_type
from framework.passes import FLAT, run

RANDOM = np.random.Generator(np.random.Philox(12))
CHIP = Chip("ascend910a")
COPIES = ("concat2", "concat3", "concat4", "slice_axis")


def numbers(*shape):
    """Return random numbers."""
    return RANDOM.standard_normal(shape).astype(np.float32)


def check(function, *arrays, tolerance=1e-3, **options):
    """Return a session of a function, whose numbers are those of NumPy, without races, in little memory."""
    func = run(trace(function, [Tensor(each) for each in arrays], {}).func, FLAT)
    feeds = {p.name: each[np.newaxis] for p, each in zip(func.params, arrays, strict=True)}
    session = Session(func, CHIP, options=Options(fusion=False, **options))
    outputs = session.run(feeds).outputs
    expected = function(*map(Tensor, arrays))
    expected = expected if isinstance(expected, tuple) else (expected,)
    for name, each in zip(session.loaded.graph.outputs, expected, strict=True):
        np.testing.assert_allclose(outputs[name][0], each.numpy(), rtol=tolerance, atol=tolerance / 100)
    compiled = session.compiled
    touched = [
        at_addresses(accesses(task, compiled.graph, compiled.homes), compiled.memory.offsets)
        for task in compiled.tasks
    ]
    assert not list(races(compiled.tasks, touched))
    return session


def copies(session):
    """Return the kernels that put together and take apart."""
    return [task.kernel for task in session.compiled.tasks if task.kernel in COPIES]


def behind(session, blocks):
    """Return the graph of a session compiled onto one stream, with blocks or without."""
    return compile_graph(session.optimized, session.chip.platform, streams=False, blocks=blocks)


def is_in_blocks(function, *arrays):
    """Tell whether a function needs no copies, and no more memory without them."""
    session = check(function, *arrays)
    found, apart = behind(session, True), behind(session, False)
    assert any(task.kernel in COPIES for task in apart.tasks)
    assert found.memory.peak_bytes <= apart.memory.peak_bytes
    return not copies(session)


X, Y = numbers(16, 24), numbers(8, 24)


def test_what_is_put_together_is_made_in_its_place():
    """Both kernels write into the result of the join, one behind the other."""

    def f(x, y):
        return ops.concat([ops.relu(x), ops.exp(y)]) * 2.0

    assert is_in_blocks(f, X, Y)
    compiled = check(f, X, Y).compiled
    assert "continuous blocks in place of copies: concat 1, index 0" in compiled.text()
    relu, exp = (task.operands["y"] for task in compiled.tasks if task.kernel in ("relu", "exp"))
    assert compiled.homes[relu] == compiled.homes[exp]
    assert [compiled.graph.values[name].offset_bytes for name in (relu, exp)] == [0, X.nbytes]


def test_parts_are_looked_at_where_they_are():
    """Also of what the host feeds, and parts of parts; what the step returns may lie in another value."""

    def f(x):
        first, second = ops.split(x, 2)
        return ops.relu(first) + ops.exp(second), second[4:], x[4]

    assert is_in_blocks(f, X)


def test_parts_are_joined_again():
    """A value that is taken apart, worked on and put together needs no copy; reshapes are views between."""

    def f(x):
        parts = ops.split(ops.reshape(ops.tanh(x), (4, 96)), 4)
        return ops.concat([ops.reshape(ops.relu(part), (4, 24)) for part in parts[::-1]])

    assert is_in_blocks(f, X)


def test_joins_lie_in_joins():
    """What is joined of joined values is one block; more than a kernel takes are no reason for the host."""

    def f(x, y):
        inner = ops.concat([ops.relu(x), ops.exp(y)])
        return ops.concat([ops.neg(y), inner, ops.abs(y), ops.square(x), ops.sqrt(ops.abs(y))]), inner[8:]

    session = check(f, X, Y)
    assert not copies(session)
    assert session.host_round_trips == 0
    assert {node.op for node in session.placed.nodes if node.engine in ("aicpu", "host")} == {"concat"}


def written_twice(x, y):
    """Return two joins that want one value."""
    z = ops.relu(x)
    return ops.concat([z, ops.exp(y)]), ops.concat([ops.neg(y), z])


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x, y: ops.concat([x, ops.exp(y)]), ["concat2"]),
        (lambda x, y: ops.concat([ops.exp(y), ops.exp(y)]), ["concat2"]),
        (written_twice, ["concat2"]),
        (lambda x, y: ops.concat([ops.relu(x), ops.exp(x)], axis=1), ["concat2"]),
        (lambda x, y: ops.relu(x)[:, 8:16] * 2.0, ["slice_axis"]),
        (lambda x, y: ops.relu(x)[::2] * 2.0, ["slice_axis"]),
        (lambda x, y: ops.concat([ops.reduce_sum(x[:5], 1), ops.reduce_sum(y, 1)]), ["concat2"]),
        (lambda x, y: ops.relu(x[0])[3:] * 2.0, ["slice_axis"]),
    ],
    ids=["feed", "twice", "two joins", "inner axis", "columns", "steps", "odd bytes", "odd start"],
)
def test_where_tensors_do_not_lie_one_behind_the_other_they_are_copied(function, left):
    """A feed has its place, one value lies in one join, and kernels write whole blocks of 32 bytes."""
    assert copies(check(function, X, Y)) == left


def test_a_variable_is_renewed_where_it_lies_and_not_in_a_join():
    """And a part of it that is read keeps its old content until then."""
    builder = Builder()
    w, x = builder.param(parse_type("float32[16, 24]"), "w"), builder.param(parse_type("float32[8, 24]"), "x")
    new = w * 2.0
    func = builder.finish("f", [ops.concat([new, ops.relu(x)]), w[8:] + x, new], {2: "w"})
    session = Session(func, Chip("ascend910a"), {"w": X}, Options(fusion=False))
    outputs = session.run({"x": Y[np.newaxis]}).outputs
    joined, part = (outputs[name][0] for name in session.loaded.graph.outputs)
    np.testing.assert_allclose(joined, np.concatenate([2 * X, np.maximum(Y, 0)]), rtol=1e-6)
    np.testing.assert_allclose(part, X[8:] + Y, rtol=1e-6)
    np.testing.assert_allclose(session.variables()["w"], 2 * X, rtol=1e-6)
    assert copies(session) == ["concat2"]


def test_a_value_is_not_written_over_what_a_part_of_it_is_added_to():
    """A row of x would be gone when it is added to the others."""

    def f(x):
        y = ops.tanh(x)
        return y + y[8]

    assert is_in_blocks(f, X)


def test_a_block_that_would_be_there_for_too_long_is_not_made():
    """A small part of a large value is copied, so that the rest can go; a join waits for its large part."""
    large = numbers(256, 64)

    def part(x):
        y = ops.tanh(x)
        first = y[:1]
        z = ops.transpose(ops.transpose(y, (1, 0)) * 2.0, (1, 0))
        return ops.transpose(ops.transpose(z, (1, 0)) - 1.0, (1, 0)) + first

    def join(x):
        first = ops.exp(x[:8])
        y = ops.transpose(ops.transpose(x, (1, 0)) * 2.0, (1, 0))
        z = ops.transpose(ops.transpose(y, (1, 0)) - 1.0, (1, 0))
        return ops.concat([first, z])

    assert copies(check(part, large, streams=False)) == ["slice_axis"]
    assert copies(check(join, large, streams=False)) == ["concat2"]


def test_a_turn_of_a_loop_joins_in_place_and_copies_parts_of_what_the_next_one_renews():
    """What a loop hands on is written over at the end of a turn: parts would change under their readers."""

    def turns(x, count):
        kept = x * 0.0
        turn = 0
        while turn < count:
            first, second = ops.split(x, 2)
            inner = ops.tanh(x)
            x = ops.concat([ops.relu(second) - kept[8:], inner[:8] + first])
            kept = ops.concat([second, inner[8:]])
            turn = turn + 1
        return x, kept

    chip = Chip("ascend910a")
    on_chip = jit(turns, device=chip)
    for count in (0, 1, 3):
        expected = turns(Tensor(X), count)
        for ours, each in zip(on_chip(Tensor(X), Tensor(np.int32(count))), expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), each.numpy(), rtol=1e-3, atol=1e-5)
    assert on_chip.tasks.count("slice_axis") == 3
    assert "continuous blocks in place of copies: concat 1, index 2" in on_chip.tasks


def gates(x, w, v):
    """Return a product's columns in four parts, worked on, joined and multiplied again."""
    parts = ops.split(ops.matmul(x, w), 4, axis=1)
    return ops.matmul(ops.concat([ops.relu(part) for part in parts[::-1]], axis=1), v)


def test_columns_of_fractals_are_parts_and_joined_without_a_copy():
    """Between two products nothing goes through ND: columns are the outermost axis of NZ."""
    halves = [numbers(*shape).astype(np.float16) * 0.25 for shape in ((32, 48), (48, 128), (128, 16))]
    session = check(gates, *halves, tolerance=2e-2)
    assert not copies(session)
    assert "concat 1, index 4" in session.compiled.text()
    graph = session.optimized
    converted = [name for node in graph.nodes if node.op == "trans_data" for name in node.inputs]
    assert sorted(converted) == sorted([*graph.inputs, graph.outputs[0].removesuffix(".ND")])


def test_columns_that_are_no_whole_fractals_go_through_nd():
    """Parts of 24 columns begin in the middle of one; a kernel copies them from rows."""
    halves = [numbers(*shape).astype(np.float16) * 0.25 for shape in ((32, 48), (48, 96), (96, 16))]
    assert copies(check(gates, *halves, tolerance=2e-2))


def test_columns_of_fractals_that_have_another_place_are_copied_as_they_are():
    """One product is joined twice, and one part of it is what the step returns."""

    def f(x, w, v):
        y = ops.matmul(x, w)
        twice = ops.concat([y, y], axis=1)
        return ops.matmul(twice, v), ops.relu(ops.matmul(y[:, 16:64], v[:48]))

    halves = [numbers(*shape).astype(np.float16) * 0.25 for shape in ((32, 48), (48, 64), (128, 16))]
    session = check(f, *halves, tolerance=2e-2)
    (join,) = (task for task in session.compiled.tasks if task.kernel == "concat2")
    assert session.compiled.graph.values[join.operands["y"]].format == "NZ"


LENGTHS = {"ND": (3, 4), "NZ": (2, 3), "NC1HWC0": (4, 4), "FRACTAL_Z": (4, 4)}


@st.composite
def cuts(draw):
    """Draw a format, a shape, an axis of it and where to cut it."""
    form = draw(st.sampled_from(sorted(LENGTHS)))
    rank = draw(st.integers(*LENGTHS[form]))
    shape = tuple(draw(st.sampled_from((1, 2, 5, 16, 32, 37))) for _ in range(rank))
    axis = draw(st.integers(0, rank - 1))
    return form, shape, axis, draw(st.integers(0, shape[axis]))


@given(cuts())
def test_parts_lie_in_a_row_where_the_rule_says_so(drawn):
    """What a format makes of the parts, one behind the other, is what it makes of the whole."""
    form, shape, axis, at = drawn
    array = np.arange(np.prod(shape)).astype(np.uint16).view(np.float16).reshape(shape)
    unit = unit_of(TensorType.of(array), form, axis)
    if unit is not None and at % unit == 0:
        stored = [LAYOUTS[form].pack(part).reshape(-1) for part in np.split(array, [at], axis) if part.size]
        assert np.concatenate(stored).tobytes() == LAYOUTS[form].pack(array).tobytes()


OPERATORS = (ops.relu, ops.abs, ops.neg, ops.square)


@st.composite
def programs(draw):
    """Draw joins, parts and element-wise operators: what each takes, by numbers of earlier values."""
    kinds = st.sampled_from(("one", "one", "two", "join", "join", "part", "part", "shape"))
    numbers = st.integers(0, 99)
    steps = draw(st.lists(st.tuples(kinds, numbers, numbers, numbers), min_size=2, max_size=9))
    return steps, draw(st.lists(numbers, max_size=2))


def program(steps, also):
    """Return a function that computes a drawn program on rows of 8 numbers."""

    def compute(x, y):
        table = [x, y]
        for kind, first, second, third in steps:
            a, b = table[first % len(table)], table[second % len(table)]
            if kind == "one":
                table.append(OPERATORS[third % 4](a))
            elif kind == "two":
                rows = min(a.shape[0], b.shape[0])
                table.append(a[:rows] + b[b.shape[0] - rows :])
            elif kind == "join" and a.shape[0] + b.shape[0] < 60:
                table.append(ops.concat([a, b] if third % 2 else [OPERATORS[third % 4](a), a, b]))
            elif kind == "part" and a.shape[0] > 1:
                start = second % (a.shape[0] - 1)
                table.append(a[start : start + 1 + third % (a.shape[0] - start)])
            elif kind == "shape":
                table.append(ops.reshape(ops.reshape(a, (a.shape[0] * 8,)) * 1.0, a.shape))
        return (table[-1] * 1.0, *(table[at % len(table)] for at in also))

    return compute


@settings(max_examples=10, deadline=None)
@given(programs())
def test_joins_and_parts_have_the_numbers_of_numpy(drawn):
    """Whatever is joined, taken apart, shared and written over; and no more lives than with the copies."""
    arrays = numbers(6, 8), numbers(3, 8)
    function = program(*drawn)
    session = check(function, *arrays)
    found, apart = behind(session, True), behind(session, False)
    assert len(found.tasks) <= len(apart.tasks)
    assert found.memory.live_bytes <= apart.memory.live_bytes
