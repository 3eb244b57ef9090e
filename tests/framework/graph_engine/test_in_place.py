"""New values are written over old ones where nothing can tell the difference, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.chip import Chip
from framework import ops
from framework.graph_engine import Options, Session
from framework.ir import Builder, evaluate, flow
from framework.ir.types import parse_type

W = parse_type("float32[40]")


def renewing(write):
    """Return a Func of variables u, v and a condition, and what `write(builder, u, v, c)` gives for them."""
    builder = Builder()
    u, v = (builder.param(W, name) for name in ("u", "v"))
    c = builder.param(parse_type("bool[]"), "c")
    results, updates = write(builder, u, v, c)
    return builder.finish("f", results, updates)


def chosen(builder, c, then, orelse):
    """Emit an `if` whose branches are functions of a builder."""
    parts = [Builder(builder), Builder(builder)]
    found = [write(part.value) for write, part in zip((then, orelse), parts, strict=True)]
    named = [
        flow.Part(part, each, f"part{at}") for at, (part, each) in enumerate(zip(parts, found, strict=True))
    ]
    return flow.branch(builder, c, *named)


def check(func, copies):
    """Demand NumPy's numbers for both conditions, step after step, and so many copies of tensors."""
    draw = np.random.default_rng(4)
    state = {name: draw.normal(size=40).astype(np.float32) for name in ("u", "v")}
    session = Session(func, Chip("ascend910a"), state)
    values = session.loaded.graph.values
    moved = [task for task in session.compiled.tasks if task.kind == "memcpy"]
    assert sum(values[task.operands["src"]].type.size > 1 for task in moved) == copies
    for c in (True, False, True):
        expected = evaluate(func, [state["u"], state["v"], np.array(c)])
        found = session.run({"c": np.array([c])}).outputs
        shown = [each for at, each in enumerate(expected) if at not in func.updates]
        for name, each in zip(session.loaded.graph.outputs, shown, strict=True):
            np.testing.assert_allclose(found[name][0], each, rtol=1e-6)
        state |= {name: expected[at] for at, name in func.updates.items()}
        for name, array in session.variables().items():
            np.testing.assert_allclose(array, state[name], rtol=1e-6)


def test_a_branch_writes_over_the_variables_that_it_renews():
    """The other one, which hands the old values on, does nothing."""

    def write(builder, u, v, c):
        found = chosen(builder, c, lambda o: (o(u) * 2.0, o(v) - o(u)), lambda o: (o(u), o(v)))
        return [ops.reduce_sum(found[0]), *found], {1: "u", 2: "v"}

    check(renewing(write), copies=1)  # v - u reads the old u, which u * 2 must not write over before


def test_independent_updates_in_a_branch_are_no_copies():
    """Nothing reads what is written over."""

    def write(builder, u, v, c):
        found = chosen(builder, c, lambda o: (o(u) * 2.0, o(v) * o(v)), lambda o: (o(u), o(v)))
        return [ops.reduce_sum(found[0]), *found], {1: "u", 2: "v"}

    check(renewing(write), copies=0)


def test_a_variable_that_is_read_after_the_branch_is_renewed_by_a_copy():
    """Its old value must last."""

    def write(builder, u, v, c):
        (found,) = chosen(builder, c, lambda o: (o(u) * 2.0,), lambda o: (o(u),))
        return [ops.reduce_sum(u + v), found], {1: "u"}

    func = renewing(write)
    check(func, copies=2)


def test_variables_that_change_places_are_saved_first():
    """Each is the other's new value."""

    def write(builder, u, v, c):
        found = chosen(builder, c, lambda o: (o(v), o(u)), lambda o: (o(u), o(v)))
        return [ops.reduce_sum(found[0] - found[1]), *found], {1: "u", 2: "v"}

    check(renewing(write), copies=4)


def test_an_update_beside_a_branch_is_in_place():
    """What is renewed outside of it is not held up by jumps."""

    def write(builder, u, v, c):
        (found,) = chosen(builder, c, lambda o: (o(u) * 2.0,), lambda o: (o(u) - 1.0,))
        return [ops.reduce_sum(found), v * 3.0], {1: "v"}

    check(renewing(write), copies=1)  # u - 1 goes by rows of a format, not by element


def test_a_view_of_a_variable_keeps_it_from_being_written_over():
    """A reshape lies where the variable lies."""

    def write(builder, u, v, c):
        seen = ops.reshape(u, (8, 5))
        new = u * 2.0
        return [ops.reduce_sum(seen, 0), new], {1: "u"}

    check(renewing(write), copies=1)


@pytest.mark.parametrize(
    ("write", "copies"),
    [
        (lambda u, v: ([u, u + 1.0], {1: "u"}), 1),
        (lambda u, v: ([ops.reshape(u, (8, 5)), u + 1.0], {1: "u"}), 1),
        (lambda u, v: ([u[8:], u + 1.0], {1: "u"}), 1),
        (lambda u, v: ([u, v], {0: "v", 1: "u"}), 4),
        (lambda u, v: ([v, v + 1.0], {0: "u", 1: "v"}), 3),
        (lambda u, v: ([v + 1.0, v], {0: "v", 1: "u"}), 3),
        (lambda u, v: ([ops.reshape(ops.reshape(v, (8, 5)), (40,)), v + 1.0], {0: "u", 1: "v"}), 3),
    ],
    ids=["result", "view", "part", "exchange", "handed on", "handed on late", "handed on as a view"],
)
def test_an_old_value_that_is_read_at_the_end_is_not_written_over_before(write, copies):
    """It may be a result of the step, or the new value of another variable."""
    check(renewing(lambda builder, u, v, c: write(u, v)), copies)


def test_one_value_may_renew_two_variables():
    """It is made in the memory of neither, or of one."""

    def write(builder, u, v, c):
        new = u + v
        return [new, new, new], {0: "u", 1: "v"}

    check(renewing(write), copies=2)


def test_a_branch_does_not_write_over_what_a_view_still_shows():
    """The view was taken before the branch, and is read behind it."""

    def write(builder, u, v, c):
        seen = ops.reshape(u, (8, 5))
        (found,) = chosen(builder, c, lambda o: (o(u) * 2.0,), lambda o: (o(u),))
        return [ops.reduce_sum(seen, 0), found], {1: "u"}

    check(renewing(write), copies=2)


def test_a_part_that_renews_a_variable_is_copied_before_its_whole_is_renewed():
    """As a view it would show the new values of the whole."""
    builder = Builder()
    u, v = builder.param(W, "u"), builder.param(parse_type("float32[8]"), "v")
    func = builder.finish("f", [u[32:], u * 2.0, ops.reduce_sum(v)], {0: "v", 1: "u"})
    state = {"u": np.arange(40, dtype=np.float32), "v": np.zeros(8, np.float32)}
    session = Session(func, Chip("ascend910a"), state)
    session.run({})
    np.testing.assert_array_equal(session.variables()["v"], state["u"][32:])
    np.testing.assert_array_equal(session.variables()["u"], 2 * state["u"])


def test_moving_averages_are_renewed_in_place():
    """The kernel of a normalisation may write them over the old ones, and no copy is left."""
    builder = Builder()
    x = builder.param(parse_type("float16[2, 20, 4, 4]"), "x")
    operands = [
        builder.param(parse_type("float32[20]"), name) for name in ("gamma", "beta", "mean", "variance")
    ]
    y, mean, variance, *_ = ops.batch_norm(x, *operands)
    func = builder.finish("f", [y, mean, variance], {1: "mean", 2: "variance"})
    draw = np.random.default_rng(2)
    state = {
        name: draw.uniform(0.5, 2, 20).astype(np.float32) for name in ("gamma", "beta", "mean", "variance")
    }
    session = Session(func, Chip("ascend910a"), state)
    assert [task.name for task in session.compiled.tasks if task.kind == "memcpy"] == []
    steps = draw.normal(size=(2, 2, 20, 4, 4)).astype(np.float16)
    for at in range(2):
        _, state["mean"], state["variance"] = evaluate(func, [steps[at], *state.values()])
    session.run({"x": steps})
    for name, expected in state.items():
        np.testing.assert_allclose(session.variables()[name], expected, rtol=1e-4)


def test_a_value_is_written_over_one_that_is_read_for_the_last_time():
    """A chain of functions needs the memory of one tensor, and its numbers are those of NumPy."""
    func = Builder()
    x = func.param(parse_type("float32[64, 64]"), "x")
    y = ops.log(ops.exp(ops.tanh(x * 1.0)))
    func = func.finish("chain", [y])
    session = Session(func, Chip("ascend910a"), options=Options(fusion=False))
    assert session.compiled.memory.live_bytes == 2 * 64 * 64 * 4
    x = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    (found,) = session.run({"x": x[np.newaxis]}).outputs.values()
    np.testing.assert_allclose(found[0], np.tanh(x), rtol=1e-3, atol=1e-6)


def test_a_value_that_is_read_later_is_not_written_over():
    """Neither is what the step returns."""
    func = Builder()
    x = func.param(parse_type("float32[64, 64]"), "x")
    first = ops.tanh(x * 1.0)
    second = ops.exp(first)
    func = func.finish("chain", [first, ops.reduce_sum(first), second])
    compiled = Session(func, Chip("ascend910a"), options=Options(fusion=False)).compiled
    homes = [compiled.homes[name] for name in compiled.graph.outputs]
    assert len(set(homes)) == len(homes)
