"""The vector unit's part of fused attention: probabilities of a tile, and results that are rescaled.

Scores lie as s[keys, 16 queries] fp16, column by column of sixteen queries. The largest score of each query
so far is what is subtracted; when a tile raises it, what has been added up is multiplied by
exp(before - now). Steps that do not depend on each other stand side by side, so that few barriers are needed:
the results of a step are added up while the exponentials of the next one are computed.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import (
    FP16,
    FP32,
    data_move,
    l0c_to_ub,
    vadd,
    vconv,
    vector_dup,
    vexp,
    vln,
    vmax,
    vmul,
    vrec,
    vsub,
)
from kernels.lang.emits import emits
from kernels.lang.flat import flat_dup, flat_unary
from kernels.lang.queues import fill, filled, free, use
from kernels.pieces.attention import EDGE, FRACTAL, SUM_ROWS, Hands, Levels, Plan, Step, whole
from kernels.pieces.columns import store_columns
from kernels.pieces.transpose import transpose_16bit

BLOCK, LINE, LANES, HALF_LANES = 32, 256, 64, 128
MOST_ROWS = 255 * 8
"""Rows of 32 bytes that one instruction passes: eight a repeat."""
LOWEST_HALF = -65504.0
EXP = 0
COLUMN = 64
"""Bytes of sixteen numbers of fp32."""


class Results(NamedTuple):
    """Where results go in GM."""

    o: int
    lse: int


class Room(NamedTuple):
    """Buffers in UB: scores, sums of a unit, products of a step, results, and numbers per query.

    `largest` and, in fp32, `now` hold the largest scores of each group, `before` those before this step;
    `kept` what maxima are folded to; `alpha` the factors of the step and `delta` their logarithms.
    """

    x: int
    total: int
    part: int
    out: int
    lse: int
    largest: int
    now: int
    before: int
    kept: int
    delta: int
    alpha: int
    inverse: int
    triangle: int
    total_bytes: int


@emits
def draw_triangle(core: Any, triangle: int) -> None:
    """Write what is added to 16 keys for the same 16 queries: the lowest number where the key is later."""
    vector_dup(core, triangle, 2, 0.0, FP16, HALF_LANES)
    for key in range(1, EDGE):
        vector_dup(core, triangle + key * BLOCK, 1, LOWEST_HALF, FP16, key)


@emits
def seen_keys(core: Any, plan: Plan, step: Step, column: int) -> int:
    """Return how many keys of the tile the sixteen queries of a column see."""
    if plan.causal == 0:
        return int(step.n)
    return int(min(step.n, max(0, step.query + (column + 1) * EDGE - step.key)))


@emits
def first_column(core: Any, plan: Plan, step: Step, part: int) -> int:
    """Return the first column of a part: the last two are parts of their own, part 3 begins behind them."""
    if part == 0:
        return 0
    return int(min(step.columns, max(0, plan.columns - 3 + part)))


@emits
def drain_scores(core: Any, x: int, acc: int, plan: Plan, step: Step, part: int) -> None:
    """Bring the scores of the columns of a part from L0C to UB."""
    n = whole(core, step.n)
    pieces, rest = n // plan.k_piece, n % plan.k_piece
    for column in range(first_column(core, plan, step, part), first_column(core, plan, step, part + 1)):
        target = x + column * plan.tile * BLOCK
        if pieces > 0:
            burst = plan.k_piece // EDGE
            gap = (step.columns - 1) * burst
            l0c_to_ub(core, target, acc + column * plan.k_piece * BLOCK, pieces, burst, gap, dtype=FP16)
        if rest > 0:
            done = pieces * plan.k_piece
            source = acc + (done * step.columns + column * rest) * BLOCK
            l0c_to_ub(core, target + done * BLOCK, source, 1, rest // EDGE, dtype=FP16)


@emits
def fold_scores(core: Any, kept: int, x: int, rows: int) -> None:
    """Fold rows of 16 scores to the eight rows of kept, by their maximum."""
    for done in range(0, rows // 8 * 8, MOST_ROWS):
        repeat = min(MOST_ROWS, rows // 8 * 8 - done) // 8
        vmax(core, kept, kept, x + done * BLOCK, repeat, FP16, HALF_LANES, 1, 1, 1, 0, 0, 8)
    if rows % 8 > 0:
        vmax(core, kept, kept, x + rows // 8 * LINE, 1, FP16, rows % 8 * EDGE, 1, 1, 1, 0, 0, 8)


@emits
def lower_scores(core: Any, x: int, largest: int, rows: int) -> None:
    """Subtract the largest score of each query from rows of 16 scores."""
    for done in range(0, rows // 8 * 8, MOST_ROWS):
        at, repeat = x + done * BLOCK, min(MOST_ROWS, rows // 8 * 8 - done) // 8
        vsub(core, at, at, largest, repeat, FP16, HALF_LANES, 1, 1, 0, 8, 8, 0)
    if rows % 8 > 0:
        at = x + rows // 8 * LINE
        vsub(core, at, at, largest, 1, FP16, rows % 8 * EDGE, 1, 1, 0, 8, 8, 0)


@emits
def hide_later(core: Any, room: Room, plan: Plan, step: Step) -> None:
    """Lower the scores of keys later than their query, where a column meets its own sixteen keys."""
    for column in range(step.columns):
        row = step.query + column * EDGE - step.key
        if 0 <= row < step.n:
            at = room.x + (column * plan.tile + row) * BLOCK
            vadd(core, at, at, room.triangle, 2, FP16, HALF_LANES)


@emits
def fetch_scores(core: Any, room: Room, hands: Hands, plan: Plan, step: Step, acc: int, largest: int) -> None:
    """Bring the scores of a step to UB as soon as there is room, and prepare the maxima."""
    use(core, hands.s)
    fill(core, hands.p0)
    drain_scores(core, room.x, acc, plan, step, 0)
    fill(core, hands.p1)
    drain_scores(core, room.x, acc, plan, step, 1)
    fill(core, hands.p2)
    drain_scores(core, room.x, acc, plan, step, 2)
    free(core, hands.s)
    vector_dup(core, room.kept, step.columns, LOWEST_HALF, FP16, HALF_LANES)
    if step.is_first != 0:
        vector_dup(core, largest, 1, LOWEST_HALF, FP16, step.columns * EDGE)
    else:
        data_move(core, room.before, room.now + step.largest * LINE, 1, 2 * step.columns)


@emits
def fold_step(core: Any, room: Room, plan: Plan, step: Step) -> None:
    """Fold the scores of every column to eight rows of maxima."""
    for column in range(step.columns):
        seen = seen_keys(core, plan, step, column)
        fold_scores(core, room.kept + column * LINE, room.x + column * plan.tile * BLOCK, seen)


@emits
def probabilities(core: Any, room: Room, at: Levels, plan: Plan, step: Step, q: int, part: int) -> None:
    """Turn lowered scores of a part to probabilities and send them to L1; keys that are not seen get none."""
    first, last = first_column(core, plan, step, part), first_column(core, plan, step, part + 1)
    for column in range(first, last):
        x, seen = room.x + column * plan.tile * BLOCK, seen_keys(core, plan, step, column)
        flat_unary(core, EXP, x, x, seen * EDGE, FP16)
        if seen < step.n:
            flat_dup(core, x + seen * BLOCK, 0.0, (step.n - seen) * EDGE, FP16)
    filled(core, q)
    use(core, q)
    if last > first:
        n, source = whole(core, step.n), room.x + first * plan.tile * BLOCK
        data_move(core, at.l1_p + first * n * BLOCK, source, last - first, n, plan.tile - n)
    free(core, q)


@emits
def rescale(core: Any, room: Room, plan: Plan, step: Step, total: int) -> None:
    """Multiply what a group has added up by the factors of a step."""
    pitch, repeat = (plan.width + SUM_ROWS) * COLUMN, plan.width // 4 + 1
    for column in range(step.columns):
        at = total + column * pitch
        vmul(core, at, at, room.alpha + column * LINE, repeat, FP32, LANES, 1, 1, 1, 8, 8, 0)


@emits
def fetch_products(
    core: Any, room: Room, hands: Hands, at: Levels, plan: Plan, step: Step, total: int
) -> None:
    """Bring the products of a step to UB: those of the first tile are the beginning of the sums."""
    acc = at.l0c_o + use(core, hands.o) * at.l0c_o_bytes
    fractals = step.columns * (plan.width + SUM_ROWS) // EDGE
    l0c_to_ub(core, total if step.is_first != 0 else room.part, acc, 1, fractals)
    free(core, hands.o)
    if step.is_first == 0:
        rescale(core, room, plan, step, total)


@emits
def add_products(core: Any, room: Room, plan: Plan, step: Step, total: int) -> None:
    """Add the products of a step to what its group has added up."""
    pitch, repeat = (plan.width + SUM_ROWS) * COLUMN, plan.width // 4 + 1
    for column in range(step.columns if step.is_first == 0 else 0):
        at = total + column * pitch
        vadd(core, at, at, room.part + column * pitch, repeat, FP32, LANES)


@emits
def lower_step(
    core: Any, room: Room, hands: Hands, at: Levels, plan: Plan, step: Step, ended: Step, to: Results
) -> None:
    """Bring the scores of a step to UB and subtract the largest one of each query.

    In between, write the results of the step `ended` if it was the last of its group.
    """
    largest = room.largest + step.largest * HALF_LANES
    fetch_scores(core, room, hands, plan, step, at.l0c_s, largest)
    finish_group(core, room, hands, plan, ended, 0, to)
    if plan.causal != 0:
        hide_later(core, room, plan, step)
    fold_step(core, room, plan, step)
    finish_group(core, room, hands, plan, ended, 1, to)
    for column in range(step.columns):
        at_column = largest + column * BLOCK
        vmax(core, at_column, at_column, room.kept + column * LINE, 8, FP16, EDGE, 1, 1, 1, 0, 0, 1)
    finish_group(core, room, hands, plan, ended, 2, to)
    for column in range(step.columns):
        seen = seen_keys(core, plan, step, column)
        lower_scores(core, room.x + column * plan.tile * BLOCK, largest + column * BLOCK, seen)
    vconv(core, room.now + step.largest * LINE, largest, FP32, 1, FP16, step.columns * EDGE, 1, 1, 8, 4)
    finish_group(core, room, hands, plan, ended, 3, to)


@emits
def soften_first(core: Any, room: Room, hands: Hands, at: Levels, plan: Plan, step: Step) -> None:
    """Turn the lowered scores of all columns but the last two to probabilities."""
    now = room.now + step.largest * LINE
    for half in range(2 if step.is_first == 0 else 0):  # eight of sixteen queries, four times each
        to, old, new = room.delta + half * BLOCK, room.before + half * BLOCK, now + half * BLOCK
        vsub(core, to, old, new, step.columns, FP32, LANES // 2, 2, 0, 0, 8, 2, 2)
    fill(core, hands.p)
    probabilities(core, room, at, plan, step, hands.p0, 0)


@emits
def soften_rest(
    core: Any, room: Room, hands: Hands, at: Levels, plan: Plan, step: Step, before: Step
) -> None:
    """Do so for the last two columns; meanwhile add up the products of the step before."""
    total = room.total + before.group * room.total_bytes
    if before.n > 0:
        fetch_products(core, room, hands, at, plan, before, total)
    probabilities(core, room, at, plan, step, hands.p1, 1)
    probabilities(core, room, at, plan, step, hands.p2, 2)
    filled(core, hands.p)
    if step.is_first == 0:
        vexp(core, room.alpha, room.delta, step.columns, FP32, LANES)
    if before.n > 0:
        add_products(core, room, plan, before, total)


@emits
def add_last(core: Any, room: Room, hands: Hands, at: Levels, plan: Plan, step: Step) -> None:
    """Add up the products of the last step of all, which no other follows."""
    total = room.total + step.group * room.total_bytes
    fetch_products(core, room, hands, at, plan, step, total)
    add_products(core, room, plan, step, total)


@emits
def invert_sums(core: Any, room: Room, plan: Plan, step: Step, total: int) -> None:
    """Compute 1 / sum, four times each, and ln(sum) per query; 1 / sum of queries beyond t is 0."""
    pitch, last = (plan.width + SUM_ROWS) * COLUMN, step.columns - 1
    sums, valid = total + plan.width * COLUMN, min(EDGE, plan.t - step.query - last * EDGE)
    if valid < EDGE:
        vector_dup(core, room.inverse + last * LINE, 1, 0.0, FP32, LANES)
    for column in range(step.columns):
        kept = EDGE if column < last else valid
        vrec(core, room.inverse + column * LINE, sums + column * pitch, 4, FP32, kept, 1, 1, 2, 2)
        vln(core, room.lse + column * COLUMN, sums + column * pitch, 1, FP32, EDGE)


@emits
def divide(core: Any, room: Room, plan: Plan, step: Step, total: int) -> None:
    """Multiply what has been added up by 1 / sum, and add the largest score to ln(sum)."""
    pitch = (plan.width + SUM_ROWS) * COLUMN
    vadd(core, room.lse, room.lse, room.now + step.largest * LINE, 1, FP32, step.columns * EDGE)
    for column in range(step.columns):
        at = total + column * pitch
        vmul(core, at, at, room.inverse + column * LINE, plan.width // 4, FP32, LANES, 1, 1, 1, 8, 8, 0)


@emits
def halve(core: Any, room: Room, plan: Plan, step: Step, total: int) -> None:
    """Round the results to fp16; what belongs to queries beyond t becomes 0."""
    pitch, last = (plan.width + SUM_ROWS) * COLUMN, step.columns - 1
    for column in range(step.columns):
        half = room.part + column * plan.width * BLOCK
        vconv(core, half, total + column * pitch, FP16, plan.width // 4, FP32, LANES, 1, 1, 4, 8)
    valid = min(EDGE, plan.t - step.query - last * EDGE)
    if valid < EDGE:
        keep_lanes(core, room.lse + last * COLUMN, room.inverse, valid)


@emits
def keep_lanes(core: Any, x: int, spare: int, lanes: int) -> None:
    """Set the sixteen numbers of x behind the first `lanes` to zero."""
    vector_dup(core, spare, 1, 0.0, FP32, EDGE)
    vadd(core, spare, spare, x, 1, FP32, lanes)
    data_move(core, x, spare, 1, 2)


@emits
def turn_results(core: Any, room: Room, hands: Hands, plan: Plan, step: Step, to: Results) -> None:
    """Transpose the results and write them, o[queries, d] fp16 and lse[queries]."""
    depth, rows = plan.width // EDGE, step.columns * EDGE
    for column in range(step.columns):
        half = room.part + column * plan.width * BLOCK
        transpose_16bit(core, room.out + column * FRACTAL, 1, rows, half, 1, EDGE, depth)
    filled(core, hands.out)
    use(core, hands.out)
    place = (step.head * plan.rows * depth + step.query) * BLOCK
    store_columns(core, to.o + place, room.out, depth, rows, plan.rows)
    data_move(core, to.lse + (step.head * plan.rows + step.query) * 4, room.lse, 1, rows * 4 // BLOCK)
    free(core, hands.out)


@emits
def finish_group(
    core: Any, room: Room, hands: Hands, plan: Plan, step: Step, phase: int, to: Results
) -> None:
    """Do one of the four phases after which the results of a group whose last keys were added are in GM.

    Each needs what the one before it wrote; between them there is other work, so that nobody waits.
    """
    total = room.total + step.group * room.total_bytes
    if step.is_last == 0:
        return
    if phase == 0:
        fill(core, hands.out)
        invert_sums(core, room, plan, step, total)
    elif phase == 1:
        divide(core, room, plan, step, total)
    elif phase == 2:
        halve(core, room, plan, step, total)
    else:
        turn_results(core, room, hands, plan, step, to)
