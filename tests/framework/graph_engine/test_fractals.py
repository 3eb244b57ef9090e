"""Heads of attention are parted and joined without a way through ND, and keep their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from davinci_sim import Chip
from framework import Tensor, jit, ops
from framework.graph_engine import Options, Session

BATCH, HEADS, LENGTH, DEPTH = 2, 3, 32, 16


def attended(x: Any, wq: Any, wk: Any, wo: Any) -> Any:
    """Return products of heads, joined for one more product."""

    def parted(y: Any) -> Any:
        return ops.transpose(ops.reshape(y, (BATCH, -1, HEADS, DEPTH)), (0, 2, 1, 3))

    q, k = parted(ops.matmul(x, wq)), parted(ops.matmul(x, wk))
    scores = ops.matmul(q, k, False, True)
    made = ops.transpose(ops.matmul(scores, k), (0, 2, 1, 3))
    return ops.matmul(ops.reshape(made, (BATCH * q.shape[2], HEADS * DEPTH)), wo)


def session(length: int, formats: bool = True) -> tuple[Session, list[np.ndarray]]:
    """Return the step on a chip, and its inputs."""
    generator = np.random.default_rng(3)
    wide = HEADS * DEPTH
    shapes = ((BATCH * length, wide), (wide, wide), (wide, wide), (wide, wide))
    arrays = [(generator.standard_normal(shape) / 8).astype(np.float16) for shape in shapes]
    func = jit(attended).compiled(*map(Tensor, arrays)).func
    return Session(func, Chip("ascend910a"), options=Options(formats=formats)), arrays


def test_heads_of_whole_fractals_move_as_fractals():
    """Two are parted, one is joined; conversions are left for the inputs and the output."""
    made, _ = session(LENGTH)
    ops_of = [node.op for node in made.optimized.nodes]
    assert ops_of.count("transpose") == 3
    assert ops_of.count("reshape") == 0
    inputs = set(made.optimized.inputs)
    inside = [
        node
        for node in made.optimized.nodes
        if node.op == "trans_data" and not inputs.intersection(node.inputs)
    ]
    assert [node.attrs["dst_format"] for node in inside] == ["ND"]


def test_heads_of_ragged_rows_go_through_nd():
    made, _ = session(LENGTH + 8)
    assert [node.op for node in made.optimized.nodes].count("reshape") == 3


@pytest.mark.parametrize("length", [LENGTH, LENGTH + 8])
@pytest.mark.parametrize("formats", [True, False])
def test_the_numbers_are_those_of_the_host(length: int, formats: bool):
    made, arrays = session(length, formats)
    feeds = {name: array[None] for name, array in zip(made.loaded.graph.inputs, arrays, strict=True)}
    (found,) = made.run(feeds).outputs.values()
    expected = jit(attended)(*map(Tensor, arrays)).numpy().astype(np.float32)
    assert np.abs(found[0] - expected).max() <= 2.0**-7 * np.abs(expected).max()
