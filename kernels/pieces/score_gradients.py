"""Steps of the gradient of attention: probabilities and gradients of scores of a block of queries and keys.

Of both, [keys, queries] in fp16, a block lies in UB and in L1 column by column of sixteen queries. Queries
and gradients of results lie in L1 with one more column of sixteen: what the cube subtracts, where ones stand
beside the keys and values.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, data_move, l0c_to_ub, load2d, mmad, vadd
from kernels.lang.emits import emits
from kernels.lang.flat import MUL, flat_binary, flat_dup, flat_unary
from kernels.lang.queues import fill, filled, free, use
from kernels.pieces.attention import EDGE, FRACTAL, Masked, add_mask
from kernels.pieces.columns import load_columns

BLOCK, HALF_LANES, EXP = 32, 128, 0
ACC_ALIGN = 1024
INNER = 3
"""Slots in L1 for inner blocks: one is multiplied, one waits for its products, one is fetched."""


class Problem(NamedTuple):
    """The problem and its cut: `rows` and `keys` are whole fractals, blocks have `m` queries and `n` keys.

    `piece` queries are multiplied at once; `owns` 0 tells that keys are owned, 1 queries.
    """

    heads: int
    t: int
    s: int
    d: int
    rows: int
    keys: int
    width: int
    causal: int
    m: int
    n: int
    piece: int
    owns: int
    masked: int
    mask_heads: int


class Given(NamedTuple):
    """Operands in GM: scaled queries, keys, values, gradients of results, what is subtracted, mask."""

    q: int
    k: int
    v: int
    do: int
    shift: int
    delta: int
    mask: int


class Pair(NamedTuple):
    """A block of queries and one of keys: where they begin, whole fractals, and exact lengths.

    `number` counts the pairs of the core; `is_first` and `is_last` tell whether the owned block
    begins and ends here.
    """

    head: int
    query: int
    m: int
    key: int
    n: int
    exact: int
    number: int
    is_first: int
    is_last: int


class Product(NamedTuple):
    """Two blocks in L1, where in L0C their product goes, and whether it is added to what is there."""

    left: int
    right: int
    acc: int
    adds: int


class Buffers(NamedTuple):
    """Where blocks lie, and the bytes of a slot: q and do, k and v, p and ds in L1, pieces, products, UB."""

    l1_q: int
    l1_k: int
    l1_p: int
    ones: int
    l1_mask: int
    l1_one: int
    l0a: int
    l0b: int
    l0b_one: int
    l0c: int
    acc: int
    ub_p: int
    ub_ds: int
    out: int
    q_bytes: int
    k_bytes: int
    p_bytes: int
    mask_bytes: int
    l0a_bytes: int
    l0b_bytes: int


class Ways(NamedTuple):
    """Hand-offs: owned and inner blocks to L1, pieces, scores, p and ds to L1 and there, results."""

    owned: int
    inner: int
    l0: int
    s: int
    p: int
    ds: int
    up: int
    acc: int
    out: int


@emits
def load_queries(core: Any, b: Buffers, x: Problem, g: Given, slot: int, head: int, query: int) -> None:
    """Bring a block of queries and one of gradients of results, with what is subtracted, to a slot of L1."""
    count, depth, at = min(x.m, x.rows - query), x.width // EDGE, b.l1_q + slot * b.q_bytes
    place, row = (head * x.rows * depth + query) * BLOCK, (head * x.rows + query) * BLOCK
    half = b.q_bytes // 2
    load_columns(core, at, g.q + place, depth, count, x.rows)
    data_move(core, at + depth * count * BLOCK, g.shift + row, 1, count)
    load_columns(core, at + half, g.do + place, depth, count, x.rows)
    data_move(core, at + half + depth * count * BLOCK, g.delta + row, 1, count)


@emits
def load_keys(core: Any, b: Buffers, x: Problem, g: Given, slot: int, head: int, key: int) -> None:
    """Bring a block of keys and one of values to a slot of L1."""
    count, depth, at = min(x.n, x.keys - key), x.width // EDGE, b.l1_k + slot * b.k_bytes
    place = (head * x.keys * depth + key) * BLOCK
    load_columns(core, at, g.k + place, depth, count, x.keys)
    load_columns(core, at + b.k_bytes // 2, g.v + place, depth, count, x.keys)


@emits
def load_mask(core: Any, b: Buffers, x: Problem, g: Given, pair: Pair, slot: int) -> None:
    """Bring the mask of a pair to a slot of L1."""
    place = (pair.head // x.mask_heads * x.keys + pair.key) * x.rows * 2 + pair.query * BLOCK
    target = b.l1_mask + slot * b.mask_bytes
    load_columns(core, target, g.mask + place, pair.n // EDGE, pair.m, x.rows)


@emits
def begin_with_mask(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair, row: int) -> None:
    """Begin the scores of a piece of the queries with the mask."""
    l0a, first = b.l0a + fill(core, w.l0) * b.l0a_bytes, row // EDGE
    count, l1 = min(x.piece, pair.m - row) // EDGE, b.l1_mask + pair.number % INNER * b.mask_bytes
    acc = b.l0c + row * pair.n * 2
    add_mask(core, w.l0, l0a, b.l0b_one, Masked(l1, acc, pair.n, first, count, pair.m // EDGE))


@emits
def half_acc(core: Any, b: Buffers) -> int:
    """Return where in L0C the gradients of the probabilities begin behind the scores."""
    return int((b.p_bytes // 2 + ACC_ALIGN - 1) // ACC_ALIGN * ACC_ALIGN)


@emits
def score_piece(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair, p: Product, row: int) -> None:
    """Compute left[keys, d] @ right[queries, d]^T minus a number per query, for a piece of the queries."""
    depth, count = x.width // EDGE, min(x.piece, pair.m - row)
    slot = fill(core, w.l0)
    l0a, l0b = b.l0a + slot * b.l0a_bytes, b.l0b + slot * b.l0b_bytes
    for column in range(depth):
        source = p.left + column * pair.n * BLOCK
        load2d(core, l0a + column * FRACTAL, source, pair.n // EDGE, dst_gap=depth)
    load2d(core, l0a + depth * FRACTAL, b.ones, pair.n // EDGE, 0, dst_gap=depth)
    for column in range(depth + 1):
        source = p.right + (column * pair.m + row) * BLOCK
        load2d(core, l0b + column * count * BLOCK, source, count // EDGE)
    filled(core, w.l0)
    use(core, w.l0)
    mmad(core, p.acc + row * pair.n * 2, l0a, l0b, pair.n, x.width + 2, count, p.adds, to_fp16=1)
    free(core, w.l0)


@emits
def score_pair(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair) -> None:
    """Compute the scores and the gradients of the probabilities of a pair in L0C."""
    q, k = b.l1_q, b.l1_k
    if x.owns == 0:
        q += pair.number % INNER * b.q_bytes
    else:
        k += pair.number % INNER * b.k_bytes
    fill(core, w.s)
    for which in range(2):
        acc = b.l0c + which * half_acc(core, b)
        adds = x.masked if which == 0 else 0
        p = Product(k + which * b.k_bytes // 2, q + which * b.q_bytes // 2, acc, adds)
        for row in range(0, pair.m, x.piece):
            if adds != 0:
                begin_with_mask(core, b, w, x, pair, row)
            score_piece(core, b, w, x, pair, p, row)
    filled(core, w.s)


@emits
def seen_keys(core: Any, x: Problem, pair: Pair, column: int) -> int:
    """Return how many keys of the block the sixteen queries of a column see."""
    if x.causal == 0:
        return int(pair.n)
    return int(min(pair.n, max(0, pair.query + (column + 1) * EDGE - pair.key)))


@emits
def drain_pair(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair, triangle: int) -> None:
    """Bring the scores and the gradients of the probabilities to UB; hide later keys of the same sixteen."""
    fractals = pair.m * pair.n // 256
    use(core, w.s)
    fill(core, w.p)
    l0c_to_ub(core, b.ub_p, b.l0c, 1, fractals, dtype=FP16)
    fill(core, w.ds)
    l0c_to_ub(core, b.ub_ds, b.l0c + half_acc(core, b), 1, fractals, dtype=FP16)
    free(core, w.s)
    for column in range(pair.m // EDGE if x.causal != 0 else 0):
        row = pair.query + column * EDGE - pair.key
        if 0 <= row < pair.n:
            at = b.ub_p + (column * pair.n + row) * BLOCK
            vadd(core, at, at, triangle, 2, FP16, HALF_LANES)


@emits
def send(core: Any, q: int, to: int, source: int, blocks: int) -> None:
    """Hand a block to MTE3, which brings it to L1; nothing of no blocks."""
    filled(core, q)
    use(core, q)
    if blocks > 0:
        data_move(core, to, source, 1, blocks)
    free(core, q)


@emits
def power_pair(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair) -> None:
    """Turn scores to probabilities, of which none belongs to a hidden key, and send them to L1 for dv."""
    flat_unary(core, EXP, b.ub_p, b.ub_p, pair.m * pair.n, FP16)
    for column in range(pair.m // EDGE if x.causal != 0 else 0):
        seen = seen_keys(core, x, pair, column)
        if seen < pair.n:
            at = b.ub_p + (column * pair.n + seen) * BLOCK
            flat_dup(core, at, 0.0, (pair.n - seen) * EDGE, FP16)
    fill(core, w.up)
    blocks = pair.m * pair.n // EDGE if x.owns == 0 else 0
    send(core, w.p, b.l1_p + pair.number % 2 * b.p_bytes, b.ub_p, blocks)


@emits
def slope_pair(core: Any, b: Buffers, w: Ways, pair: Pair) -> None:
    """Multiply the gradients of probabilities by these, and send the gradients of scores to L1."""
    flat_binary(core, MUL, b.ub_ds, b.ub_ds, b.ub_p, pair.m * pair.n, FP16)
    target = b.l1_p + pair.number % 2 * b.p_bytes + b.p_bytes // 2
    send(core, w.ds, target, b.ub_ds, pair.m * pair.n // EDGE)
    filled(core, w.up)


@emits
def key_product(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair, which: int, q_slot: int) -> None:
    """Add p^T @ do (0) or ds^T @ q (1) of a pair to what its keys get in L0C."""
    left = b.l1_p + pair.number % 2 * b.p_bytes + which * b.p_bytes // 2
    right = b.l1_q + q_slot * b.q_bytes + (1 - which) * b.q_bytes // 2
    acc, depth = b.acc + which * x.n * x.width * 4, x.width // EDGE
    for row in range(0, pair.m, x.piece):
        count, slot = min(x.piece, pair.m - row), fill(core, w.l0)
        l0a, l0b = b.l0a + slot * b.l0a_bytes, b.l0b + slot * b.l0b_bytes
        for column in range(count // EDGE):
            source = left + (row // EDGE + column) * pair.n * BLOCK
            load2d(core, l0a + column * FRACTAL, source, pair.n // EDGE, dst_gap=count // EDGE - 1)
        for column in range(depth):
            source = right + (column * pair.m + row) * BLOCK
            load2d(core, l0b + column * FRACTAL, source, count // EDGE, transpose=1, dst_gap=depth - 1)
        filled(core, w.l0)
        use(core, w.l0)
        mmad(core, acc, l0a, l0b, pair.n, count, x.width, 1 if pair.is_first == 0 or row > 0 else 0)
        free(core, w.l0)


@emits
def query_product(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair, k_slot: int) -> None:
    """Add ds @ k of a pair to what its queries get in L0C, piece by piece of them."""
    left, right = b.l1_p + pair.number % 2 * b.p_bytes + b.p_bytes // 2, b.l1_k + k_slot * b.k_bytes
    depth = x.width // EDGE
    for row in range(0, pair.m, x.piece):
        count, slot = min(x.piece, pair.m - row), fill(core, w.l0)
        l0a, l0b = b.l0a + slot * b.l0a_bytes, b.l0b + slot * b.l0b_bytes
        for column in range(count // EDGE):
            source = left + (row // EDGE + column) * pair.n * BLOCK
            load2d(core, l0a + column * pair.n * BLOCK, source, pair.n // EDGE, transpose=1)
        for column in range(depth):
            source = right + column * pair.n * BLOCK
            load2d(core, l0b + column * FRACTAL, source, pair.n // EDGE, transpose=1, dst_gap=depth - 1)
        filled(core, w.l0)
        use(core, w.l0)
        acc = b.acc + row * x.width * 4
        mmad(core, acc, l0a, l0b, count, pair.exact, x.width, 1 - pair.is_first)
        free(core, w.l0)


@emits
def multiply_pair(core: Any, b: Buffers, w: Ways, x: Problem, pair: Pair) -> None:
    """Add the products of a pair to what the owned block gets, and give the inner block back."""
    if pair.is_first != 0:
        fill(core, w.acc)
    use(core, w.up)
    if x.owns == 0:
        for which in range(2):
            key_product(core, b, w, x, pair, which, pair.number % INNER)
    else:
        query_product(core, b, w, x, pair, pair.number % INNER)
    free(core, w.up)
    free(core, w.inner)
    if pair.is_last != 0:
        filled(core, w.acc)
