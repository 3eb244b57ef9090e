"""Rows of a table by number, and the way back: rows added to those of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.dtypes import accumulator, dtype
from framework.ir.builder import Sym
from framework.ir.registry import operator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.array import reshape
from framework.ops.batching import all_batched, batched, folded
from framework.ops.elementwise import maximum, minimum
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.shapes import require

TABLE = 2  # axes


def _check(name: str, index: TensorType) -> None:
    is_whole = not index.dtype.is_float and index.dtype.name != "bool"
    require(is_whole, "{}: index {} must be integers", name, index)


def _infer(table: TensorType, index: TensorType, /) -> TensorType:
    _check("gather", index)
    require(table.ndim == TABLE and table.shape[0] > 0, "gather: table {} must be rows [v, d]", table)
    return table.with_shape((*index.shape, table.shape[1]))


def _evaluate(table: Array, index: Array) -> Array:
    return np.asarray(table[np.clip(index, 0, len(table) - 1)])


def _vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    """Add dy to the rows that it came from; the rows that stand in for numbers outside get nothing."""
    table, index = call.inputs
    return scatter_add(dy, index, table.shape[0]), None


def _batch(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
    """Look all numbers up at once; tables of their own are put under each other."""
    table, index = inputs
    if not is_batched[0]:
        return [gather(table, index)]
    rows = table.shape[1]
    index = batched(index, is_batched[1], size)
    starts = index.builder.constant((np.arange(size) * rows).astype(index.dtype.numpy))
    starts = reshape(starts, (size, *(1,) * (index.ndim - 1)))
    return [gather(folded(table), minimum(maximum(index, 0), rows - 1) + starts)]


gather: Op = Op(
    "gather",
    "vd,*->*d",
    _infer,
    _evaluate,
    _vjp,
    lowering=lowering.gather,
    samples=(
        sample((4, 3), Arg((5,), "int32", high=4)),
        sample((3, 2), Arg((2, 3), "int32", high=3)),
        sample((3, 2), Arg((), "int32", high=3)),
    ),
    batch=_batch,
)


def _scatter_infer(dy: TensorType, index: TensorType, /, rows: int) -> TensorType:
    _check("scatter_add", index)
    require(
        dy.ndim == index.ndim + 1 and dy.shape[:-1] == index.shape,
        "scatter_add: {} must be one row per number of {}",
        dy,
        index,
    )
    return TensorType((rows, dy.shape[-1]), dtype(accumulator(dy.dtype)))


def _scatter_evaluate(dy: Array, index: Array, rows: int) -> Array:
    table = np.zeros((rows, dy.shape[-1]), accumulator(dy.dtype))
    is_inside = (index >= 0) & (index < rows)
    np.add.at(table, index[is_inside], dy[is_inside].astype(table.dtype, copy=False))
    return table


def _scatter_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    """Return the rows of d by number, and zeros for numbers outside."""
    dy, index = call.inputs
    rows = call.attrs["rows"]
    with_zeros = operator("pad")(d.astype(dy.dtype), ((1, 1), (0, 0)))
    return gather(with_zeros, minimum(maximum(index, -1), rows) + 1), None


def _scatter_batch(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
    """Add into all tables at once, each with a row before and behind for what is outside of it."""
    dy, index = all_batched(inputs, is_batched, size)
    rows = attrs["rows"] + 2
    starts = index.builder.constant((np.arange(size) * rows + 1).astype(index.dtype.numpy))
    starts = reshape(starts, (size, *(1,) * (index.ndim - 1)))
    found = scatter_add(dy, minimum(maximum(index, -1), rows - 2) + starts, size * rows)
    tables = reshape(found, (size, rows, found.shape[-1]))
    return [tables[:, 1:-1]]


scatter_add: Op = Op(
    "scatter_add",
    "*d,*->vd",
    _scatter_infer,
    _scatter_evaluate,
    _scatter_vjp,
    lowering=lowering.scatter_add,
    samples=(
        sample((5, 3), Arg((5,), "int32", high=6), rows=4),
        sample((2, 3, 2), Arg((2, 3), "int32", high=3), rows=3),
    ),
    batch=_scatter_batch,
)
