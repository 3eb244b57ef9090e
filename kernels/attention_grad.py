"""The gradient of attention, in three launches, tiled over queries and keys and always the same bits.

`attention_grad_prepare` goes over the queries once. `attention_grad_kv` owns keys and goes over the queries,
`attention_grad_q` owns queries and goes over the keys; both recompute the probabilities, so that no partial
result is added up by several cores.

With p = softmax(q k^T / sqrt(d)) and delta = sum over d of do * o:
dv = p^T do, ds = p * (do v^T - delta), dk = ds^T q / sqrt(d), dq = ds k / sqrt(d).

Scores and their gradients are computed transposed, [keys, queries], in fp16. What is subtracted from them,
the logarithm of the sums and delta, are two more rows of q^T and do^T, a rounded number and its rest. They
meet columns of ones beside k and v: the cube subtracts in fp32. The vector unit has seven cycles per 128
scores to do: drain both (2), exponential (4), product (1). The cube has nine for dk and dv at d = 64, and
seven for dq; eight and six of them count.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.attention import ordered_product
from kernels.lang import FP16, Operand, emits, kernel, output
from kernels.pieces.attention import whole
from kernels.pieces.score_gradients import Given, Problem
from kernels.pieces.score_units import differentiate
from kernels.tiling.attention import AttentionShape, KeyTiling, MaskedShape, QueryTiling

Array = npt.NDArray[Any]
PARTS = 2
"""Columns of what is subtracted: a number in fp16, and the rest."""


def _sources(shape: AttentionShape) -> tuple[Operand, ...]:
    batch = (shape.b, shape.heads)
    queries, keys = (*batch, shape.t, shape.d), (*batch, shape.keys, shape.d)
    parts = (*batch, shape.rows, PARTS)
    q, do = Operand("q_scaled", queries, FP16, "NZ", between=(-0.3, 0.3)), Operand("do", queries, FP16, "NZ")
    long = tuple(Operand(name, keys, FP16, "NZ") for name in ("k", "v"))
    shift = Operand("shift", parts, FP16, "NZ", between=(-4, -2))
    return q, *long, do, shift, Operand("delta", parts, FP16, "NZ")


def _key_operands(shape: AttentionShape) -> tuple[Operand, ...]:
    keys = (shape.b, shape.heads, shape.keys, shape.d)
    return *_sources(shape), output("dk", keys, FP16, "NZ"), output("dv", keys, FP16, "NZ")


def _query_operands(shape: AttentionShape) -> tuple[Operand, ...]:
    return *_sources(shape), output("dq", (shape.b, shape.heads, shape.t, shape.d), FP16, "NZ")


def _with_mask(operands: Any) -> Any:
    """Return the operands of a launch with a mask behind those that it reads."""

    def masked(shape: MaskedShape) -> tuple[Operand, ...]:
        every = operands(shape)
        read = tuple(operand for operand in every if not operand.is_output)
        lengths = (shape.t, shape.keys) if shape.mask == 1 else (shape.b, shape.t, shape.keys)
        mask = Operand("mask", lengths, FP16, "NZ", between=(-1, 1))
        return *read, mask, *every[len(read) :]

    return masked


def _slopes(
    shape: AttentionShape, q: Array, k: Array, v: Array, do: Array, shift: Array, delta: Array,
    mask: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the probabilities and the gradients of the scores, [..., t, s], rounded to fp16."""
    lowered, raised = (x[..., : shape.t, :].astype(np.float32) for x in (shift, delta))
    ones = np.ones((*k.shape[:-1], PARTS), np.float16)
    rows = (np.concatenate((x, y), axis=-1) for x, y in ((q, lowered), (do, raised)))
    columns = (np.concatenate((x, ones), axis=-1) for x in (k, v))
    start = 0.0 if mask is None else mask.reshape(-1, 1, shape.t, shape.keys)
    score, slope = (
        ordered_product(a, b, first).astype(np.float16)
        for a, b, first in zip(rows, columns, (start, 0.0), strict=True)
    )
    if shape.causal:
        score = np.where(np.triu(np.ones((shape.t, shape.keys), bool), 1), -np.inf, score)
    p = np.exp(score.astype(np.float64)).astype(np.float16)
    return p, (p.astype(np.float32) * slope.astype(np.float32)).astype(np.float16)


def _key_reference(
    shape: AttentionShape, q: Array, k: Array, v: Array, *others: Array
) -> tuple[Array, Array]:
    p, ds = _slopes(shape, q, k, v, *others)
    pairs = ((ds, q), (p, others[0]))
    dk, dv = (np.swapaxes(a, -1, -2).astype(np.float32) @ b.astype(np.float32) for a, b in pairs)
    return dk.astype(np.float16), dv.astype(np.float16)


def _query_reference(shape: AttentionShape, q: Array, k: Array, v: Array, *others: Array) -> tuple[Array]:
    _, ds = _slopes(shape, q, k, v, *others)
    dq = ds.astype(np.float32) @ k.astype(np.float32) * np.float32(1 / np.sqrt(shape.d))
    return (dq.astype(np.float16),)


def _macs(products: int) -> Any:
    def macs(shape: AttentionShape) -> int:
        pairs = shape.t * (shape.t + 1) // 2 if shape.causal else shape.t * shape.keys
        return products * shape.b * shape.heads * pairs * shape.d

    return macs


@emits
def make_problem(core: Any, shape: Any, tiling: Any, owns: int, mask_heads: int) -> Any:
    """Gather the problem and its cut; `mask_heads` 0 is no mask."""
    s = shape.s if shape.s > 0 else shape.t
    rows, keys, width = whole(core, shape.t), whole(core, s), whole(core, shape.d)
    m, n, piece = whole(core, tiling.m), whole(core, tiling.n), max(32, tiling.piece // 32 * 32)
    exact = (shape.b * shape.heads, shape.t, s, shape.d)
    masks = (1 if mask_heads > 0 else 0, max(1, mask_heads))
    return Problem(*exact, rows, keys, width, shape.causal, m, n, min(piece, m), owns, *masks)


@emits
def heads_of_mask(core: Any, shape: Any) -> int:
    """Return how many heads have the same mask."""
    return int(shape.heads * (shape.b if shape.mask == 1 else 1))


@kernel(AttentionShape, KeyTiling, _key_operands, _key_reference, _macs(4))
def attention_grad_kv(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, q_scaled: int, k: int, v: int, do: int, shift: int, delta: int, dk: int, dv: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """dv[b, heads, s, d] = p^T @ do; dk[b, heads, s, d] = (p * (do v^T + delta))^T @ q_scaled.

    p[t, s] = exp(q_scaled k^T + shift), of which shift and delta[b, heads, t, 2] are a number and its rest.
    """
    g = Given(q_scaled, k, v, do, shift, delta, -1)
    differentiate(core, g, dk, dv, make_problem(core, shape, tiling, 0, 0))


@kernel(AttentionShape, QueryTiling, _query_operands, _query_reference, _macs(3))
def attention_grad_q(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, q_scaled: int, k: int, v: int, do: int, shift: int, delta: int, dq: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """dq[b, heads, t, d] = (p * (do v^T + delta)) @ k / sqrt(d), with p as attention_grad_kv has it."""
    g = Given(q_scaled, k, v, do, shift, delta, -1)
    differentiate(core, g, dq, -1, make_problem(core, shape, tiling, 1, 0))


@kernel(MaskedShape, KeyTiling, _with_mask(_key_operands), _key_reference, _macs(4))
def attention_masked_grad_kv(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, q_scaled: int, k: int, v: int, do: int, shift: int, delta: int, mask: int, dk: int, dv: int,
    shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """As attention_grad_kv, with p = exp(q_scaled k^T + shift + mask) for mask[t, s] or [b, t, s]."""
    g = Given(q_scaled, k, v, do, shift, delta, mask)
    differentiate(core, g, dk, dv, make_problem(core, shape, tiling, 0, heads_of_mask(core, shape)))


@kernel(MaskedShape, QueryTiling, _with_mask(_query_operands), _query_reference, _macs(3))
def attention_masked_grad_q(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, q_scaled: int, k: int, v: int, do: int, shift: int, delta: int, mask: int, dq: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """As attention_grad_q, with p = exp(q_scaled k^T + shift + mask) for mask[t, s] or [b, t, s]."""
    g = Given(q_scaled, k, v, do, shift, delta, mask)
    differentiate(core, g, dq, -1, make_problem(core, shape, tiling, 1, heads_of_mask(core, shape)))
