"""Attention: o = softmax(q k^T / sqrt(d)) v, fused and tiled over the keys.

No score reaches GM. A core takes units of one or two groups of up to 64 queries and goes over all keys for
each: the cube multiplies keys by queries, the vector unit drains the scores from L0C, keeps the largest one
per query, computes exponentials and sends them by way of L1 back to the cube, which multiplies them by the
values and, with rows of ones, adds them up. While the vector unit works on a tile, the cube computes the
products of the tile before and the scores of the next one.

Scores are rounded to fp16 once, as a product with fp16 results does, and so are their exponentials; sums and
what is added up are fp32.

Cost: of 128 scores the cube needs 4 cycles at d = 64 (2 * 64 * 128 / 4096), the vector unit 7: one to drain
them, one for the maximum, one to subtract it, four for the exponential (vexp passes 32 lanes a cycle). No
kernel of this form passes 4 / 7 = 57 % of the cube's peak at d = 64; at d = 128 the cube with its rows of
ones is the limit, 16 / 17. Decision 18 has the rest.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.lang import FP16, FP32, Operand, emits, kernel, output
from kernels.pieces.attention import EDGE, Plan, Sources, whole
from kernels.pieces.attention_units import attend
from kernels.pieces.online_softmax import Results
from kernels.tiling.attention import AttentionShape, AttentionTiling, MaskedShape

Array = npt.NDArray[Any]


def _operands(shape: AttentionShape) -> tuple[Operand, ...]:
    batch = (shape.b, shape.heads)
    queries, keys = (*batch, shape.t, shape.d), (*batch, shape.keys, shape.d)
    q, k, v = (Operand(name, x, FP16, "NZ") for name, x in (("q", queries), ("k", keys), ("v", keys)))
    return q, k, v, output("o", queries, FP16, "NZ"), output("lse", (*batch, shape.rows), FP32)


def _masked_operands(shape: MaskedShape) -> tuple[Operand, ...]:
    q, k, v, o, lse = _operands(shape)
    mask = (shape.t, shape.keys) if shape.mask == 1 else (shape.b, shape.t, shape.keys)
    return q, k, v, Operand("mask", mask, FP16, "NZ"), o, lse


def ordered_product(a: Array, b: Array, start: Array | float = 0.0) -> Array:
    """Return start + a[..., m, k] @ b[..., n, k]^T of fp16 matrices, summed in float32 in the order of k.

    So does the cube; what is rounded to fp16 afterwards depends on the order, by a whole step of fp16.
    """
    left, right = a.astype(np.float32), b.astype(np.float32)
    total = np.zeros((*left.shape[:-1], right.shape[-2]), np.float32) + np.asarray(start, np.float32)
    for step in range(left.shape[-1]):
        total += left[..., :, np.newaxis, step] * right[..., np.newaxis, :, step]
    return total


def _reference(
    shape: AttentionShape, q: Array, k: Array, v: Array, mask: Array | None = None
) -> tuple[Array, Array]:
    scaled = (q.astype(np.float32) * np.float32(1 / np.sqrt(shape.d))).astype(np.float16)
    start = 0.0 if mask is None else mask.reshape(-1, 1, shape.t, shape.keys).astype(np.float32)
    score = ordered_product(scaled, k, start).astype(np.float16).astype(np.float64)
    if shape.causal:
        score = np.where(np.triu(np.ones((shape.t, shape.keys), bool), 1), -np.inf, score)
    largest = score.max(axis=-1, keepdims=True)
    powers = np.exp((score - largest).astype(np.float16).astype(np.float64)).astype(np.float16)
    total = powers.sum(axis=-1, keepdims=True, dtype=np.float64)
    o = powers / total @ v.astype(np.float64)
    lse = np.zeros((shape.b, shape.heads, shape.rows), np.float32)
    lse[..., : shape.t] = (largest + np.log(total))[..., 0]
    return o.astype(np.float16), lse


def macs(shape: AttentionShape) -> int:
    """Count the cube's multiplications, without padding, hidden keys and the sums."""
    pairs = shape.t * (shape.t + 1) // 2 if shape.causal else shape.t * shape.keys
    return 2 * shape.b * shape.heads * pairs * shape.d


@emits
def make_plan(core: Any, shape: Any, tiling: Any, mask_heads: int) -> Any:
    """Gather the problem and its cut; `mask_heads` 0 is no mask."""
    s = shape.s if shape.s > 0 else shape.t
    rows, keys, width = whole(core, shape.t), whole(core, s), whole(core, shape.d)
    tile = whole(core, tiling.tile)
    k_piece = max(2 * EDGE, tiling.k_piece // 32 * 32)  # the next piece begins at whole accumulators
    v_piece = max(EDGE, tiling.v_piece // EDGE * EDGE)
    exact, masked = (shape.b * shape.heads, shape.t, s, shape.d), 1 if mask_heads > 0 else 0
    return Plan(
        *exact, rows, keys, width, shape.causal, tile, tiling.columns, tiling.groups,
        min(k_piece, tile), min(v_piece, tile), masked, max(1, mask_heads),
    )  # fmt: skip


@kernel(AttentionShape, AttentionTiling, _operands, _reference, macs)
def attention(core: Any, q: int, k: int, v: int, o: int, lse: int, shape: Any, tiling: Any) -> None:
    """o[b, heads, t, d] = softmax over s of (q k^T / sqrt(d)) @ v; lse is the logarithm of the sums.

    lse[b, heads, t] = ln(sum over s of exp(q k^T / sqrt(d))), padded with zeros to whole sixteens.
    """
    attend(core, Sources(q, k, v, -1), Results(o, lse), make_plan(core, shape, tiling, 0))


@kernel(MaskedShape, AttentionTiling, _masked_operands, _reference, macs)
def attention_masked(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, q: int, k: int, v: int, mask: int, o: int, lse: int, shape: Any, tiling: Any
) -> None:  # fmt: skip
    """As attention, of scores to which mask[t, s] or [b, t, s] is added; its numbers are finite."""
    heads = shape.heads * (shape.b if shape.mask == 1 else 1)
    attend(core, Sources(q, k, v, mask), Results(o, lse), make_plan(core, shape, tiling, heads))
