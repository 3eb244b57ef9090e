"""The cell of an LSTM in one launch; its gradient is in `lstm_grad`.

A core computes tiles of the hidden state: the four gates' products of x and of h are one product with four
times as many columns, added up in L0C; then the vector unit adds the bias, bends the gates and updates the
state. Matrices lie as FRACTAL_NZ; the gates are planes of their own, in the order i, f, g, o. x, h, weights
and the gates that are kept for the gradient are fp16, the state, the bias and its gradients fp32.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
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
    Shape,
    Tiling,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
    flat_convert,
    flat_dup,
    free,
    kernel,
    l0c_to_ub,
    load2d,
    mmad,
    output,
    queue,
    share_end,
    share_start,
    use,
    vadd,
    vadds,
    vector_dup,
    vmul,
)
from kernels.lang.flat import ADD, MUL
from kernels.pieces.bend import sigmoid, tanh
from kernels.rules import require_dtype, round_up

Array = npt.NDArray[Any]
EDGE, GATES, BLOCK, LINE, FRACTAL, LANES = 16, 4, 32, 256, 512, 64
MOST_ROWS, MOST_COLUMNS, MOST_DEPTH = 128, 32, 256


@dataclass(frozen=True)
class LstmShape(Shape):
    """m sequences, inputs of length k, a hidden state of length n."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 5, "k": 7, "n": 9},
        {"m": 33, "k": 70, "n": 50},
        {"m": 140, "k": 20, "n": 64},
    )
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ({"m": 128, "k": 1024, "n": 1024},)
    """A translation model's layer; neither ResNet-50 nor BERT has one."""
    m: int
    k: int
    n: int
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse other types than fp16 for what the cube multiplies."""
        require_dtype(kernel, self.dtype, FP16)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def _planes(shape: LstmShape, name: str, rows: int) -> Operand:
    return Operand(name, (GATES, rows, shape.n), FP16, "NZ")


def _operands(shape: LstmShape) -> tuple[Operand, ...]:
    hidden = (shape.m, shape.n)
    x, h = Operand("x", (shape.m, shape.k), FP16, "NZ"), Operand("h", hidden, FP16, "NZ")
    bias = Operand("bias", (GATES, shape.n), FP32, padding_bytes=-4 * shape.n % 64)
    made = output("h_new", hidden, FP16, "NZ"), output("c_new", hidden, FP32, "NZ")
    weights = _planes(shape, "w", shape.k), _planes(shape, "u", shape.n)
    gates = output("gates", (GATES, *hidden), FP16, "NZ")
    return x, h, Operand("c", hidden, FP32, "NZ"), *weights, bias, *made, gates


def _reference(
    shape: LstmShape, x: Array, h: Array, c: Array, w: Array, u: Array, bias: Array
) -> tuple[Array, Array, Array]:
    bent = x.astype(np.float32) @ w.astype(np.float32) + h.astype(np.float32) @ u.astype(np.float32)
    bent += bias[:, np.newaxis]
    i, f, o = (_sigmoid(bent[gate]) for gate in (0, 1, 3))
    g = np.tanh(bent[2])
    c_new = f * c + i * g
    gates = np.stack((i, f, g, o)).astype(np.float16)
    return (o * np.tanh(c_new)).astype(np.float16), c_new.astype(np.float32), gates


def macs(shape: LstmShape) -> int:
    """Count the cube's multiplications, without padding."""
    return GATES * shape.m * (shape.k + shape.n) * shape.n


@dataclass(frozen=True)
class LstmTiling(Tiling):
    """Edges of a tile of the state and of a piece along the inner axis in L1 and in L0 (multiples of 16)."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("m0", "n0", "l1_k", "k0")
    m0: int
    n0: int
    l1_k: int
    k0: int
    slots: int = 2

    @classmethod
    def default(cls, shape: LstmShape, platform: Platform) -> "LstmTiling":
        """Return tiles of up to 128 x 32, smaller ones where cores would be idle."""
        m0, n0 = min(MOST_ROWS, round_up(shape.m, EDGE)), min(MOST_COLUMNS, round_up(shape.n, EDGE))
        depth = min(MOST_DEPTH, round_up(max(shape.k, shape.n), EDGE))
        tiling = cls(m0, n0, depth, min(depth, 128))
        if tiling.blocks(shape, platform) < int(platform.ai_cores):
            tiling = replace(tiling, n0=EDGE)
        return tiling

    @classmethod
    def space(cls, shape: LstmShape, platform: Platform) -> Iterator["LstmTiling"]:
        """Yield the default tiling, and ones of shorter rows, columns and pieces."""
        first = cls.default(shape, platform)
        yield first
        if first.m0 > EDGE:
            yield replace(first, m0=round_up(first.m0 // 2, EDGE))
        if first.l1_k > EDGE:
            half = round_up(first.l1_k // 2, EDGE)
            yield replace(first, l1_k=half, k0=min(half, first.k0))
        yield replace(first, n0=EDGE, slots=1)

    def blocks(self, shape: LstmShape, platform: Platform) -> int:
        """Return one core per tile of the state, as many as there are."""
        return min(int(platform.ai_cores), -(-shape.m // self.m0) * -(-shape.n // self.n0))


class Cell(NamedTuple):
    """The operands in GM and their edges; `rows`, `width` and `depth` are m, n and k in whole fractals."""

    x: int
    h: int
    c: int
    w: int
    u: int
    bias: int
    h_new: int
    c_new: int
    gates: int
    k: int
    m: int
    n: int
    rows: int
    width: int
    depth: int


class Tile(NamedTuple):
    """A piece of the state: where it begins, and its edges."""

    m_at: int
    n_at: int
    m: int
    n: int


class Panels(NamedTuple):
    """One of the two products: a[m, k] in GM, the four planes b[k, n], k exact and in whole fractals."""

    a: int
    b: int
    k: int
    depth: int


class Levels(NamedTuple):
    """Buffers of the cube's part, their slots' bytes and hand-offs."""

    l1_a: int
    l1_b: int
    l0a: int
    l0b: int
    l0c: int
    a_bytes: int
    b_bytes: int
    l0a_bytes: int
    l0b_bytes: int
    l0c_bytes: int
    q_l1: int
    q_l0: int
    q_acc: int
    l1_k: int
    k0: int


class Room(NamedTuple):
    """Buffers of the vector unit's part and their hand-offs; `plane` bytes hold one gate in fp32."""

    gates: int
    spare: int
    c: int
    bias: int
    lines: int
    pattern: int
    c_new: int
    h_new: int
    kept: int
    plane: int
    q_in: int
    q_out: int


@emits
def whole(core: Any, length: int, most: int) -> int:
    """Return the smaller of two lengths in whole fractals."""
    return int((min(length, most) + EDGE - 1) // EDGE * EDGE)


@emits
def open_levels(core: Any, m0: int, n0: int, l1_k: int, k0: int, slots: int) -> Any:
    """Allocate what the cube needs, and open its hand-offs."""
    a, b, c = m0 * l1_k * 2, GATES * n0 * l1_k * 2, GATES * m0 * n0 * 4
    l0a, l0b = m0 * k0 * 2, GATES * n0 * k0 * 2
    places = alloc(core, L1, slots * a, slots), alloc(core, L1, slots * b, slots)
    pieces = alloc(core, L0A, slots * l0a, slots), alloc(core, L0B, slots * l0b, slots)
    acc = alloc(core, L0C, slots * c, slots)
    q_l1, q_l0 = queue(core, MTE2, MTE1, slots), queue(core, MTE1, M, slots)
    q_acc = queue(core, M, V, slots)
    return Levels(*places, *pieces, acc, a, b, l0a, l0b, c, q_l1, q_l0, q_acc, l1_k, k0)


@emits
def open_room(core: Any, m0: int, n0: int, slots: int) -> Any:
    """Allocate what the vector unit needs, and open its hand-offs."""
    plane = m0 * n0 * 4
    gates, spare = alloc(core, UB, GATES * plane), alloc(core, UB, plane)
    c, bias = alloc(core, UB, slots * plane, slots), alloc(core, UB, slots * GATES * n0 * 4, slots)
    lines, pattern = alloc(core, UB, GATES * n0 // EDGE * LINE), alloc(core, UB, LINE)
    c_new, h_new = alloc(core, UB, plane), alloc(core, UB, plane // 2)
    kept = alloc(core, UB, GATES * plane // 2)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, 1)
    return Room(gates, spare, c, bias, lines, pattern, c_new, h_new, kept, plane, q_in, q_out)


@emits
def load_panels(core: Any, at: Any, cell: Any, p: Any, t: Any, k_at: int, kw: int) -> int:
    """Bring a[m, kw] and the four planes of b[kw, n] to a slot of L1; return its number."""
    slot = fill(core, at.q_l1)
    source = p.a + (k_at * cell.rows + t.m_at * EDGE) * 2
    data_move(core, at.l1_a + slot * at.a_bytes, source, kw // EDGE, t.m, cell.rows - t.m)
    for gate in range(GATES):
        source = p.b + ((gate * cell.width + t.n_at) * p.depth + k_at * EDGE) * 2
        target = at.l1_b + slot * at.b_bytes + gate * t.n * kw * 2
        data_move(core, target, source, t.n // EDGE, kw, p.depth - kw)
    filled(core, at.q_l1)
    use(core, at.q_l1)
    return int(slot)


@emits
def multiply_piece(core: Any, at: Any, t: Any, slot: int, acc: int, kw: int, piece: int, exact: int) -> None:
    """Add a[m, exact] @ b[exact, 4 n] of a slot of L1 to the accumulators; |acc| < 0: begin them."""
    depth = min(at.k0, kw - piece) // EDGE
    half = fill(core, at.q_l0)
    l0a, l0b = at.l0a + half * at.l0a_bytes, at.l0b + half * at.l0b_bytes
    for k1 in range(depth):
        source = at.l1_a + slot * at.a_bytes + (piece + k1 * EDGE) * t.m * 2
        load2d(core, l0a + k1 * FRACTAL, source, t.m // EDGE, dst_gap=depth - 1)
    for column in range(GATES * t.n // EDGE):
        source = at.l1_b + slot * at.b_bytes + (column * kw + piece) * BLOCK
        gap = GATES * t.n // EDGE - 1
        load2d(core, l0b + column * FRACTAL, source, depth, transpose=1, dst_gap=gap)
    filled(core, at.q_l0)
    use(core, at.q_l0)
    mmad(core, abs(acc), l0a, l0b, t.m, exact, GATES * t.n, acc > 0)
    free(core, at.q_l0)


@emits
def multiply(core: Any, at: Any, cell: Any, t: Any) -> None:
    """Compute x w + h u of a tile, for the four gates side by side."""
    begun = 0
    acc = at.l0c + fill(core, at.q_acc) * at.l0c_bytes
    for source in range(2):
        p = Panels(cell.x, cell.w, cell.k, cell.depth)
        if source == 1:
            p = Panels(cell.h, cell.u, cell.n, cell.width)
        for k_at in range(0, p.depth, at.l1_k):
            kw = min(at.l1_k, p.depth - k_at)
            slot = load_panels(core, at, cell, p, t, k_at, kw)
            for piece in range(0, kw, at.k0):
                exact = min(at.k0, kw - piece, p.k - k_at - piece)
                multiply_piece(core, at, t, slot, acc if begun != 0 else -acc, kw, piece, exact)
                begun = 1
            free(core, at.q_l1)
    filled(core, at.q_acc)


@emits
def load_state(core: Any, room: Any, cell: Any, t: Any) -> int:
    """Bring the state and the bias of a tile to a slot of UB; return its number."""
    slot = fill(core, room.q_in)
    source = cell.c + (t.n_at * cell.rows + t.m_at * EDGE) * 4
    data_move(core, room.c + slot * room.plane, source, t.n // EDGE, t.m * 2, (cell.rows - t.m) * 2)
    for gate in range(GATES):
        target = room.bias + (slot * GATES + gate) * t.n * 4
        data_move(core, target, cell.bias + (gate * cell.n + t.n_at) * 4, 1, t.n * 4 // BLOCK)
    filled(core, room.q_in)
    use(core, room.q_in)
    return int(slot)


@emits
def valid_lanes(core: Any, cell: Any, t: Any, column: int) -> int:
    """Return how many of the sixteen numbers of a column of a tile are not padding."""
    return int(max(0, min(EDGE, cell.n - t.n_at - column * EDGE)))


@emits
def add_bias(core: Any, room: Any, cell: Any, t: Any, slot: int) -> None:
    """Add the bias to every row; it is zero in columns of padding."""
    columns = t.n // EDGE
    vector_dup(core, room.lines, GATES * columns, 0.0, FP32, LANES)
    for gate in range(GATES):
        for column in range(columns):
            line = room.lines + (gate * columns + column) * LINE
            source = room.bias + ((slot * GATES + gate) * t.n + column * EDGE) * 4
            valid = valid_lanes(core, cell, t, column)
            vadds(core, line, source, 1, 0.0, FP32, valid)
    for column in range(GATES * columns):  # four times, to fill a repeat
        data_move(core, room.lines + column * LINE + 64, room.lines + column * LINE, 1, 2)
    for column in range(GATES * columns):
        data_move(core, room.lines + column * LINE + 128, room.lines + column * LINE, 1, 4)
    for column in range(GATES * columns):
        at = room.gates + column * t.m * 64
        vadd(core, at, at, room.lines + column * LINE, t.m // 4, FP32, LANES, 1, 1, 1, 8, 8, 0)


@emits
def blank(core: Any, room: Any, cell: Any, t: Any, x: int, planes: int) -> None:
    """Make rows and columns of padding zero in planes of the tile in fp32."""
    rows, columns = min(t.m, cell.m - t.m_at), t.n // EDGE
    vector_dup(core, room.pattern, 1, 0.0, FP32, LANES)
    vector_dup(core, room.pattern, 4, 1.0, FP32, valid_lanes(core, cell, t, columns - 1), 1, 2)
    for column in range(planes * columns):
        at = x + column * t.m * 64
        if column % columns == columns - 1:
            vmul(core, at, at, room.pattern, t.m // 4, FP32, LANES, 1, 1, 1, 8, 8, 0)
        if rows < t.m:
            flat_dup(core, at + rows * 64, 0.0, (t.m - rows) * EDGE, FP32)


@emits
def update_state(core: Any, room: Any, cell: Any, t: Any, c: int) -> None:
    """Compute the gates, the new state and the new hidden state of a tile."""
    n, plane = t.m * t.n, t.m * t.n * 4
    i, f, g, o = room.gates, room.gates + plane, room.gates + 2 * plane, room.gates + 3 * plane
    sigmoid(core, i, 2 * n)
    tanh(core, g, g, n)
    sigmoid(core, o, n)
    flat_binary(core, MUL, room.c_new, f, c, n, FP32)
    flat_binary(core, MUL, room.spare, i, g, n, FP32)
    flat_binary(core, ADD, room.c_new, room.c_new, room.spare, n, FP32)
    blank(core, room, cell, t, room.c_new, 1)
    tanh(core, room.spare, room.c_new, n)
    flat_binary(core, MUL, room.spare, room.spare, o, n, FP32)
    flat_convert(core, room.h_new, FP16, room.spare, FP32, n)
    blank(core, room, cell, t, room.gates, GATES)
    flat_convert(core, room.kept, FP16, room.gates, FP32, GATES * n)


@emits
def store_state(core: Any, room: Any, cell: Any, t: Any) -> None:
    """Write the results of a tile to their places."""
    columns, gap, at = t.n // EDGE, cell.rows - t.m, t.n_at * cell.rows + t.m_at * EDGE
    data_move(core, cell.c_new + at * 4, room.c_new, columns, t.m * 2, 0, gap * 2)
    data_move(core, cell.h_new + at * 2, room.h_new, columns, t.m, 0, gap)
    for gate in range(GATES):
        target = cell.gates + (gate * cell.rows * cell.width + at) * 2
        data_move(core, target, room.kept + gate * t.m * t.n * 2, columns, t.m, 0, gap)


@kernel(LstmShape, LstmTiling, _operands, _reference, macs)
def lstm_cell(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, x: int, h: int, c: int, w: int, u: int, bias: int, h_new: int, c_new: int, gates: int,
    shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """c_new[m, n] = f * c + i * g; h_new[m, n] = o * tanh(c_new); the gates are kept for the gradient.

    i, f, o = sigmoid and g = tanh of x[m, k] @ w[gate, k, n] + h[m, n] @ u[gate, n, n] + bias[gate, n].
    """
    edges = (whole(core, shape.m, shape.m), whole(core, shape.n, shape.n), whole(core, shape.k, shape.k))
    cell = Cell(x, h, c, w, u, bias, h_new, c_new, gates, shape.k, shape.m, shape.n, *edges)
    m0, n0 = whole(core, tiling.m0, cell.rows), whole(core, tiling.n0, cell.width)
    l1_k = whole(core, tiling.l1_k, max(cell.depth, cell.width))
    at = open_levels(core, m0, n0, l1_k, whole(core, tiling.k0, l1_k), tiling.slots)
    room = open_room(core, m0, n0, tiling.slots)
    columns = (cell.width + n0 - 1) // n0
    tiles = (cell.rows + m0 - 1) // m0 * columns
    for tile in range(share_start(core, tiles, 1), share_end(core, tiles, 1)):
        m_at, n_at = tile // columns * m0, tile % columns * n0
        t = Tile(m_at, n_at, min(m0, cell.rows - m_at), min(n0, cell.width - n_at))
        multiply(core, at, cell, t)
        slot = load_state(core, room, cell, t)
        acc = at.l0c + use(core, at.q_acc) * at.l0c_bytes
        l0c_to_ub(core, room.gates, acc, 1, GATES * t.n // EDGE * t.m // EDGE)
        free(core, at.q_acc)
        add_bias(core, room, cell, t, slot)
        fill(core, room.q_out)
        update_state(core, room, cell, t, room.c + slot * room.plane)
        free(core, room.q_in)
        filled(core, room.q_out)
        use(core, room.q_out)
        store_state(core, room, cell, t)
        free(core, room.q_out)
    for number in range(room.q_out, at.q_l1 - 1, -1):
        close(core, number)
