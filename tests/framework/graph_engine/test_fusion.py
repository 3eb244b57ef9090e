"""Fusions: what they make of a graph, the numbers that stay, and the time that they spare on the chip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import UnknownName
from davinci_sim.platforms import platform
from framework import Tensor, grad, ops
from framework.frontend.trace import trace
from framework.graph_engine import Session
from framework.graph_engine.options import Options
from framework.graph_engine.service.compile import compile_graph
from framework.graph_engine.service.execute import execute
from framework.graph_engine.service.formats import assign_formats
from framework.graph_engine.service.fusion import ALL, NONE, REAL, chosen, fuse
from framework.graph_engine.service.fusion.page import COMMAND, PAGE, page
from framework.graph_engine.service.load import load
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import split
from framework.passes import run as run_passes
from kernels.tiling.expression import MOST_SOURCES

P = platform("ascend910a")
RANDOM = np.random.Generator(np.random.Philox(7))


def numbers(*shape, dtype=np.float16):
    """Return random numbers."""
    return RANDOM.standard_normal(shape).astype(dtype)


def func_of(function, *arrays):
    """Return the Func of a function of arrays."""
    return run_passes(trace(function, [Tensor(a) for a in arrays], {}).func)


def step(func, fusions, arrays):
    """Return the session of a Func, all on one stream, and what one step computes."""
    session = Session(func, Chip(P), options=Options(fusions=fusions, streams=False))
    feeds = {p.name: a[np.newaxis] for p, a in zip(func.params, arrays, strict=True)}
    outputs = session.run(feeds).outputs
    return session, [outputs[name][0] for name in session.loaded.graph.outputs]


def kernels_of(session: Session) -> list[str]:
    """Return the kernels of a session's tasks, without conversions."""
    tasks = session.compiled.tasks
    return [task.kernel for task in tasks if task.kernel and not task.name.startswith("trans_data")]


def dense(act):
    """Return act(x @ w + b)."""
    return lambda x, w, b: act(ops.bias_add(ops.matmul(x, w, out_dtype="float32"), b))


def twofold(x, w, y, v):
    """Return the sum of two products."""
    return ops.matmul(x, w) + ops.matmul(y, v)


def filtered(x, w, b):
    """Return relu of a convolution with a bias."""
    return ops.relu(ops.bias_add(ops.conv2d(x, w, pad=1, out_dtype="float32"), b, axis=1))


def block(x, w, r, gamma, beta, mean, variance):
    """Return relu(batch_norm(conv2d(x, w)) + r) and the moving averages."""
    y, *moved = ops.batch_norm(ops.conv2d(x, w, pad=1), gamma, beta, mean, variance)
    return (ops.relu(y + r), *moved[:2])


def simple_block(x, w, gamma, beta, mean, variance):
    """Return relu(batch_norm(conv2d(x, w))) and the moving averages."""
    y, *moved = ops.batch_norm(ops.conv2d(x, w, pad=1), gamma, beta, mean, variance)
    return (ops.relu(y), *moved[:2])


def in_use(x, w, gamma, beta, mean, variance):
    """Return relu of a normalisation by given statistics."""
    return ops.relu(ops.batch_norm_inference(ops.conv2d(x, w, pad=1), gamma, beta, mean, variance))


def two_products(x, w, b, y, v):
    """Return x @ w + b + y @ v, and y @ v by itself."""
    z = ops.matmul(y, v, out_dtype="float32")
    return ops.bias_add(ops.matmul(x, w, out_dtype="float32"), b) + z, z


def dropped(x, r, key):
    """Return dropout of x, and r."""
    y, _ = ops.dropout(x, key, 0.9)
    return y + r


def trained(weight, moment, gradient, rate):
    """Return a weight and its momentum, renewed by a gradient in half precision."""
    return ops.apply_momentum(weight, moment, gradient.astype("float32"), rate, 0.9)


def trained_with_a_scale(weight, moment, gradient, rate):
    """Return a weight and its momentum, renewed by the gradient of a loss that was scaled."""
    return ops.apply_momentum(weight, moment, gradient.astype("float32") * 2**-10, rate, 0.9)


def adapted(weight, first, second, gradient, rate):
    """Return a weight and its moments, renewed by the gradient of a loss that was scaled."""
    return ops.apply_adam(weight, first, second, gradient * 2**-10, 0.9, 0.999, rate)


def adapted_by_layer(weight, first, second, gradient, rate):
    """Return the same by LAMB, of a gradient in half precision."""
    unscaled = gradient.astype("float32") * 2**-10
    return ops.apply_lamb(weight, first, second, unscaled, FLOATS(0.9), FLOATS(0.99), rate)


def gradient_to_input(dy, w):
    """Return the gradient to the input of a convolution of 3x3."""
    return ops.conv2d_backward_input(dy, w, (dy.shape[0], w.shape[1], *dy.shape[2:]), pad=1)


def forked(dy, w):
    """Return the sum of the gradients to an input that two convolutions share."""
    return gradient_to_input(dy, w) + gradient_to_input(dy, -w)


def masked(dy, w, x, v):
    """Return a gradient where relu gave something."""
    return ops.relu_grad(gradient_to_input(dy, w), ops.relu(ops.conv2d(x, v, pad=1)))


def forked_and_masked(dy, w, x, v):
    """Return the sum of two gradients where relu gave something."""
    return ops.relu_grad(forked(dy, w), ops.relu(ops.conv2d(x, v, pad=1)))


FLOATS = np.float32
MATRICES = (numbers(40, 64), numbers(64, 48))
IMAGES = (numbers(2, 16, 8, 8), numbers(32, 16, 3, 3))
BACKWARD = (numbers(4, 32, 14, 14), numbers(32, 32, 3, 3), numbers(4, 32, 14, 14), numbers(32, 32, 3, 3))
CHANNELS = (
    numbers(32, dtype=FLOATS), numbers(32, dtype=FLOATS), numbers(32, dtype=FLOATS),
    np.abs(numbers(32, dtype=FLOATS)) + 0.5,
)  # fmt: skip
CASES = {
    "matmul_bias": (dense(lambda y: y), (*MATRICES, numbers(48, dtype=FLOATS)), ["matmul_bias"]),
    "matmul_bias_relu": (dense(ops.relu), (*MATRICES, numbers(48, dtype=FLOATS)), ["matmul_bias"]),
    "matmul_add": (twofold, (*MATRICES, *MATRICES), ["matmul", "matmul_add"]),
    "matmul_bias_gelu": (dense(ops.gelu), (*MATRICES, numbers(48, dtype=FLOATS)), ["matmul_bias"]),
    "matmul_relu": (lambda x, w: ops.relu(ops.matmul(x, w)), MATRICES, ["matmul"]),
    "matmul_gelu": (lambda x, w: ops.gelu(ops.matmul(x, w)), MATRICES, ["matmul"]),
    "matmul_bias_add": (
        two_products, (*MATRICES, numbers(48, dtype=FLOATS), *MATRICES), ["matmul", "matmul_bias_add"],
    ),
    "conv2d_relu": (lambda x, w: ops.relu(ops.conv2d(x, w, pad=1)), IMAGES, ["conv2d"]),
    "batch_norm_update_relu": (
        simple_block, (*IMAGES, *CHANNELS), ["conv2d_statistics", "batch_norm_update"],
    ),
    "batch_norm_relu": (in_use, (*IMAGES, *CHANNELS), ["conv2d", "batch_norm"]),
    "dropout_add": (dropped, (numbers(90, 64), numbers(90, 64), ops.dropout_key(3).numpy()), ["dropout_add"]),
    "apply_momentum_half": (
        trained, (numbers(70, 60, dtype=FLOATS), numbers(70, 60, dtype=FLOATS), numbers(70, 60), FLOATS(0.1)),
        ["apply_momentum"],
    ),
    "apply_momentum_scale": (
        trained_with_a_scale,
        (numbers(70, 60, dtype=FLOATS), numbers(70, 60, dtype=FLOATS), numbers(70, 60), FLOATS(0.1)),
        ["apply_momentum"],
    ),
    "apply_adam_scale": (
        adapted,
        (*(np.abs(numbers(70, 60, dtype=FLOATS)) for _ in range(4)), FLOATS(0.1)),
        ["apply_adam"],
    ),
    "apply_lamb_scale": (
        adapted_by_layer,
        (*(np.abs(numbers(70, 60, dtype=FLOATS)) for _ in range(3)), numbers(70, 60), FLOATS(0.1)),
        ["lamb_update", "lamb_apply"],
    ),
    "conv2d_backward_input_add": (
        forked, BACKWARD[:2], ["neg", "conv2d_backward_input", "conv2d_backward_input_add"],
    ),
    "conv2d_backward_input_relu_grad": (masked, BACKWARD, ["conv2d", "conv2d_backward_input_relu_grad"]),
    "conv2d_backward_input_add_relu_grad": (
        forked_and_masked, BACKWARD,
        ["neg", "conv2d_backward_input", "conv2d", "conv2d_backward_input_add_relu_grad"],
    ),
    "conv2d_bias_relu": (filtered, (*IMAGES, numbers(32, dtype=FLOATS)), ["conv2d_bias"]),
    "conv2d_statistics": (
        block, (*IMAGES, numbers(2, 32, 8, 8), *CHANNELS), ["conv2d_statistics", "batch_norm_update_add"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_pattern_gives_fewer_kernels_the_same_numbers_and_less_time(name):
    """Numbers lie within rounding. A bias of channels, which no kernel adds alone, has no time to compare."""
    function, arrays, expected = CASES[name]
    func = func_of(function, *arrays)
    together, found = step(func, "all", arrays)
    apart, alone = step(func, "none", arrays)
    assert kernels_of(together) == expected
    assert name in {note.partition(":")[0] for note in together.optimized.notes}
    for ours, theirs in zip(found, alone, strict=True):
        np.testing.assert_allclose(ours.astype(FLOATS), theirs.astype(FLOATS), rtol=4e-3, atol=2e-2)
    assert together.step_us() < apart.step_us() or "conv2d_bias" in expected


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("_scale")])
def test_a_power_of_two_is_divided_by_without_rounding(name):
    """So an update that divides its gradient by the scale of the loss itself gives the same bits."""
    function, arrays, _ = CASES[name]
    func = func_of(function, *arrays)
    for ours, theirs in zip(step(func, "all", arrays)[1], step(func, "none", arrays)[1], strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_lamb_divides_by_another_scale_in_a_launch_of_its_own():
    """1000 is no power of two, and a quotient by it is rounded."""

    def update(weight, first, second, gradient, rate):
        return ops.apply_lamb(weight, first, second, gradient / 1000, FLOATS(0.9), FLOATS(0.99), rate)

    arrays = (*(np.abs(numbers(70, 60, dtype=FLOATS)) for _ in range(4)), FLOATS(0.1))
    assert len(kernels_of(step(func_of(update, *arrays), "all", arrays)[0])) == 3


def test_the_stack_of_2020_knew_the_scale_of_the_loss_in_momentum_alone():
    """LAMB and the others came to know it later."""
    scales = {name for name in ALL if name.endswith("_scale")}
    assert {"apply_lamb_scale", "apply_adam_scale"} <= scales
    assert scales & REAL == {"apply_momentum_scale", "apply_momentum_decay_scale"}


@pytest.mark.parametrize(
    ("function", "arrays"),
    [
        (
            lambda x, w, b: ops.relu(ops.matmul(x, w)) + b.astype("float16"),
            (*MATRICES, numbers(48, dtype=FLOATS)),
        ),
        (lambda x, w, b: ops.bias_add(ops.relu(ops.conv2d(x, w, pad=1)), b, axis=1), (*IMAGES, CHANNELS[0])),
        (
            lambda x, w, b: ops.bias_add(ops.matmul(x, w, out_dtype="float32"), b, axis=1),
            (numbers(2, 32, 16), numbers(2, 16, 32), numbers(32, dtype=FLOATS)),
        ),
        (
            lambda x: ops.batch_norm_inference(
                ops.relu(ops.conv2d(x, Tensor(IMAGES[1]), pad=1)), *map(Tensor, CHANNELS)
            ),
            IMAGES[:1],
        ),
    ],
    ids=["bias of a product", "bias of a convolution", "bias of rows", "normalisation"],
)
def test_what_a_product_cannot_take_in_stays_behind_it(function, arrays):
    """A bias of columns and a normalisation join it where no activation is between them."""
    func = func_of(function, *arrays)
    (found,), (alone,) = (step(func, fusions, arrays)[1] for fusions in ("all", "none"))
    np.testing.assert_allclose(found.astype(FLOATS), alone.astype(FLOATS), rtol=4e-3, atol=2e-2)


def test_a_pattern_leaves_alone_what_is_not_on_the_cores():
    """A convolution in float32 goes to the host; its activation cannot join it."""
    images = [each.astype(FLOATS) for each in IMAGES]
    function = CASES["conv2d_relu"][0]
    func = func_of(function, *images)
    session, (found,) = step(func, "all", images)
    assert {"aicpu", "host"} & {node.engine for node in session.optimized.nodes if node.op == "conv2d"}
    np.testing.assert_allclose(found, function(*map(Tensor, images)).numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["batch_norm_relu", "batch_norm_add"])
def test_a_pattern_alone_leaves_a_normalisation_in_training_as_it_is(name):
    """It is two kernels, until another pattern has split it."""
    arrays = (*IMAGES, numbers(2, 32, 8, 8), *CHANNELS)
    session, _ = step(func_of(block, *arrays), {name}, arrays)
    assert kernels_of(session)[:3] == ["conv2d", "batch_norm_reduce", "batch_norm_update"]


def masked_by_itself(dy, w, r):
    """Return the positive part of a sum of gradients, as a mask of relu makes it."""
    total = gradient_to_input(dy, w) + r
    return ops.relu_grad(total, total)


@pytest.mark.parametrize(
    ("function", "arrays"),
    [
        (lambda x, w: ops.apply_sgd(x.astype("float32"), x.astype("float32"), 0.5), MATRICES),
        (masked_by_itself, BACKWARD[:3]),
    ],
    ids=["update", "mask"],
)
def test_what_is_read_twice_stays_where_it_is(function, arrays):
    """A pattern leaves out what passes between its nodes; here it would be missed."""
    func = func_of(function, *arrays)
    (found,), (alone,) = (step(func, fusions, arrays)[1] for fusions in ("all", "none"))
    np.testing.assert_allclose(found.astype(FLOATS), alone.astype(FLOATS), rtol=4e-3, atol=4e-2)


def test_a_bias_may_be_either_side_of_the_sum():
    """It is added to the product, or the product to it."""
    arrays = (*MATRICES, numbers(48, dtype=FLOATS))
    func = func_of(lambda x, w, b: b + ops.matmul(x, w, out_dtype="float32"), *arrays)
    assert kernels_of(step(func, "all", arrays)[0]) == ["matmul_bias"]


def placed(function, *arrays):
    """Return the graph of a function after splitting."""
    return split(prepare(func_of(function, *arrays)), P)


def test_a_fusion_that_costs_more_conversions_than_it_spares_is_not_made():
    """The residual comes as rows and the sum goes as rows, so that only the product would like fractals."""
    graph = fuse(placed(lambda x, w, r: ops.matmul(x, w) + r, *MATRICES, numbers(40, 48)), P, ALL)
    assert [node.op for node in graph.nodes] == ["matmul", "add"]
    (note,) = graph.notes
    assert note.startswith("matmul_add: matmul.0 + add.1: ")
    assert note.endswith(", not made")


def test_a_gradient_that_comes_in_phases_stays_apart_from_what_is_added():
    """The kernel refuses the stride, so that no match comes up."""
    dy, w, _, _ = BACKWARD

    def strided(dy, w, r):
        return ops.conv2d_backward_input(dy, w, r.shape, pad=1, stride=2) + r

    graph = fuse(placed(strided, dy, w, numbers(4, 32, 27, 27)), P, ALL - {"elements"})
    assert [node.op for node in graph.nodes] == ["conv2d_backward_input", "add"]
    assert graph.notes == ()


def test_fusions_are_switched_by_name_and_by_set():
    """Without its name a fusion is not made; the sets lie in each other."""
    graph = placed(dense(ops.relu), *MATRICES, numbers(48, dtype=FLOATS))
    assert [node.op for node in fuse(graph, P, NONE).nodes] == ["matmul", "bias_add", "relu"]
    assert [node.op for node in fuse(graph, P, {"elements"}).nodes] == ["matmul", "fused"]
    assert [node.op for node in fuse(graph, P, {"matmul_bias"}).nodes] == ["matmul", "relu"]
    assert NONE < REAL < ALL
    assert chosen("real") == REAL


def test_unknown_names_are_refused():
    with pytest.raises(UnknownName, match="unknown fusion 'matmul_bais'"):
        chosen({"matmul_bais"})
    with pytest.raises(UnknownName, match="unknown set of fusions 'some'"):
        chosen("some")


def test_the_page_tells_every_fusion_with_before_and_after():
    """The page in docs/ is what the generator writes now."""
    assert PAGE.read_text(encoding="utf-8") == page(), f"{PAGE.name} is stale: run `{COMMAND}`"
    sections = [line.removeprefix("## ") for line in page().splitlines() if line.startswith("## ")]
    assert sorted(sections) == sorted(ALL)
    assert page().count("\nbefore  ") == page().count("\nafter   ") == len(ALL)


def computed(graph, names, arrays):
    """Return the results of a graph whose inputs are these arrays."""
    loaded = load(compile_graph(assign_formats(graph, P), P), Chip(P), {})
    outputs = execute(
        loaded, {name: array[np.newaxis] for name, array in zip(names, arrays, strict=True)}
    ).outputs
    return [outputs[name][0] for name in loaded.graph.outputs]


def test_the_order_of_fusions_changes_no_number():
    """A convolution may sum for a normalisation that has its residual already, or take it later."""
    arrays = (*IMAGES, numbers(2, 32, 8, 8), *CHANNELS)
    graph = placed(block, *arrays)
    early, late = {"batch_norm_split", "batch_norm_add"}, {"conv2d_statistics"}
    one = fuse(fuse(graph, P, early), P, late)
    other = fuse(fuse(graph, P, late | {"batch_norm_split"}), P, early)
    assert (
        [n.op for n in one.nodes]
        == [n.op for n in other.nodes]
        == ["conv2d_statistics", "batch_norm_update", "relu"]
    )
    first, second = (computed(each, graph.inputs, arrays) for each in (one, other))
    assert [each.tobytes() for each in first] == [each.tobytes() for each in second]


def test_a_convolution_takes_in_the_normalisation_by_constants():
    """Weights are scaled and the bias is made while compiling."""
    x, w = IMAGES

    def inference(x):
        y = ops.conv2d(x, Tensor(w), pad=1)
        return ops.relu(ops.batch_norm_inference(y, *(Tensor(each) for each in CHANNELS)))

    func = func_of(inference, x)
    together, (found,) = step(func, "all", (x,))
    apart, (alone,) = step(func, "none", (x,))
    assert kernels_of(together) == ["conv2d_bias"]
    np.testing.assert_allclose(found.astype(FLOATS), alone.astype(FLOATS), rtol=1e-2, atol=5e-2)
    assert together.step_us() < apart.step_us()


def test_a_tree_of_additions_is_one_kernel():
    """Six addends come and one sum goes."""
    arrays = [numbers(50, 30) for _ in range(6)]
    func = func_of(lambda a, b, c, d, e, f: ((a + b) + (c + d)) + (e + f), *arrays)
    session, (found,) = step(func, "all", arrays)
    assert kernels_of(session) == ["fused"]
    assert found.tobytes() == step(func, "none", arrays)[1][0].tobytes()


@st.composite
def sums(draw):
    """Draw in which order numbers from 0 on are added: pairs of earlier ones, until one is left."""
    left = list(range(draw(st.integers(2, 9))))
    count, pairs = len(left), []
    while len(left) > 1:
        first, second = (left.pop(draw(st.integers(0, len(left) - 1))) for _ in range(2))
        pairs.append((first, second))
        left.append(count + len(pairs) - 1)
    return count, pairs


@settings(max_examples=6)
@given(sums())
def test_a_sum_is_as_few_kernels_as_have_room_for_its_addends(drawn):
    """One takes six arrays, which may be sums of others; no addend is read twice, and the order is kept."""
    count, pairs = drawn

    def added(*addends):
        table = list(addends)
        for first, second in pairs:
            table.append(table[first] + table[second])
        return table[-1]

    arrays = [numbers(50, 30) for _ in range(count)]
    func = func_of(added, *arrays)
    session, (found,) = step(func, "all", arrays)
    read = [len(task.operands) - 1 for task in session.compiled.tasks if task.kernel]
    assert max(read) <= MOST_SOURCES
    assert len(read) == 1 if count <= MOST_SOURCES else len(read) <= 3
    assert sum(read) == count + len(read) - 1
    assert found.tobytes() == step(func, "none", arrays)[1][0].tobytes()


UNARY = (ops.relu, ops.abs, ops.neg, ops.exp, ops.square)
BINARY = (ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum)
TESTS = (ops.less, ops.less_equal, ops.greater, ops.equal, ops.not_equal)


@st.composite
def networks(draw):
    """Draw element-wise operators: kind, which one, and the numbers of earlier values that it takes."""
    made = []
    for number in range(draw(st.integers(2, 9))):
        first, second = draw(st.integers(0, number + 1)), draw(st.integers(-3, number + 1))
        kind = draw(st.sampled_from(("one", "two", "two", "cast", "choice")))
        made.append((kind, draw(st.integers(0, 4)), first, second))
    return made, draw(st.lists(st.integers(2, len(made) + 1), max_size=2))


def network(made, also):
    """Return a function that computes a drawn network: values 0 and 1 are inputs, then come results."""

    def compute(x, y, number, row, column):
        table, others = [x, y], (number, row, column)
        for kind, op, first, second in made:
            a = table[first]
            if kind == "one":
                table.append(UNARY[op](a))
            elif kind == "cast":
                table.append(a.astype("float32" if a.dtype.name == "float16" else "float16"))
            else:
                b = (others[second] if second < 0 else table[second]).astype(a.dtype)
                if kind == "two":
                    table.append(BINARY[op](a, b))
                else:
                    table.append(ops.select(TESTS[op](a, b), a, b if second >= 0 else 0.5))
        return (table[-1], *(table[place] for place in also))

    return compute


@settings(max_examples=12)
@given(networks())
def test_any_element_wise_network_gives_the_same_bits_fused_and_apart(drawn):
    """Broadcasts, casts, shared values and several results; nothing on the way is rounded differently."""
    arrays = (numbers(24, 32), numbers(24, 32), numbers(1), numbers(32), numbers(24, 1))
    with np.errstate(all="ignore"):
        func = func_of(network(*drawn), *arrays)
        together, found = step(func, "all", arrays)
        apart, alone = step(func, "none", arrays)
    assert [each.tobytes() for each in found] == [each.tobytes() for each in alone]
    assert len(together.compiled.tasks) <= len(apart.compiled.tasks)


def clipped(x, y):
    """Return what has comparisons in its gradient: a maximum, absolute values, a lower bound."""
    return ops.maximum(ops.abs(x), y) * ops.maximum(x, 0.25)


def test_gradients_with_comparisons_run_on_the_cores():
    """Truths never leave a fused kernel; the comparisons that decide two choices are in both."""
    arrays = (numbers(24, 40, dtype=FLOATS), numbers(24, 40, dtype=FLOATS))
    func = func_of(grad(lambda x, y: ops.reduce_sum(clipped(x, y)), (0, 1)), *arrays)
    together, found = step(func, "all", arrays)
    apart, alone = step(func, "none", arrays)
    assert {node.engine for node in apart.optimized.nodes} & {"aicpu", "host"}
    assert not {node.engine for node in together.optimized.nodes} & {"aicpu", "host"}
    assert [each.tobytes() for each in found] == [each.tobytes() for each in alone]
    assert together.step_us() < apart.step_us()
