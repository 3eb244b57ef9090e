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

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.attention import ordered_product
from kernels.lang import (
    FP16,
    FP32,
    L0A,
    L0B,
    L0C,
    L1,
    MTE1,
    MTE2,
    MTE3,
    UB,
    M,
    Operand,
    V,
    alloc,
    block_dim,
    block_idx,
    close,
    emits,
    fill,
    filled,
    flat_convert,
    flat_dup,
    flat_scale,
    free,
    kernel,
    l0c_to_ub,
    output,
    queue,
    set_2d,
    use,
)
from kernels.pieces.attention import BLOCK, EDGE, FRACTAL, store_columns, whole
from kernels.pieces.identity import ONE_BYTES, draw_one
from kernels.pieces.online_softmax import draw_triangle
from kernels.pieces.root import inverse_root
from kernels.pieces.score_gradients import (
    INNER,
    Buffers,
    Given,
    Pair,
    Problem,
    Ways,
    drain_pair,
    load_keys,
    load_mask,
    load_queries,
    multiply_pair,
    power_pair,
    score_pair,
    slope_pair,
)
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
def make_buffers(core: Any, x: Any) -> Any:
    """Allocate what lies in L1, L0, L0C and UB."""
    q, k, p = 2 * x.m * (x.width + EDGE) * 2, 2 * x.n * x.width * 2, 2 * x.m * x.n * 2
    mask = x.masked * x.m * x.n * 2
    l0b = 2 * max((x.width + EDGE) * x.piece, x.width * x.n)
    l0a = 2 * max((x.width + EDGE) * x.n, x.n * x.piece)
    acc = 2 * x.n * x.width * 4 if x.owns == 0 else x.m * x.width * 4
    out = 2 * x.n * x.width * 2 if x.owns == 0 else x.piece * x.width * 6
    q_slots, k_slots = INNER if x.owns == 0 else 1, 1 if x.owns == 0 else INNER
    l1_q, l1_k = alloc(core, L1, q_slots * q, q_slots), alloc(core, L1, k_slots * k, k_slots)
    l1_p, ones = alloc(core, L1, 2 * p, 2), alloc(core, L1, FRACTAL)
    l1_mask, one = alloc(core, L1, INNER * mask, INNER), x.masked * ONE_BYTES
    l1_one, l0b_one = alloc(core, L1, one), alloc(core, L0B, one)
    l0a_at, l0b_at = alloc(core, L0A, 2 * l0a, 2), alloc(core, L0B, 2 * l0b, 2)
    l0c, acc_at = alloc(core, L0C, p + 1024), alloc(core, L0C, acc)
    ub_p, ub_ds, out_at = alloc(core, UB, p // 2), alloc(core, UB, p // 2), alloc(core, UB, out)
    places = (l1_q, l1_k, l1_p, ones, l1_mask, l1_one, l0a_at, l0b_at, l0b_one, l0c, acc_at)
    return Buffers(*places, ub_p, ub_ds, out_at, q, k, p, mask, l0a, l0b)


@emits
def open_ways(core: Any) -> Any:
    """Open the hand-offs."""
    owned, inner, l0 = queue(core, MTE2, MTE1, 1), queue(core, MTE2, MTE1, INNER), queue(core, MTE1, M, 2)
    s, p, ds = queue(core, M, V, 1), queue(core, V, MTE3, 1), queue(core, V, MTE3, 1)
    up, acc, out = queue(core, MTE3, MTE1, 2), queue(core, M, V, 1), queue(core, V, MTE3, 1)
    return Ways(owned, inner, l0, s, p, ds, up, acc, out)


@emits
def store_keys(core: Any, b: Any, w: Any, x: Any, pair: Any, dk: int, dv: int) -> None:
    """Write what a block of keys gets; keys beyond s get nothing."""
    columns, size = x.width // EDGE, pair.n * x.width * 2
    use(core, w.acc)
    fill(core, w.out)
    for which in range(2):
        to, acc = b.out + which * size, b.acc + which * x.n * x.width * 4
        l0c_to_ub(core, to, acc, 1, columns * pair.n // EDGE, to_fp16=1)
        for column in range(columns if pair.exact < pair.n else 0):
            row = to + (column * pair.n + pair.exact) * BLOCK
            flat_dup(core, row, 0.0, (pair.n - pair.exact) * EDGE, FP16)
    free(core, w.acc)
    filled(core, w.out)
    use(core, w.out)
    place = (pair.head * x.keys * columns + pair.key) * BLOCK
    store_columns(core, dv + place, b.out, columns, pair.n, x.keys)
    store_columns(core, dk + place, b.out + size, columns, pair.n, x.keys)
    free(core, w.out)


@emits
def store_queries(core: Any, b: Any, w: Any, x: Any, pair: Any, dq: int) -> None:
    """Write what a block of queries gets, divided by the root of d, piece by piece."""
    columns, raw = x.width // EDGE, b.out + x.piece * x.width * 2
    use(core, w.acc)
    for row in range(0, pair.m, x.piece):
        count = min(x.piece, pair.m - row)
        l0c_to_ub(core, raw, b.acc + row * x.width * 4, 1, columns * count // EDGE)
        flat_scale(core, raw, raw, count * x.width, inverse_root(core, x.d), 0.0, FP32)
        fill(core, w.out)
        flat_convert(core, b.out, FP16, raw, FP32, count * x.width)
        blank_queries(core, b.out, columns, count, x.t - pair.query - row)
        filled(core, w.out)
        use(core, w.out)
        place = (pair.head * x.rows * columns + pair.query + row) * BLOCK
        store_columns(core, dq + place, b.out, columns, count, x.rows)
        free(core, w.out)
    free(core, w.acc)


@emits
def blank_queries(core: Any, x: int, columns: int, rows: int, valid: int) -> None:
    """Make rows from `valid` on zero in columns of sixteen numbers."""
    for column in range(columns if valid < rows else 0):
        flat_dup(core, x + (column * rows + valid) * BLOCK, 0.0, (rows - valid) * EDGE, FP16)


class Job(NamedTuple):
    """What all steps need: problem, operands, buffers, hand-offs, results and the triangle of hidden keys."""

    x: Any
    g: Any
    b: Any
    w: Any
    first: int
    second: int
    triangle: int


@emits
def store_owned(core: Any, j: Any, pair: Any) -> None:
    """Write what the owned block gets, after its last pair."""
    if pair.is_last == 0:
        return
    if j.x.owns == 0:
        store_keys(core, j.b, j.w, j.x, pair, j.first, j.second)
    else:
        store_queries(core, j.b, j.w, j.x, pair, j.first)


@emits
def pair_of(core: Any, x: Any, unit: int, inner: int, number: int) -> Any:
    """Return the pair of an owned block and an inner one; its n is 0 if no query sees a key."""
    blocks = (x.keys + x.n - 1) // x.n if x.owns == 0 else (x.rows + x.m - 1) // x.m
    head, place = unit // blocks, unit % blocks
    if head // max(1, block_dim(core) // blocks) % 2 == 1:  # each core's next round: causal work is even
        place = blocks - 1 - place
    key, query = (place if x.owns == 0 else inner) * x.n, (inner if x.owns == 0 else place) * x.m
    m, n = min(x.m, x.rows - query), min(x.n, x.keys - key)
    first, last = 0, (x.rows - 1) // x.m if x.owns == 0 else (x.keys - 1) // x.n
    if x.causal != 0 and x.owns == 0:
        first = key // x.m
    if x.causal != 0 and x.owns != 0:
        last = min(last, (query + m - 1) // x.n)
    if inner < first or inner > last:
        n = 0
    exact, ends = min(n, x.s - key), 1 if inner == last else 0
    return Pair(head, query, m, key, n, exact, number, 1 if inner == first else 0, ends)


@emits
def load_inner(core: Any, j: Any, pair: Any) -> None:
    """Bring the inner block of a pair to L1."""
    slot = fill(core, j.w.inner)
    if j.x.owns == 0:
        load_queries(core, j.b, j.x, j.g, slot, pair.head, pair.query)
    else:
        load_keys(core, j.b, j.x, j.g, slot, pair.head, pair.key)
    if j.x.masked != 0:
        load_mask(core, j.b, j.x, j.g, pair, slot)
    filled(core, j.w.inner)


@emits
def load_owned(core: Any, j: Any, pair: Any) -> None:
    """Bring the owned block of a pair to L1."""
    slot = fill(core, j.w.owned)
    if j.x.owns == 0:
        load_keys(core, j.b, j.x, j.g, slot, pair.head, pair.key)
    else:
        load_queries(core, j.b, j.x, j.g, slot, pair.head, pair.query)
    filled(core, j.w.owned)
    use(core, j.w.owned)


@emits
def begin_pair(core: Any, j: Any, pair: Any, before: Any) -> None:
    """Drain a pair and begin with its probabilities, while the cube multiplies those of the one before."""
    if pair.n == 0:
        return
    drain_pair(core, j.b, j.w, j.x, pair, j.triangle)
    if before.n > 0:
        multiply_pair(core, j.b, j.w, j.x, before)
    power_pair(core, j.b, j.w, j.x, pair)


@emits
def end_pair(core: Any, j: Any, pair: Any, before: Any) -> None:
    """End the vector unit's part of a pair, and that of an owned block that ended with the one before."""
    if pair.n == 0:
        return
    slope_pair(core, j.b, j.w, pair)
    store_owned(core, j, before)


@emits
def go_over(core: Any, j: Any) -> None:
    """Go over this core's owned blocks, and for each over all inner ones."""
    x = j.x
    keys, queries = (x.keys + x.n - 1) // x.n, (x.rows + x.m - 1) // x.m
    units, inners = x.heads * (keys if x.owns == 0 else queries), queries if x.owns == 0 else keys
    before = pair = Pair(0, 0, 0, 0, 0, 0, -1, 0, 0)
    for unit in range(block_idx(core), units, block_dim(core)):
        for inner in range(inners):
            coming = pair_of(core, x, unit, inner, pair.number + 1)
            if coming.n == 0:
                continue
            if coming.is_first != 0:
                load_owned(core, j, coming)
            load_inner(core, j, coming)
            begin_pair(core, j, pair, before)
            use(core, j.w.inner, 1 if pair.n > 0 else 0)
            score_pair(core, j.b, j.w, x, coming)
            if coming.is_last != 0:
                free(core, j.w.owned)
            end_pair(core, j, pair, before)
            before = pair
            pair = coming
    begin_pair(core, j, pair, before)
    end_pair(core, j, pair, before)
    multiply_pair(core, j.b, j.w, x, pair)
    store_owned(core, j, pair)
    for number in range(j.w.out, j.w.owned - 1, -1):
        close(core, number)


@emits
def differentiate(core: Any, g: Any, first: int, second: int, x: Any) -> None:
    """Compute what the owned blocks of this core get."""
    b, w, triangle = make_buffers(core, x), open_ways(core), alloc(core, UB, FRACTAL)
    if x.causal != 0:
        draw_triangle(core, triangle)
    if x.masked != 0:
        draw_one(core, w.out, w.up, b.l1_one, b.l0b_one)
    set_2d(core, b.ones, 1, 1.0)
    go_over(core, Job(x, g, b, w, first, second, triangle))


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
