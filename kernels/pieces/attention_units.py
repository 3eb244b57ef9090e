"""Fused attention, unit by unit: which queries and keys follow each other, and what works side by side.

A unit is one or two groups of queries of a head. The steps of its groups against the tiles of keys form one
row over all units of a core, so that the pipes never run dry between two of them.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, data_move, vmuls
from kernels.lang.buffers import L0A, L0B, L0C, L1, UB, alloc, block_dim, block_idx
from kernels.lang.emits import emits
from kernels.lang.queues import MTE1, MTE2, MTE3, M, V, close, fill, filled, free, queue, use
from kernels.pieces.attention import (
    BLOCK,
    EDGE,
    SUM_ROWS,
    Hands,
    Levels,
    Plan,
    Sources,
    Step,
    load_tile,
    multiply_keys,
    multiply_values,
)
from kernels.pieces.columns import load_columns
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


class Work(NamedTuple):
    """What all steps need: plan, buffers of the cube's and of the vector unit's part, hand-offs, results."""

    plan: Plan
    at: Levels
    room: Room
    hands: Hands
    to: Results


@emits
def make_levels(core: Any, plan: Plan) -> Any:
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
def make_room(core: Any, plan: Plan) -> Any:
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
def unit_head(core: Any, plan: Plan, unit: int) -> int:
    """Return the head that a unit belongs to; with a mask all heads of the same queries are neighbours.

    So a long mask comes from device memory once, and not once per head.
    """
    rows = plan.columns * plan.groups * EDGE
    if plan.masked != 0:
        return int(unit % plan.heads)
    return int(unit // ((plan.rows + rows - 1) // rows))


@emits
def unit_query(core: Any, plan: Plan, unit: int) -> int:
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
def unit_rows(core: Any, plan: Plan, unit: int) -> int:
    """Return how many queries a unit has, in whole fractals."""
    return int(min(plan.columns * plan.groups * EDGE, plan.rows - unit_query(core, plan, unit)))


@emits
def fetch_queries(core: Any, hands: Hands, plan: Plan, ub_q: int, q: int, unit: int) -> None:
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
def scale_queries(core: Any, at: Levels, hands: Hands, plan: Plan, ub_q: int, unit: int) -> None:
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
def last_key(core: Any, plan: Plan, query: int, rows: int) -> int:
    """Return behind the last key that `rows` queries from `query` on see."""
    return int(plan.s if plan.causal == 0 else min(plan.s, query + rows))


@emits
def nothing(core: Any) -> Any:
    """Return the step before the first one."""
    return Step(-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@emits
def step_of(core: Any, plan: Plan, unit: int, turn: int, group: int, key: int, tile: int, number: int) -> Any:
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
def begin_step(core: Any, w: Work, step: Step, before: Step, ended: Step) -> None:
    """Begin with the scores of a step, and multiply the values of the one before."""
    lower_step(core, w.room, w.hands, w.at, w.plan, step, ended, w.to)
    if before.n > 0:
        multiply_values(core, w.at, w.hands, w.plan, before, 0)
    soften_first(core, w.room, w.hands, w.at, w.plan, step)
    if before.n > 0:
        multiply_values(core, w.at, w.hands, w.plan, before, 1)


@emits
def end_all(core: Any, w: Work, step: Step, before: Step, ended: Step) -> None:
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
def attend(core: Any, g: Sources, to: Results, plan: Plan) -> None:
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
