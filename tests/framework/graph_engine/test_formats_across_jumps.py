"""Formats are chosen over branches and loops: what crosses their borders lies as its users want it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davinci_sim import Chip
from framework import Tensor, grad, jit, ops
from framework.dtypes import dtype
from framework.graph_engine import Options, Session
from framework.graph_engine.data.graph import TRANS_DATA
from framework.graph_engine.service.flow_blocks import ASSUMED_TURNS, Blocks
from framework.graph_engine.service.optimize import optimize
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import split
from framework.ir import Builder, Func, TensorType, evaluate
from framework.ir.flow import Part, branch, loop
from framework.models import resnet50
from framework.passes import FLAT, run
from framework.train import DynamicLossScale, initial_state, training_step

RANDOM = np.random.Generator(np.random.Philox(7))
X = RANDOM.standard_normal((16, 32)).astype(np.float16)
W = (RANDOM.standard_normal((32, 32)) * 0.2).astype(np.float16)
SMALL = resnet50.Config(classes=40, channels=16, stages=(1,), width=32, size=16)
"""Every gradient of a filter has more than the 512 numbers of a partial sum."""
IMAGES, LABELS = TensorType((2, 16, 16, 16), dtype("float16")), TensorType((2,), dtype("int32"))


@pytest.fixture(scope="module")
def chip():
    """Return one chip for all tests."""
    return Chip("ascend910a")


def step_of_network(scale):
    """Return the training step of a small convolutional network, and its first state."""
    net = resnet50.build(SMALL)
    optimizer = resnet50.RECIPE.optimizer(net, 100)
    loss = resnet50.RECIPE.loss(SMALL)
    func = training_step(net, loss, optimizer, IMAGES, LABELS, loss_scale=scale)
    return func, initial_state(net, optimizer, scale)


def optimized(func, chip, **options):
    """Return the graph of a Func with its formats; nothing is fused, so that nothing has to be timed."""
    return optimize(split(prepare(func), chip.platform), chip.platform, Options(fusion=False, **options))


def conversions(graph):
    """Count the conversions of a graph by their kernels."""
    return Counter(node.launches[0].kernel for node in graph.nodes if node.op == TRANS_DATA)


def flat(function, *args):
    """Return the Func that a device gets for a function of these arguments."""
    return run(jit(function).compiled(*args).func, FLAT)


def both(func, chip, *arrays):
    """Return the results of a Func with formats chosen and with all values in ND, and both sessions."""
    sessions = [Session(func, chip, options=Options(fusion=False, formats=on)) for on in (True, False)]
    feeds = {
        each.name: np.asarray(array)[np.newaxis] for each, array in zip(func.params, arrays, strict=True)
    }
    found = []
    for session in sessions:
        outputs = session.run(feeds).outputs
        found.append([outputs[name][0] for name in session.loaded.graph.outputs])
    return found, sessions


def same(found):
    """Check that formats change no number, but for the order of sums."""
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), rtol=2e-3, atol=2e-3)


def runs_of_conversions(session):
    """Return how often each conversion ran in the newest step, of those that ran."""
    nodes = [session.loaded.tasks[number].spec.node for number in session.loaded.path]
    runs = Counter(node.name for node in nodes if node is not None and node.op == TRANS_DATA)
    return list(runs.values())


def test_a_guarded_step_converts_what_a_step_without_a_guard_converts(chip):
    """Filters, moments and gradients keep the cube's format across the branch that renews them."""
    plain, guarded = (optimized(step_of_network(scale)[0], chip) for scale in (128.0, DynamicLossScale()))
    assert not guarded.is_straight
    assert conversions(guarded) == conversions(plain)
    formats = {v.format for v in guarded.values.values() if v.kind == "variable" and len(v.type.shape) == 4}
    assert formats == {"FRACTAL_Z"}


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, np.float16(np.inf)])
def test_a_guarded_step_has_the_numbers_of_plain_formats(chip, factor):
    """Whether it is made or, because of what it is fed, left out; host and checkpoints see ND."""
    scale = DynamicLossScale(first=128.0)
    func, state = step_of_network(scale)
    images = (RANDOM.standard_normal((1, *IMAGES.shape)) * factor).astype(np.float16)
    feeds = {
        "x": images,
        "labels": np.array([[3, 1]], np.int32),
        "learning_rate": np.full(1, 0.1, np.float32),
    }
    after = []
    for on in (True, False):
        session = Session(func, chip, state, Options(fusion=False, formats=on))
        session.run(feeds)
        after.append(session.variables())
    for name, array in after[0].items():
        np.testing.assert_allclose(array, after[1][name], rtol=1e-3, atol=1e-3, err_msg=name)
    weight = "stem.conv.weight"
    assert np.array_equal(after[0][weight], state[weight]) == (factor != 1.0)


def test_the_state_of_a_loop_lies_in_the_format_of_the_cube(chip):
    """It is converted before the first turn and behind the last one, however many there are."""

    def network(x, w, n):
        while n > 0:
            x = ops.relu(ops.matmul(x, w))
            n -= 1
        return x

    found, (session, plain) = both(flat(network, Tensor(X), Tensor(W), 3), chip, X, W, 3)
    same(found)
    assert runs_of_conversions(session) == [1, 1, 1]
    assert sorted(runs_of_conversions(plain)) == [1, 3, 3]


def test_gradients_of_a_loop_keep_what_they_need_as_it_lies(chip):
    """Rooms hold products as fractals: no turn converts anything, ahead or back."""

    def network(x, w, n):
        while n > 0:
            x = ops.relu(ops.matmul(x, w))
            n -= 1
        return ops.reduce_sum(x * x)

    func = flat(grad(network, position=(0, 1)), Tensor(X), Tensor(W), 3)
    found, (session, _) = both(func, chip, X, W, 3)
    same(found)
    assert set(runs_of_conversions(session)) == {1}
    rooms = [value.format for value in session.optimized.values.values() if value.type.shape[1:] == X.shape]
    assert rooms
    assert set(rooms) == {"NZ"}


def test_convolutions_in_branches_of_loops_have_the_numbers_of_plain_formats(chip):
    """With their gradients, for which a loop keeps images as they lie."""

    def network(x, w, n):
        while n > 0:
            if n > 1:  # noqa: SIM108 - branches as statements
                x = ops.conv2d(x, w, pad=1) * 0.5
            else:
                x = ops.relu(ops.conv2d(x, w, pad=1))
            n -= 1
        return ops.reduce_sum(x * x)

    x = RANDOM.standard_normal((1, 16, 4, 4)).astype(np.float16)
    w = (RANDOM.standard_normal((16, 16, 3, 3)) * 0.1).astype(np.float16)
    func = flat(grad(network, position=(0, 1)), Tensor(x), Tensor(w), 3)
    found, (session, plain) = both(func, chip, x, w, 3)
    same(found)
    assert sum(runs_of_conversions(session)) < sum(runs_of_conversions(plain)) / 2
    rooms = {value.format for value in session.optimized.values.values() if value.type.shape[1:] == x.shape}
    assert rooms == {"NC1HWC0"}


def test_what_only_a_branch_reads_is_converted_in_the_branch(chip):
    """So that it costs nothing when the other one is taken."""

    def network(x, w, n):
        if n > 0:  # noqa: SIM108 - branches as statements
            y = ops.matmul(x, w)
        else:
            y = x + 1.0
        return y

    func = flat(network, Tensor(X), Tensor(W), 3)
    for n, converted in ((1, True), (0, False)):
        found, (session, _) = both(func, chip, X, W, n)
        same(found)
        assert bool(runs_of_conversions(session)) == converted


def test_what_both_branches_read_is_converted_once(chip):
    """In front of the switch, which both of them are behind."""

    def network(x, w, n):
        if n > 0:  # noqa: SIM108 - branches as statements
            y = ops.matmul(x, w)
        else:
            y = ops.relu(ops.matmul(x, w))
        return y

    graph = optimized(flat(network, Tensor(X), Tensor(W), 3), chip)
    assert conversions(graph) == {"nd_to_nz": 2, "nz_to_nd": 1}
    names = [node.op for node in graph.nodes]
    assert names.index("label_switch") > max(at for at, op in enumerate(names[:-1]) if op == TRANS_DATA)


def test_a_value_that_a_turn_renews_is_converted_in_every_turn(chip):
    """A sum by rows wants ND, a product fractals: the state cannot be both."""

    def network(x, w, n):
        while n > 0:
            x = ops.matmul(x, w) * ops.reduce_max(x)
            n -= 1
        return x

    found, (session, _) = both(flat(network, Tensor(X), Tensor(W), 4), chip, X, W, 4)
    same(found)
    assert max(runs_of_conversions(session)) == 4


def test_blocks_of_loops_in_loops_count_their_turns(chip):
    """An inner loop turns in every turn of the outer one; a branch counts once."""

    def network(x, n):
        while n > 0:
            k = n
            while k > 0:
                x = x * x
                k -= 1
            n -= 1
        return x

    graph = prepare(flat(network, Tensor(X), 3))
    blocks = Blocks(graph)
    (inner,) = (at for at, node in enumerate(graph.nodes) if node.op == "mul")
    turns = [blocks.turns[blocks.at(at)] for at in (0, inner, len(graph.nodes))]
    assert turns == [1, ASSUMED_TURNS**2, 1]


MATRIX, COUNT = TensorType((16, 16), dtype("float16")), TensorType((), dtype("int64"))


@st.composite
def programs(draw: st.DrawFn) -> Func:
    """Return a random Func of two matrices and a count: products, sums, branches and loops in each other."""
    builder = Builder()
    a, b, n = builder.param(MATRIX, "a"), builder.param(MATRIX, "b"), builder.param(COUNT, "n")
    found = _written(draw, builder, [a, b, n], 2)
    return builder.finish("random", found[:2])


def _written(draw, builder, state, depth):
    """Write a few statements that change two matrices, and may count."""
    a, b, n = (builder.lift(each) for each in state)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["op", "op", "if", "while"] if depth else ["op"]))
        if kind == "op":
            a, b = _changed(draw, a, b)
        elif kind == "if":
            parts = []
            for name in ("then", "orelse"):
                inside = Builder(builder)
                parts.append(Part(inside, _written(draw, inside, [a, b, n], depth - 1)[:2], name))
            a, b = branch(builder, n > draw(st.integers(0, 2)), *parts)
        else:
            a, b = _loop(draw, builder, [a, b, n], depth)
    return [a, b, n]


def _changed(draw, a, b):
    """Return two matrices for two others, none of them large."""
    new = draw(
        st.sampled_from(
            [
                lambda: ops.matmul(a, b) * 0.25,
                lambda: ops.relu(a) + b * 0.5,
                lambda: ops.transpose(a, (1, 0)),
                lambda: a * ops.reduce_max(b),
                lambda: a - 0.25,
            ]
        )
    )()
    clipped = ops.maximum(ops.minimum(new, 2.0), -2.0)
    return (b, clipped) if draw(st.booleans()) else (clipped, b)


def _loop(draw, builder, state, depth):
    a, b, n = state
    cond, body = Builder(builder), Builder(builder)
    for _ in range(2):
        cond.param(MATRIX)
    turns = cond.param(COUNT)
    inside = [body.param(MATRIX), body.param(MATRIX), body.param(COUNT)]
    new = _written(draw, body, inside, depth - 1)
    parts = Part(cond, [turns > 0], "cond"), Part(body, [*new[:2], inside[2] - 1], "body")
    found = loop(builder, [a, b, n], *parts)
    return found[0], found[1]


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 3))
def test_formats_change_no_number_of_a_random_program(chip, func, n):
    """Products in branches and loops, in each other."""
    found, _ = both(func, chip, X[:, :16], W[:16, :16], n)
    same(found)
    for array, expected in zip(
        found[0], evaluate(func, [X[:, :16], W[:16, :16], np.asarray(n)]), strict=True
    ):
        np.testing.assert_allclose(
            array.astype(np.float32), expected.astype(np.float32), rtol=0.02, atol=0.02
        )


def test_a_value_that_is_called_as_a_node_does_not_tie_its_format(chip):
    """The second number that counts turns is `add.1`, and so may be a sum of two matrices."""

    def network(x, w, n):
        y = ops.matmul(ops.matmul(x, w) + x, w)
        for _ in range(2):
            k = n
            while k > 0:
                y = ops.tanh(y)
                k -= 1
        return ops.reduce_sum(y)

    graph = optimized(flat(grad(network), Tensor(X), Tensor(W), 3), chip)
    (sum_,) = (node for node in graph.nodes if node.name == "add.1")
    assert "add.1" in graph.values
    assert graph.values[sum_.outputs[0]].format == "NZ"
