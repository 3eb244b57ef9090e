"""Gradients of attention, block by block: which blocks follow each other, and what works side by side.

A core owns blocks of keys, or of queries, and goes over all blocks of the others for each of them.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, l0c_to_ub, set_2d
from kernels.lang.buffers import L0A, L0B, L0C, L1, UB, alloc, block_dim, block_idx
from kernels.lang.emits import emits
from kernels.lang.flat import flat_convert, flat_dup, flat_scale
from kernels.lang.queues import MTE1, MTE2, MTE3, M, V, close, fill, filled, free, queue, use
from kernels.pieces.attention import BLOCK, EDGE, FRACTAL
from kernels.pieces.columns import store_columns
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


@emits
def make_buffers(core: Any, x: Problem) -> Any:
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
def store_keys(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair, dk: int, dv: int) -> None:
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
def store_queries(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair, dq: int) -> None:
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

    x: Problem
    g: Given
    b: Buffers
    w: Ways
    first: int
    second: int
    triangle: int


@emits
def store_owned(core: Any, j: Job, pair: Pair) -> None:
    """Write what the owned block gets, after its last pair."""
    if pair.is_last == 0:
        return
    if j.x.owns == 0:
        store_keys(core, j.b, j.w, j.x, pair, j.first, j.second)
    else:
        store_queries(core, j.b, j.w, j.x, pair, j.first)


@emits
def pair_of(core: Any, x: Problem, unit: int, inner: int, number: int) -> Any:
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
def load_inner(core: Any, j: Job, pair: Pair) -> None:
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
def load_owned(core: Any, j: Job, pair: Pair) -> None:
    """Bring the owned block of a pair to L1."""
    slot = fill(core, j.w.owned)
    if j.x.owns == 0:
        load_keys(core, j.b, j.x, j.g, slot, pair.head, pair.key)
    else:
        load_queries(core, j.b, j.x, j.g, slot, pair.head, pair.query)
    filled(core, j.w.owned)
    use(core, j.w.owned)


@emits
def begin_pair(core: Any, j: Job, pair: Pair, before: Pair) -> None:
    """Drain a pair and begin with its probabilities, while the cube multiplies those of the one before."""
    if pair.n == 0:
        return
    drain_pair(core, j.b, j.w, j.x, pair, j.triangle)
    if before.n > 0:
        multiply_pair(core, j.b, j.w, j.x, before)
    power_pair(core, j.b, j.w, j.x, pair)


@emits
def end_pair(core: Any, j: Job, pair: Pair, before: Pair) -> None:
    """End the vector unit's part of a pair, and that of an owned block that ended with the one before."""
    if pair.n == 0:
        return
    slope_pair(core, j.b, j.w, pair)
    store_owned(core, j, before)


@emits
def go_over(core: Any, j: Job) -> None:
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
def differentiate(core: Any, g: Given, first: int, second: int, x: Problem) -> None:
    """Compute what the owned blocks of this core get."""
    b, w, triangle = make_buffers(core, x), open_ways(core), alloc(core, UB, FRACTAL)
    if x.causal != 0:
        draw_triangle(core, triangle)
    if x.masked != 0:
        draw_one(core, w.out, w.up, b.l1_one, b.l0b_one)
    set_2d(core, b.ones, 1, 1.0)
    go_over(core, Job(x, g, b, w, first, second, triangle))
