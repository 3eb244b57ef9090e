"""Each of the six steps can be called alone and says what it did."""

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.errors import ShapeMismatch
from davinci_sim.platforms import platform
from framework import Tensor, jit, ops
from framework.frontend.trace import trace
from framework.graph_engine import Session
from framework.graph_engine.options import Options
from framework.graph_engine.service.compile import compile_graph
from framework.graph_engine.service.fusion import fuse
from framework.graph_engine.service.optimize import optimize
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import placement, split
from framework.ir import Builder
from framework.ir.types import parse_type
from framework.passes import run as run_passes

PLATFORM = platform("ascend910a")


def compiled(function, *arrays):
    """Return the Func of a function of arrays."""
    return run_passes(trace(function, [Tensor(a) for a in arrays], {}).func)


def ones(*shape, dtype=np.float16):
    """Return ones."""
    return np.ones(shape, dtype)


def dense(x, w, b):
    """Return relu(x @ w + b) in float32."""
    return ops.relu(ops.bias_add(ops.matmul(x, w, out_dtype="float32"), b))


DENSE = (ones(20, 40), ones(40, 30), ones(30, dtype=np.float32))


def test_what_has_no_kernel_is_left_to_the_host_with_a_reason():
    """Nothing falls back silently."""
    images, filters = ones(1, 2, 5, 5, dtype=np.float32), ones(3, 2, 3, 3, dtype=np.float32)
    func = compiled(ops.conv2d, images, filters)
    assert "host" in placement(split(prepare(func), PLATFORM))
    assert "the cube multiplies float16" in placement(split(prepare(func), PLATFORM))


def test_what_the_kernel_itself_refuses_runs_elsewhere_with_its_reason():
    """Integers are negated by the AI CPU: the kernel takes floats."""
    func = compiled(ops.neg, np.ones((3, 4), np.int32))
    (node,) = split(prepare(func), PLATFORM).nodes
    assert (node.engine, node.reason) == (
        "aicpu", "kernel neg: dtype=int32, rule: dtype is fp16 or fp32",
    )  # fmt: skip


def test_a_bias_moves_into_its_product():
    """Matmul and bias_add become one kernel."""
    graph = fuse(split(prepare(compiled(dense, *DENSE)), PLATFORM), PLATFORM, {"matmul_bias"})
    assert [node.op for node in graph.nodes] == ["matmul", "relu"]
    assert graph.nodes[0].launches[0].kernel == "matmul_bias"


def test_a_product_that_somebody_else_reads_is_not_fused():
    """Fusion must not lose a value."""

    def both(x, w, b):
        y = ops.matmul(x, w, out_dtype="float32")
        return ops.bias_add(y, b), y

    graph = fuse(split(prepare(compiled(both, *DENSE)), PLATFORM), PLATFORM, {"matmul_bias"})
    assert [node.op for node in graph.nodes] == ["matmul", "bias_add"]


def test_an_element_wise_kernel_takes_the_format_of_its_neighbours():
    """No conversion stands between the product and relu."""
    options = Options(fusions=frozenset({"matmul_bias"}))
    graph = optimize(split(prepare(compiled(dense, *DENSE)), PLATFORM), PLATFORM, options)
    names = [node.op for node in graph.nodes]
    assert names == ["trans_data", "trans_data", "matmul", "relu", "trans_data"]
    relu = graph.nodes[3]
    assert graph.values[relu.inputs[0]].format == graph.values[relu.outputs[0]].format == "NZ"


def test_the_task_list_reads_like_a_disassembly():
    """Every task names its kernel, shape, tiling and operands."""
    text = compile_graph(
        optimize(split(prepare(compiled(dense, *DENSE)), PLATFORM), PLATFORM), PLATFORM
    ).text()
    assert "matmul_bias <m=20,k=40,n=30" in text
    assert "workspace" in text


def test_inputs_of_another_shape_are_refused():
    """The message names the input, what was given and what is wanted."""
    session = Session(compiled(dense, *DENSE), Chip(PLATFORM))
    names = session.loaded.graph.inputs
    feeds = dict(zip(names, [ones(1, 20, 41), ones(1, 40, 30), ones(1, 30, dtype=np.float32)], strict=True))
    with pytest.raises(ShapeMismatch, match=r"given float16\[1, 20, 41\]"):
        session.run(feeds)


def test_the_device_computes_what_numpy_computes():
    """Jit with a device equals jit without, within the rounding of fp16 products."""
    generator = np.random.Generator(np.random.Philox(1))
    arrays = [generator.standard_normal(a.shape).astype(a.dtype) for a in DENSE]
    on_host = jit(dense)(*map(Tensor, arrays)).numpy()
    on_device = jit(dense, device=Chip(PLATFORM))(*map(Tensor, arrays)).numpy()
    assert np.abs(on_host - on_device).max() <= 40 * 2.0**-24 * np.abs(on_host).max()


def test_host_and_device_take_turns_in_one_graph():
    """A node without a kernel runs on the host between tasks of the device."""

    def mixed(x, w):
        y = ops.matmul(x, w, out_dtype="float32")
        return ops.softmax(y) + y

    generator = np.random.Generator(np.random.Philox(2))
    x, w = (generator.standard_normal(shape).astype(np.float16) for shape in ((20, 40), (40, 600)))
    expected = jit(mixed)(Tensor(x), Tensor(w)).numpy()
    got = jit(mixed, device="ascend910a")(Tensor(x), Tensor(w)).numpy()
    assert np.allclose(expected, got, rtol=1e-5, atol=1e-5)


def test_a_conversion_without_a_kernel_is_made_elsewhere_and_says_so():
    """Matrices of ragged rows, many in one tensor, go to fractals through the AI CPU, once a step."""

    def scaled(x, w, scale):
        return ops.matmul(ops.reshape(ops.reshape(x, (6, 21)) * scale, (2, 3, 21)), w)

    generator = np.random.Generator(np.random.Philox(4))
    shapes = ((2, 3, 21), (2, 21, 16), (6, 1))
    arrays = [generator.standard_normal(shape).astype(np.float16) for shape in shapes]
    session = Session(compiled(scaled, *arrays), Chip(PLATFORM))
    feeds = dict(zip(session.loaded.graph.inputs, (a[np.newaxis] for a in arrays), strict=True))
    result = session.run(feeds)
    expected = jit(scaled)(*map(Tensor, arrays)).numpy().astype(np.float32)
    (got,) = result.outputs.values()
    assert (result.host_calls, session.profile().timeline.runs("aicpu")) == (1, 1)
    assert np.abs(got[0] - expected).max() <= 2.0**-9 * np.abs(expected).max()
    assert "no kernel converts" in placement(session.optimized)


def test_a_session_prints_what_each_step_made():
    """Preparation, splitting, optimisation, compilation and loading can be read one after the other."""
    texts = Session(compiled(dense, *DENSE), Chip(PLATFORM)).texts()
    assert list(texts) == ["1 prepare", "2 split", "3 optimize", "4 compile", "5 load"]
    assert "@ND = matmul(" in texts["1 prepare"]
    assert "@NZ = matmul(" in texts["3 optimize"]


def test_a_bias_on_channels_moves_into_its_convolution():
    """conv2d and bias_add on channels become one kernel, and compute what they did apart."""

    def convolved(x, w, b):
        return ops.bias_add(ops.conv2d(x, w, pad=1, out_dtype="float32"), b, axis=1)

    generator = np.random.Generator(np.random.Philox(5))
    x, w = (generator.standard_normal(s).astype(np.float16) for s in ((2, 5, 9, 9), (7, 5, 3, 3)))
    b = generator.standard_normal(7).astype(np.float32)
    session = Session(compiled(convolved, x, w, b), Chip(PLATFORM))
    kernels_used = [task.spec.kernel for task in session.loaded.tasks if task.spec.kernel]
    assert "conv2d_bias" in kernels_used
    on_host = jit(convolved)(*map(Tensor, (x, w, b))).numpy()
    on_device = jit(convolved, device=Chip(PLATFORM))(*map(Tensor, (x, w, b))).numpy()
    assert np.abs(on_host - on_device).max() <= 45 * 2.0**-24 * np.abs(on_host).max()


def test_a_product_of_fp32_runs_on_the_cube():
    """Two fp16 numbers stand for each fp32 one: what is lost is 3 * 2**-22 of each product."""
    generator = np.random.Generator(np.random.Philox(6))
    a, b = (generator.standard_normal(shape).astype(np.float32) for shape in ((20, 40), (40, 30)))
    on_device = jit(ops.matmul, device=Chip(PLATFORM))(Tensor(a), Tensor(b)).numpy()
    assert on_device.dtype == np.float32
    assert (np.abs(on_device - a @ b) <= 4 * 2.0**-22 * (np.abs(a) @ np.abs(b))).all()


def test_a_new_value_is_brought_into_the_format_of_its_variable():
    """A weight that products take as NZ, renewed by the host in ND, is converted before the next step."""
    builder = Builder()
    w, x = (builder.param(parse_type("float32[24, 6]"), name) for name in ("w", "x"))
    shown = ops.matmul(w, ops.transpose(x, (1, 0)))
    func = builder.finish("f", [shown, ops.cumsum(w + x, 0)], {1: "w"})
    draw = np.random.default_rng(1)
    start, steps = draw.normal(size=(24, 6)).astype("float32"), draw.normal(size=(2, 24, 6)).astype("float32")
    session = Session(func, Chip("ascend910a"), {"w": start})
    found = session.run({"x": steps}).outputs[session.loaded.graph.outputs[0]]
    second = np.cumsum(start + steps[0], axis=0)
    np.testing.assert_allclose(found[1], second @ steps[1].T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        session.variables()["w"], np.cumsum(second + steps[1], 0), rtol=1e-5, atol=1e-5
    )
