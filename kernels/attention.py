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

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
    data_move,
    emits,
    fill,
    filled,
    free,
    kernel,
    output,
    queue,
    use,
    vmuls,
)
from kernels.pieces.attention import (
    EDGE,
    SUM_ROWS,
    Hands,
    Levels,
    Plan,
    Sources,
    Step,
    load_columns,
    load_tile,
    multiply_keys,
    multiply_values,
    whole,
)
from kernels.pieces.identity import ONE_BYTES, draw_one
from kernels.pieces.online_softmax import (
    Results,
    Room,
    add_last,
    draw_triangle,
    finish_group,
    lower_step,
    soften_first,
    soften_rest,
)
from kernels.pieces.root import inverse_root
from kernels.tiling.attention import AttentionShape, AttentionTiling, MaskedShape

Array = npt.NDArray[Any]
BLOCK = 32


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


class Work(NamedTuple):
    """What all steps need: plan, buffers of the cube's and of the vector unit's part, hand-offs, results."""

    plan: Any
    at: Any
    room: Any
    hands: Any
    to: Any


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


@emits
def make_levels(core: Any, plan: Any) -> Any:
    """Allocate the buffers of the cube's part."""
    queries, sums = plan.columns * EDGE, plan.columns * EDGE * (plan.width + SUM_ROWS) * 4
    tile, q_bytes = plan.tile * plan.width * 2, plan.groups * queries * plan.width * 2
    l0a = max(plan.k_piece * plan.width, plan.v_piece * (plan.width + SUM_ROWS)) * 2
    l0a = max(l0a, plan.masked * plan.k_piece * queries * 2)
    mask = plan.masked * plan.tile * plan.groups * queries * 2
    q, p = queries * plan.width * 2, plan.v_piece * queries * 2
    l1_k, l1_v = alloc(core, L1, 2 * tile, 2), alloc(core, L1, 2 * tile, 2)
    l1_p, l1_q = alloc(core, L1, plan.tile * queries * 2), alloc(core, L1, 2 * q_bytes, 2)
    l0a_at = alloc(core, L0A, 2 * l0a, 2)
    l0b_q, l0b_p = alloc(core, L0B, 2 * q, 2), alloc(core, L0B, 2 * p, 2)
    l0c_s, l0c_o = alloc(core, L0C, plan.tile * queries * 2), alloc(core, L0C, 2 * sums, 2)
    l1_mask, l1_one = alloc(core, L1, 2 * mask, 2), alloc(core, L1, plan.masked * ONE_BYTES)
    one = alloc(core, L0B, plan.masked * ONE_BYTES)
    places = (l1_k, l1_v, l1_p, l1_q, l0a_at, l0b_q, l0b_p, l0c_s, l0c_o, l1_mask, l1_one, one)
    return Levels(*places, tile, q_bytes, l0a, q, p, sums, mask)


@emits
def make_room(core: Any, plan: Any) -> Any:
    """Allocate the buffers of the vector unit's part."""
    queries, sums = plan.columns * EDGE, plan.columns * EDGE * (plan.width + SUM_ROWS) * 4
    x, total = alloc(core, UB, plan.tile * queries * 2), alloc(core, UB, plan.groups * sums, plan.groups)
    part, out = alloc(core, UB, sums), alloc(core, UB, queries * plan.width * 2)
    lse, largest = alloc(core, UB, 256), alloc(core, UB, 2 * plan.groups * 128)
    now, before = alloc(core, UB, 2 * plan.groups * 256), alloc(core, UB, 256)
    kept, delta = alloc(core, UB, 1024), alloc(core, UB, 1024)
    alpha, inverse, triangle = alloc(core, UB, 1024), alloc(core, UB, 1024), alloc(core, UB, 512)
    return Room(x, total, part, out, lse, largest, now, before, kept, delta, alpha, inverse, triangle, sums)


@emits
def open_hands(core: Any) -> Any:
    """Open the hand-offs."""
    k, v = queue(core, MTE2, MTE1, 2), queue(core, MTE2, MTE1, 2)
    q_in, q_room, q = queue(core, MTE2, V, 1), queue(core, MTE2, MTE3, 1), queue(core, MTE3, MTE1, 2)
    p0, p1, p2 = queue(core, V, MTE3, 1), queue(core, V, MTE3, 1), queue(core, V, MTE3, 1)
    p, l0_q, l0 = queue(core, MTE3, MTE1, 1), queue(core, MTE1, M, 2), queue(core, MTE1, M, 2)
    s, o, out = queue(core, M, V, 1), queue(core, M, V, 2), queue(core, V, MTE3, 1)
    return Hands(k, v, q_in, q_room, q, p0, p1, p2, p, l0_q, l0, s, o, out)


@emits
def unit_head(core: Any, plan: Any, unit: int) -> int:
    """Return the head that a unit belongs to; with a mask all heads of the same queries are neighbours.

    So a long mask comes from device memory once, and not once per head.
    """
    rows = plan.columns * plan.groups * EDGE
    if plan.masked != 0:
        return int(unit % plan.heads)
    return int(unit // ((plan.rows + rows - 1) // rows))


@emits
def unit_query(core: Any, plan: Any, unit: int) -> int:
    """Return the first query of a unit; some heads count backwards, so that causal work is even."""
    rows = plan.columns * plan.groups * EDGE
    units = (plan.rows + rows - 1) // rows
    if plan.masked != 0:
        return int(unit // plan.heads * rows)
    place = unit % units
    if unit // units // max(1, block_dim(core) // units) % 2 == 1:  # each core's next round
        place = units - 1 - place
    return int(place * rows)


@emits
def unit_rows(core: Any, plan: Any, unit: int) -> int:
    """Return how many queries a unit has, in whole fractals."""
    return int(min(plan.columns * plan.groups * EDGE, plan.rows - unit_query(core, plan, unit)))


@emits
def fetch_queries(core: Any, hands: Any, plan: Any, ub_q: int, q: int, unit: int) -> None:
    """Bring the queries of a unit to UB, group by group."""
    head, first, rows = unit_head(core, plan, unit), unit_query(core, plan, unit), plan.columns * EDGE
    depth, count = plan.width // EDGE, unit_rows(core, plan, unit)
    fill(core, hands.q_room)
    fill(core, hands.q_in)
    for row in range(0, count, rows):
        place = (head * plan.rows * depth + first + row) * BLOCK
        load_columns(core, ub_q + row * plan.width * 2, q + place, depth, min(rows, count - row), plan.rows)
    filled(core, hands.q_in)
    filled(core, hands.q_room)


@emits
def scale_queries(core: Any, at: Any, hands: Any, plan: Any, ub_q: int, unit: int) -> None:
    """Divide the queries of a unit by the root of d, and bring them to L1."""
    count = unit_rows(core, plan, unit) * plan.width
    use(core, hands.q_in)
    fill(core, hands.out)
    for done in range(0, count, 255 * 128):
        part = ub_q + done * 2
        vmuls(core, part, part, min(255, (count - done) // 128), inverse_root(core, plan.d), FP16)
    free(core, hands.q_in)
    filled(core, hands.out)
    use(core, hands.out)
    use(core, hands.q_room)
    data_move(core, at.l1_q + fill(core, hands.q) * at.q_bytes, ub_q, 1, count // EDGE)
    free(core, hands.q_room)
    free(core, hands.out)
    filled(core, hands.q)


@emits
def last_key(core: Any, plan: Any, query: int, rows: int) -> int:
    """Return behind the last key that `rows` queries from `query` on see."""
    return int(plan.s if plan.causal == 0 else min(plan.s, query + rows))


@emits
def nothing(core: Any) -> Any:
    """Return the step before the first one."""
    return Step(-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@emits
def step_of(core: Any, plan: Any, unit: int, turn: int, group: int, key: int, tile: int, number: int) -> Any:
    """Return the step of a group against a tile: the core's unit `turn`, tile `tile` and step `number`.

    Its n is 0 where the group sees nothing of the tile.
    """
    rows, first = plan.columns * EDGE, unit_query(core, plan, unit)
    query = first + group * rows
    count = min(rows, plan.rows - query)
    if count <= 0:
        return nothing(core)
    end, groups = last_key(core, plan, query, count), min(plan.groups, (plan.rows - first + rows - 1) // rows)
    n, pitch = max(0, min(plan.tile, end - key)), min(plan.tile, plan.keys - key)
    opens = 1 if group == 0 or last_key(core, plan, query - rows, rows) <= key else 0
    return Step(
        number, unit_head(core, plan, unit), group, group + turn % 2 * plan.groups, query, count // EDGE, key,
        n, tile % 2, pitch, 1 if key == 0 else 0, 1 if key + n >= end else 0, opens,
        1 if group == groups - 1 else 0,
    )  # fmt: skip


@emits
def begin_step(core: Any, w: Any, step: Any, before: Any, ended: Any) -> None:
    """Begin with the scores of a step, and multiply the values of the one before."""
    lower_step(core, w.room, w.hands, w.at, w.plan, step, ended, w.to)
    if before.n > 0:
        multiply_values(core, w.at, w.hands, w.plan, before, 0)
    soften_first(core, w.room, w.hands, w.at, w.plan, step)
    if before.n > 0:
        multiply_values(core, w.at, w.hands, w.plan, before, 1)


@emits
def end_all(core: Any, w: Any, step: Any, before: Any, ended: Any) -> None:
    """Work on the last step, after which no scores are computed."""
    begin_step(core, w, step, before, ended)
    soften_rest(core, w.room, w.hands, w.at, w.plan, step, before)
    for phase in range(4):
        finish_group(core, w.room, w.hands, w.plan, before, phase, w.to)
    for part in range(2):
        multiply_values(core, w.at, w.hands, w.plan, step, part)
    add_last(core, w.room, w.hands, w.at, w.plan, step)
    for phase in range(4):
        finish_group(core, w.room, w.hands, w.plan, step, phase, w.to)


@emits
def attend(core: Any, g: Any, to: Any, plan: Any) -> None:
    """Compute attention for this core's units."""
    at, room, hands = make_levels(core, plan), make_room(core, plan), open_hands(core)
    ub_q = alloc(core, UB, plan.groups * plan.columns * EDGE * plan.width * 2)
    rows = plan.columns * plan.groups * EDGE
    units, cores = plan.heads * ((plan.rows + rows - 1) // rows), block_dim(core)
    w = Work(plan, at, room, hands, to)
    if plan.causal != 0:
        draw_triangle(core, room.triangle)
    if plan.masked != 0:
        draw_one(core, hands.out, hands.q, at.l1_one, at.l0b_one)
    fetch_queries(core, hands, plan, ub_q, g.q, block_idx(core))
    scale_queries(core, at, hands, plan, ub_q, block_idx(core))
    ended = before = step = nothing(core)
    tile, turn = 0, 0
    for unit in range(block_idx(core), units, cores):
        first, head = unit_query(core, plan, unit), unit_head(core, plan, unit)
        queries = at.l1_q + use(core, hands.q) * at.q_bytes
        for key in range(0, last_key(core, plan, first, rows), plan.tile):
            if key == 0 and unit + cores < units:
                fetch_queries(core, hands, plan, ub_q, g.q, unit + cores)
            load_tile(core, at, hands, plan, g, head, first, key)
            use(core, hands.k)
            for group in range(plan.groups):
                coming = step_of(core, plan, unit, turn, group, key, tile, step.number + 1)
                if coming.n == 0:
                    continue
                if step.n > 0:
                    begin_step(core, w, step, before, ended)
                multiply_keys(core, at, hands, plan, coming, queries + group * at.q_bytes // plan.groups)
                if step.n > 0:
                    soften_rest(core, room, hands, at, plan, step, before)
                ended = before
                before = step
                step = coming
            free(core, hands.k)
            tile += 1
            if key == 0 and unit + cores < units:
                scale_queries(core, at, hands, plan, ub_q, unit + cores)
        free(core, hands.q)
        turn += 1
    end_all(core, w, step, before, ended)
    for number in range(hands.out, hands.k - 1, -1):
        close(core, number)


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
