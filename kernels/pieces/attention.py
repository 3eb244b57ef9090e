"""The cube's part of fused attention: tiles of keys and values come to L1, products leave in L0C.

Scores are computed transposed, s[keys, queries] = k[keys, d] @ q[queries, d]^T, and so is the result,
o[d, queries] = v[keys, d]^T @ p[keys, queries]: in L0C and UB a block of 32 bytes then holds sixteen queries
of one key, and what belongs to a query (its largest score, its scale) is a lane that meets all keys. Sixteen
rows of ones below v^T make the sums of p: the cube adds them in fp32.

Pieces of the keys pass through L0A and L0B; `depth` and `width` are d rounded up to whole fractals.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import load2d, mmad, set_2d
from kernels.lang.emits import emits
from kernels.lang.queues import fill, filled, free, use
from kernels.pieces.columns import load_columns

EDGE, BLOCK, FRACTAL = 16, 32, 512
SUM_ROWS = 16
"""Rows below those of v^T that hold the sums."""


class Plan(NamedTuple):
    """The problem and how it is cut: rows and keys are whole fractals, d and s the exact lengths.

    A tile has `tile` keys; a group of `columns` times 16 queries is worked on at once; a unit, which goes
    over all keys, has `groups` of them. Pieces of so many keys go through L0A at once.
    """

    heads: int
    t: int
    s: int
    d: int
    rows: int
    keys: int
    width: int
    causal: int
    tile: int
    columns: int
    groups: int
    k_piece: int
    v_piece: int
    masked: int
    mask_heads: int


class Sources(NamedTuple):
    """Operands in GM; the mask of `mask_heads` heads each is what is added to scores[t, s]."""

    q: int
    k: int
    v: int
    mask: int


class Step(NamedTuple):
    """One group of queries against one tile of keys.

    `number` counts the steps of the core, `largest` numbers where its maxima are kept, `n` keys count for it,
    `slot` is the tile's place in L1 (`pitch` rows). `is_first` and `is_last` tell whether the group begins
    and ends with it, `opens` and `closes` whether it is the tile's first and last.
    """

    number: int
    head: int
    group: int
    largest: int
    query: int
    columns: int
    key: int
    n: int
    slot: int
    pitch: int
    is_first: int
    is_last: int
    opens: int
    closes: int


class Levels(NamedTuple):
    """Buffers of the cube's part, and the bytes of a slot of each."""

    l1_k: int
    l1_v: int
    l1_p: int
    l1_q: int
    l0a: int
    l0b_q: int
    l0b_p: int
    l0c_s: int
    l0c_o: int
    l1_mask: int
    l1_one: int
    l0b_one: int
    tile_bytes: int
    q_bytes: int
    l0a_bytes: int
    l0b_q_bytes: int
    l0b_p_bytes: int
    l0c_o_bytes: int
    mask_bytes: int


class Hands(NamedTuple):
    """The hand-offs.

    Keys and values to L1; queries to UB, their room back to MTE2, and to L1; three parts of the probabilities
    to MTE3, and to L1; queries and pieces to L0; scores and products to UB; what MTE3 takes now and then.
    """

    k: int
    v: int
    q_in: int
    q_room: int
    q: int
    p0: int
    p1: int
    p2: int
    p: int
    l0_q: int
    l0: int
    s: int
    o: int
    out: int


@emits
def whole(core: Any, length: int) -> int:
    """Return a length rounded up to whole fractals."""
    return int((length + EDGE - 1) // EDGE * EDGE)


@emits
def unit_columns(core: Any, plan: Plan, query: int) -> int:
    """Return how many columns of sixteen queries the unit that begins with `query` has."""
    return int(min(plan.columns * plan.groups, (plan.rows - query) // EDGE))


@emits
def load_tile(
    core: Any, at: Levels, hands: Hands, plan: Plan, g: Sources, head: int, query: int, key: int
) -> None:
    """Bring a tile of keys and one of values to L1, and the mask for the unit from `query` on."""
    n, rows = min(plan.tile, plan.keys - key), unit_columns(core, plan, query) * EDGE
    place = (head * plan.keys * (plan.width // EDGE) + key) * BLOCK
    slot = fill(core, hands.k)
    load_columns(core, at.l1_k + slot * at.tile_bytes, g.k + place, plan.width // EDGE, n, plan.keys)
    if plan.masked != 0:
        first = g.mask + (head // plan.mask_heads * plan.keys + key) * plan.rows * 2 + query * BLOCK
        load_columns(core, at.l1_mask + slot * at.mask_bytes, first, n // EDGE, rows, plan.rows)
    filled(core, hands.k)
    slot = fill(core, hands.v)
    load_columns(core, at.l1_v + slot * at.tile_bytes, g.v + place, plan.width // EDGE, n, plan.keys)
    filled(core, hands.v)


class Masked(NamedTuple):
    """A block of a mask in L1, [keys, queries] column by column of 16 keys, and the scores it begins in L0C.

    Of `all_columns` columns of sixteen queries the `columns` from `first` on are taken, and `rows` keys.
    """

    l1: int
    acc: int
    rows: int
    first: int
    columns: int
    all_columns: int


@emits
def add_mask(core: Any, q_l0: int, l0a: int, one: int, block: Masked) -> None:
    """Begin scores with a mask: the cube multiplies it by an identity, `one` in L0B.

    Two columns of sixteen queries at once, so that each product begins at whole accumulators.
    """
    rows = block.rows
    for column in range(block.columns):
        pair = min(2, block.columns - column // 2 * 2)
        target = l0a + (column // 2 * 2 * rows // EDGE + column % 2) * FRACTAL
        source = block.l1 + (block.first + column) * FRACTAL
        load2d(core, target, source, rows // EDGE, block.all_columns, transpose=1, dst_gap=pair - 1)
    filled(core, q_l0)
    use(core, q_l0)
    for column in range(0, block.columns, 2):
        edge, place = min(2, block.columns - column) * EDGE, column * rows * BLOCK
        mmad(core, block.acc + place, l0a + place, one, rows, edge, edge, 0, to_fp16=1)
    free(core, q_l0)


@emits
def add_step_mask(core: Any, at: Levels, hands: Hands, plan: Plan, step: Step, piece: int, rows: int) -> None:
    """Begin the scores of a piece of the keys of a step with the mask."""
    first, l0a = step.group * plan.columns, at.l0a + fill(core, hands.l0) * at.l0a_bytes
    columns = unit_columns(core, plan, step.query - first * EDGE)
    l1 = at.l1_mask + step.slot * at.mask_bytes + piece // EDGE * columns * FRACTAL
    acc = at.l0c_s + piece * step.columns * BLOCK
    add_mask(core, hands.l0, l0a, at.l0b_one, Masked(l1, acc, rows, first, step.columns, columns))


@emits
def load_queries(core: Any, at: Levels, hands: Hands, plan: Plan, step: Step, source: int) -> int:
    """Bring q^T of a group from L1 to L0B; return where it lies."""
    target = at.l0b_q + fill(core, hands.l0_q) * at.l0b_q_bytes
    fractals = plan.width // EDGE * step.columns
    for done in range(0, fractals, 255):
        load2d(core, target + done * FRACTAL, source + done * FRACTAL, min(255, fractals - done))
    filled(core, hands.l0_q)
    use(core, hands.l0_q)
    return int(target)


@emits
def multiply_keys(core: Any, at: Levels, hands: Hands, plan: Plan, step: Step, queries: int) -> None:
    """Compute the scores s[keys, queries] fp16 of a step in L0C, piece after piece of the keys."""
    q = load_queries(core, at, hands, plan, step, queries)
    tile, depth = at.l1_k + step.slot * at.tile_bytes, plan.width // EDGE
    fill(core, hands.s)
    for piece in range(0, step.n, plan.k_piece):
        rows = whole(core, min(plan.k_piece, step.n - piece))
        if plan.masked != 0:
            add_step_mask(core, at, hands, plan, step, piece, rows)
        l0a = at.l0a + fill(core, hands.l0) * at.l0a_bytes
        for column in range(depth):
            source = tile + (column * step.pitch + piece) * BLOCK
            load2d(core, l0a + column * FRACTAL, source, rows // EDGE, dst_gap=depth - 1)
        filled(core, hands.l0)
        use(core, hands.l0)
        c = at.l0c_s + piece * step.columns * BLOCK
        mmad(core, c, l0a, q, rows, plan.d, step.columns * EDGE, plan.masked, to_fp16=1)
        free(core, hands.l0)
    free(core, hands.l0_q)
    filled(core, hands.s)


@emits
def load_values(core: Any, l0a: int, tile: int, plan: Plan, step: Step, piece: int, rows: int) -> None:
    """Bring v^T of a piece of the keys, and rows of ones below it, to L0A."""
    depth = plan.width // EDGE
    for column in range(depth):
        source = tile + (column * step.pitch + piece) * BLOCK
        load2d(core, l0a + column * rows * BLOCK, source, rows // EDGE, transpose=1)
    set_2d(core, l0a + depth * rows * BLOCK, rows // EDGE, 1.0)


@emits
def multiply_piece(core: Any, at: Levels, hands: Hands, plan: Plan, step: Step, acc: int, piece: int) -> None:
    """Add v^T p of a piece of the keys to o[d + 16, queries] in L0C."""
    tile, n = at.l1_v + step.slot * at.tile_bytes, whole(core, step.n)
    rows, slot = whole(core, min(plan.v_piece, step.n - piece)), fill(core, hands.l0)
    l0a, l0b = at.l0a + slot * at.l0a_bytes, at.l0b_p + slot * at.l0b_p_bytes
    load_values(core, l0a, tile, plan, step, piece, rows)
    for column in range(step.columns):
        source, gap = at.l1_p + (column * n + piece) * BLOCK, step.columns - 1
        load2d(core, l0b + column * FRACTAL, source, rows // EDGE, transpose=1, dst_gap=gap)
    filled(core, hands.l0)
    use(core, hands.l0)
    exact = min(plan.v_piece, step.n - piece)
    mmad(core, acc, l0a, l0b, plan.width + SUM_ROWS, exact, step.columns * EDGE, piece > 0)
    free(core, hands.l0)


@emits
def multiply_values(core: Any, at: Levels, hands: Hands, plan: Plan, step: Step, part: int) -> None:
    """Compute o[d + 16, queries] fp32 of a step in L0C, in two parts; below d are the sums of p."""
    pieces = (step.n + plan.v_piece - 1) // plan.v_piece
    first, last = pieces // 2 * part, pieces // 2 + (pieces - pieces // 2) * part
    if part == 0 and step.opens != 0:
        use(core, hands.v)
    if part == 0:
        use(core, hands.p)
        fill(core, hands.o)
    acc = at.l0c_o + step.number % 2 * at.l0c_o_bytes
    for piece in range(first, last):
        multiply_piece(core, at, hands, plan, step, acc, piece * plan.v_piece)
    if part == 0:
        return
    filled(core, hands.o)
    free(core, hands.p)
    if step.closes != 0:
        free(core, hands.v)
