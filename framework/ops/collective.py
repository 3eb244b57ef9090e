"""Collectives: what the ranks of a program compute together, each with its own data.

`ranks` says how many take part, all of those that `framework.parallel.together` runs; of one rank a
collective is what it was given. Each rank brings the same shape, and data lie along the first axis. Sums are
made in the order of the ranks, so that all of them get the same bits; half precision is summed in float32
and rounded once.

Gradients are those of the sum of the losses of all ranks, as in training where each has a part of the batch.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError, unknown
from framework.dtypes import accumulator
from framework.ir.builder import Sym
from framework.ir.registry import operator
from framework.ir.types import TensorType
from framework.ops.array import transpose
from framework.ops.batching import all_batched
from framework.ops.batching import together as all_alike
from framework.ops.elementwise import equal
from framework.ops.op import Array, Batch, Call, Op, sample
from framework.ops.shapes import require
from framework.parallel import communicator

REDUCTIONS = {"sum": np.add, "max": np.maximum, "min": np.minimum}


def _check(name: str, x: TensorType, ranks: int, op: str = "sum") -> None:
    """Refuse what is no number of ranks, and no reduction."""
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise DavinciError(
            f"{name}: ranks is {ranks!r}\n  rule: it says how many take part, a whole number, 1 or more"
        )
    if op not in REDUCTIONS:
        raise unknown(f"reduction of {name}", op, REDUCTIONS)
    require(name == "all_reduce" or x.ndim > 0, "{}: {} has no axis to go along", name, x)


def _exchanged(name: str, x: Array, ranks: int, op: str = "") -> tuple[Array, ...]:
    """Return what each rank brings."""
    how = f", op={op}" if op else ""
    return communicator.exchange(f"{name}({TensorType.of(x)}{how})", ranks, x)


def _reduced(arrays: tuple[Array, ...], op: str) -> Array:
    """Return one array for those of all ranks, made in their order."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    wide = accumulator(first.dtype)
    return reduce(REDUCTIONS[op], (each.astype(wide, copy=False) for each in arrays)).astype(first.dtype)


def _all_reduce_infer(x: TensorType, /, ranks: int, op: str = "sum") -> TensorType:
    _check("all_reduce", x, ranks, op)
    return x


def _all_reduce_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    """Return the sum of all cotangents; of extremes, shared equally by the ranks that have them."""
    ranks, op = call.attrs["ranks"], call.attrs["op"]
    if op == "sum":
        return (all_reduce(dy, ranks),)
    (x,), (y,) = call.inputs, call.outputs
    hits = equal(x, y).astype(x.dtype)
    return (hits * all_reduce(dy / all_reduce(hits, ranks), ranks),)


all_reduce: Op = Op(
    "all_reduce",
    "...->...",
    _all_reduce_infer,
    lambda x, ranks, op: _reduced(_exchanged("all_reduce", x, ranks, op), op),
    _all_reduce_vjp,
    samples=(sample((3, 4), ranks=1), sample((2, 3), ranks=1, op="max"), sample((3,), ranks=1, op="min")),
    batch=all_alike("all_reduce"),
    integers=True,
    meets=True,
)
"""y = the sum (or `op`: max, min) of the x of all ranks, the same for each of them."""


def _behind_the_batch(name: str) -> Batch:
    """Return the rule of an operator along the first axis: that of a batch changes places with it."""

    def rule(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
        (x,) = all_batched(inputs, is_batched, size)
        return [_swapped(operator(name)(_swapped(x), **attrs))]

    return rule


def _swapped(x: Sym) -> Sym:
    found: Sym = transpose(x, (1, 0, *range(2, x.ndim)))
    return found


def _all_gather_infer(x: TensorType, /, ranks: int) -> TensorType:
    _check("all_gather", x, ranks)
    return x.with_shape((ranks * x.shape[0], *x.shape[1:]))


all_gather: Op = Op(
    "all_gather",
    "*->*",
    _all_gather_infer,
    lambda x, ranks: np.concatenate(_exchanged("all_gather", x, ranks)),
    lambda call, dy: (reduce_scatter(dy, call.attrs["ranks"]),),
    samples=(sample((3, 4), ranks=1), sample((2,), ranks=1)),
    batch=_behind_the_batch("all_gather"),
    meets=True,
)
"""y[ranks * n, ...] = the x[n, ...] of all ranks, one behind the other."""


def _reduce_scatter_infer(x: TensorType, /, ranks: int, op: str = "sum") -> TensorType:
    _check("reduce_scatter", x, ranks, op)
    rows = x.shape[0]
    require(rows % ranks == 0, "reduce_scatter: {} rows of {} do not go into {} parts", rows, x, ranks)
    return x.with_shape((rows // ranks, *x.shape[1:]))


def _reduce_scatter(x: Array, ranks: int, op: str) -> Array:
    rows = len(x) // ranks
    own = slice(communicator.rank() * rows, (communicator.rank() + 1) * rows) if ranks > 1 else slice(None)
    return _reduced(tuple(each[own] for each in _exchanged("reduce_scatter", x, ranks, op)), op)


def _reduce_scatter_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    """Return the cotangents of all parts; of extremes, shared equally by the ranks that have them."""
    ranks, op = call.attrs["ranks"], call.attrs["op"]
    if op == "sum":
        return (all_gather(dy, ranks),)
    (x,), (y,) = call.inputs, call.outputs
    hits = equal(x, all_gather(y, ranks)).astype(x.dtype)
    return (hits * all_gather(dy / reduce_scatter(hits, ranks), ranks),)


reduce_scatter: Op = Op(
    "reduce_scatter",
    "*->*",
    _reduce_scatter_infer,
    _reduce_scatter,
    _reduce_scatter_vjp,
    samples=(sample((4, 3), ranks=1), sample((4,), ranks=1, op="max")),
    batch=_behind_the_batch("reduce_scatter"),
    integers=True,
    meets=True,
)
"""y[n, ...] = the part of this rank of the sum (or `op`) of the x[ranks * n, ...] of all ranks."""
