"""Attention as one operator: no score is kept, and the way back computes them again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from framework.dtypes import accumulator, dtype
from framework.ir.builder import Sym
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.array import broadcast_to, reshape
from framework.ops.batching import all_batched, folded, unfolded
from framework.ops.elementwise import exp
from framework.ops.matmul import matmul
from framework.ops.op import Arg, Array, Call, Op, Sample, sample
from framework.ops.reduction import reduce_sum
from framework.ops.shapes import require, sum_to

AXES = 4  # b heads t d
Tensors = Sequence[TensorType]


def _check(name: str, q: TensorType, k: TensorType, v: TensorType, mask: Tensors) -> None:
    """Refuse tensors that are not q[b, heads, t, d], k and v[b, heads, s, d] and mask[b, 1, t, s]."""
    is_one_type = q.ndim == AXES and q.dtype.is_float and k == v and q.dtype == k.dtype
    require(
        is_one_type and k.ndim == AXES and (*k.shape[:2], k.shape[3]) == (*q.shape[:2], q.shape[3]),
        "{}: q {}, k {} and v {} must be [b, heads, t, d] and [b, heads, s, d], of one float dtype",
        name, q, k, v,
    )  # fmt: skip
    require(len(mask) <= 1, "{}: there is one mask at most, found {}", name, len(mask))
    for each in mask:
        (b, _, t, _), s = q.shape, k.shape[2]
        is_mask = each.ndim == AXES and each.shape[0] in {1, b} and each.shape[1:] == (1, t, s)
        message = "{}: mask {} must be {}, or one for all"
        require(is_mask and each.dtype == q.dtype, message, name, each, q.with_shape((b, 1, t, s)))


def _infer(
    q: TensorType, k: TensorType, v: TensorType, /, *mask: TensorType
) -> tuple[TensorType, TensorType]:
    _check("attention", q, k, v, mask)
    return q, TensorType(q.shape[:3], dtype(accumulator(q.dtype)))


def _turned(x: Array) -> Array:
    return x.swapaxes(-1, -2)


def _wide(*arrays: Array) -> tuple[Array, ...]:
    return tuple(each.astype(accumulator(each.dtype), copy=False) for each in arrays)


def _evaluate(q: Array, k: Array, v: Array, *mask: Array) -> tuple[Array, Array]:
    wide_q, wide_k, wide_v, *added = _wide(q, k, v, *mask)
    scores = wide_q @ _turned(wide_k) * wide_q.dtype.type(_scale(q)) + sum(added)
    largest = scores.max(axis=-1, keepdims=True)
    powers = np.exp(scores - largest)
    total = powers.sum(axis=-1, keepdims=True)
    return (powers / total @ wide_v).astype(q.dtype), (largest + np.log(total))[..., 0]


def _scale(q: Any) -> float:
    """Return what scores are multiplied by."""
    return 1 / math.sqrt(q.shape[-1])


def _column(rows: Any) -> Any:
    return reshape(rows, (*rows.shape, 1))


def _shares(q: Any, k: Any, lse: Any, mask: Sequence[Any]) -> Any:
    """Return what share each query has in each key, p[b, heads, t, s], with operators."""
    scores = matmul(q * _scale(q), k, False, True)
    return exp(sum(mask, scores) - _column(lse))


def _times(p: Any, x: Any) -> Any:
    return matmul(p.astype(x.dtype), x)


def _turned_times(p: Any, x: Any) -> Any:
    return matmul(p.astype(x.dtype), x, True, False)


def _vjp(call: Call, do: Any, dlse: Any) -> tuple[Any, ...]:
    """Return what attention_grad gives, and what comes by way of lse and to the mask where it is wanted."""
    q, k, v, *mask = call.inputs
    o, lse = call.outputs
    do = do.astype(q.dtype)
    dq, dk, dv = attention_grad(do, q, k, v, o, lse, *mask)
    p = _shares(q, k, lse, mask)
    moved = p * _column(dlse)
    by_scores = p * (matmul(do, v, False, True) - _column(reduce_sum(o * do, -1))) + moved
    dmask = (sum_to(by_scores, each.shape) for each in mask)
    scale = _scale(q)
    return dq + _times(moved, k) * scale, dk + _turned_times(moved, q) * scale, dv, *dmask


def _all_masks(inputs: list[Sym], first: int) -> list[Sym]:
    """Return inputs in batches, with a mask for each item of the axis behind the batch."""
    masks = [broadcast_to(each, (*inputs[0].shape[:2], *each.shape[2:])) for each in inputs[first:]]
    return [*inputs[:first], *masks]


def _together(op: Any, first: int) -> Any:
    """Return the rule that makes of a batch and the first axis one; masks begin at a position."""

    def rule(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
        given = _all_masks(all_batched(inputs, is_batched, size), first)
        return [unfolded(y, size) for y in op()(*map(folded, given))]

    return rule


_Q, _K = (2, 2, 3, 4), (2, 2, 5, 4)


def _samples(*args: Arg | tuple[int, ...]) -> tuple[Sample, ...]:
    """Return samples without a mask, with one for each item, and with one for all."""
    return tuple(sample(*args, *mask) for mask in ((), ((2, 1, 3, 5),), ((1, 1, 3, 5),)))


attention: Op = Op(
    "attention",
    "bhtd,bhsd,bhsd,*->bhtd,bht",
    _infer,
    _evaluate,
    _vjp,
    lowering=lowering.attention,
    samples=_samples(_Q, _K, _K),
    batch=_together(lambda: attention, 3),
)


def _grad_infer(
    do: TensorType, q: TensorType, k: TensorType, v: TensorType, o: TensorType, lse: TensorType, /,
    *mask: TensorType,
) -> tuple[TensorType, TensorType, TensorType]:  # fmt: skip
    _check("attention_grad", q, k, v, mask)
    is_result = do == o == q and lse.shape == q.shape[:3]
    require(is_result, "attention_grad: do {}, o {} and lse {} do not belong to q {}", do, o, lse, q)
    return q, k, v


def _grad_evaluate(
    do: Array, q: Array, k: Array, v: Array, o: Array, lse: Array, *mask: Array
) -> tuple[Array, Array, Array]:  # fmt: skip
    wide_do, wide_q, wide_k, wide_v, wide_o, lse, *added = _wide(do, q, k, v, o, lse, *mask)
    scale = wide_q.dtype.type(_scale(q))
    p = np.exp(wide_q @ _turned(wide_k) * scale + sum(added) - lse[..., np.newaxis])
    delta = (wide_o * wide_do).sum(axis=-1, keepdims=True)
    ds = p * (wide_do @ _turned(wide_v) - delta) * scale
    made = ds @ wide_k, _turned(ds) @ wide_q, _turned(p) @ wide_do
    dq, dk, dv = (each.astype(q.dtype, copy=False) for each in made)
    return dq, dk, dv


class _Slopes(NamedTuple):
    """What cotangents of the gradients are to the shares p, to ds and to the scores; all [b, heads, t, s]."""

    p: Any
    ds: Any
    to_ds: Any
    to_scores: Any


def _slopes(call: Call, a: Any, b: Any, c: Any) -> _Slopes:
    """Differentiate <a, dq> + <b, dk> + <c, dv>, where dq = ds k, dk = ds^T q and dv = p^T do.

    There ds = p * (do v^T - delta) / sqrt(d), and delta is the sum of o * do over d.
    """
    do, q, k, v, o, lse, *mask = call.inputs
    p, scale = _shares(q, k, lse, mask), _scale(q)
    rest = (matmul(do, v, False, True) - _column(reduce_sum(o * do, -1))) * scale
    to_ds = matmul(a, k, False, True) + matmul(q, b, False, True)
    return _Slopes(p, p * rest, to_ds, p * (to_ds * rest + matmul(do, c, False, True)))


def _grad_vjp(call: Call, a: Any, b: Any, c: Any) -> tuple[Any, ...]:
    do, q, k, v, o, _, *mask = call.inputs
    a, b, c, scale = a.astype(q.dtype), b.astype(q.dtype), c.astype(q.dtype), _scale(q)
    p, ds, to_ds, to_scores = _slopes(call, a, b, c)
    through = p * to_ds * scale
    delta = _column(reduce_sum(through, -1))
    return (
        _times(p, c) + _times(through, v) - o * delta,
        _times(ds, b) + _times(to_scores, k) * scale,
        _turned_times(ds, a) + _turned_times(to_scores, q) * scale,
        _turned_times(through, do),
        -(do * delta),
        -reduce_sum(to_scores, -1),
        *(sum_to(to_scores, each.shape) for each in mask),
    )


attention_grad: Op = Op(
    "attention_grad",
    "bhtd,bhtd,bhsd,bhsd,bhtd,bht,*->bhtd,bhsd,bhsd",
    _grad_infer,
    _grad_evaluate,
    _grad_vjp,
    lowering=lowering.attention_grad,
    samples=_samples(_Q, _Q, _K, _K, _Q, Arg((2, 2, 3), low=1.0, high=2.0)),
    batch=_together(lambda: attention_grad, 6),
)
