"""The first layer of a network takes its image without padding of channels where that is faster."""

from __future__ import annotations

import re

import numpy as np
import pytest

from davinci_sim.chip import Chip
from framework import Tensor, grad, ops
from framework.frontend.trace import trace
from framework.graph_engine import Session
from framework.graph_engine.data.graph import AICORE, HOST
from framework.graph_engine.options import Options
from framework.passes import run as run_passes

RANDOM = np.random.Generator(np.random.Philox(3))
W = RANDOM.standard_normal((20, 3, 5, 5)).astype(np.float32)


def image(n=4, c=3, h=32, w=32):
    """Return an image as a user feeds it."""
    return RANDOM.standard_normal((n, c, h, w)).astype(np.float32)


def first_layer(x, w):
    """Return the sum of a convolution's squares."""
    y = ops.conv2d(ops.cast(x, "float16"), ops.cast(w, "float16"), 2, 2)
    return ops.reduce_sum(ops.cast(y * y, "float32"))


def step(position, x, w, **options):
    """Return the session of gradients and what one step computes, by position."""
    func = grad(first_layer, position).compiled(Tensor(x), Tensor(w)).func
    session = Session(func, Chip("ascend910a"), options=Options(**options))
    feeds = {p.name: a[np.newaxis] for p, a in zip(func.params, (x, w), strict=True)}
    outputs = session.run(feeds).outputs
    return session, [outputs[name][0] for name in session.loaded.graph.outputs]


def few(session):
    """Return the operators whose image lies without padding."""
    return [n.op for n in session.optimized.nodes for each in n.launches if each.axes.get("few")]


def test_forward_and_gradient_to_the_filter_take_the_image_without_padding():
    """With the numbers of padded channels but for rounding, conversions on the cores included."""
    x = image()
    (session, (dw,)), (padded, (expected,)) = (step(1, x, W, formats=f) for f in (True, False))
    assert few(session) == ["conv2d", "conv2d_backward_filter"]
    assert few(padded) == []
    assert abs(dw - expected).max() <= 2.0**-9 * abs(expected).max()
    assert HOST not in {node.engine for node in session.optimized.nodes}
    formats = {value.format for value in session.optimized.values.values()}
    assert {"NC1HWC0_C04", "FRACTAL_Z_C04"} <= formats


def test_a_bias_joins_the_convolution_without_padding():
    """The accumulators start from it as with padded channels."""
    x, bias = image(), RANDOM.standard_normal(20).astype(np.float32)

    def layer(x, w, b):
        y = ops.conv2d(ops.cast(x, "float16"), ops.cast(w, "float16"), 2, 2)
        return ops.bias_add(y, ops.cast(b, "float16"), 1)

    func = run_passes(trace(layer, [Tensor(each) for each in (x, W, bias)], {}).func)
    results = []
    for formats in (True, False):
        session = Session(func, Chip("ascend910a"), options=Options(formats=formats))
        feeds = {p.name: a[np.newaxis] for p, a in zip(func.params, (x, W, bias), strict=True)}
        (result,) = session.run(feeds).outputs.values()
        results.append(result.astype(np.float32))
        kernels = [each.kernel for node in session.optimized.nodes for each in node.launches]
        assert "conv2d_bias" in kernels
        assert few(session) == (["conv2d"] if formats else [])
    assert abs(results[0] - results[1]).max() <= 2.0**-9 * abs(results[1]).max()


def test_the_decision_is_told_with_its_numbers():
    """What the chip takes for both operators before and after, conversions included."""
    session, _ = step(1, image(), W)
    (note,) = [note for note in session.optimized.notes if note.startswith("few_channels")]
    found = re.fullmatch(
        r"few_channels: \S+ \+ \S+: (\d+) -> (\d+) cycles, (?:\d+ launch(?:es)? and )?\d+ KiB spared", note
    )
    assert found
    assert int(found[2]) < int(found[1])


@pytest.mark.parametrize(
    ("position", "x", "w"),
    [((0, 1), image(), W), (1, image(w=30), W), (1, image(c=5), RANDOM.standard_normal((8, 5, 3, 3)))],
    ids=["gradient to the image", "broken blocks", "five channels"],
)
def test_other_layers_keep_padded_channels(position, x, w):
    """The gradient to the image has no kernel without padding; rows are whole blocks of four positions."""
    session, _ = step(position, x, w.astype(np.float32))
    assert few(session) == []
    assert {n.engine for n in session.optimized.nodes if "conv" in n.op} == {AICORE}
