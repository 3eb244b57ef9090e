"""Loads of a matrix product: panels from GM to L1, pieces of them from L1 to L0A and L0B.

Operands of fp32 pass UB, where the vector unit cuts each number into two of fp16.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, data_move, load2d
from kernels.lang.emits import emits
from kernels.lang.flat import flat_convert
from kernels.lang.queues import fill, filled, free, use
from kernels.matmul_job import Matrices, Step
from kernels.matmul_results import add_scaled
from kernels.pieces.columns import load_columns

FRACTAL, BLOCK = 512, 32
CUT_ROWS = 256
"""How many rows of 16 fp32 numbers are cut into halves at once."""


class Buffers(NamedTuple):
    """Where a core keeps its tiles; a slot of each is so many bytes."""

    l1_a: int
    l1_b: int
    l0a: int
    l0b: int
    l0c: int
    bias: int
    raw: int
    halves: int
    l1_a_bytes: int
    l1_b_bytes: int
    l0a_bytes: int
    l0b_bytes: int
    l0c_bytes: int


class Queues(NamedTuple):
    """The hand-offs: to L1, to L0, the first of the accumulators, bias, fp32 to UB and on to L1."""

    l1: int
    l0: int
    acc: int
    bias: int
    raw: int
    cut: int


class Panel(NamedTuple):
    """A tile of a matrix in GM: its first row, its edges, the rows of the matrix, its element."""

    row: int
    height: int
    width: int
    all_rows: int
    item: int
    edge: int


class Piece(NamedTuple):
    """What one instruction of the cube multiplies: panels in L1, where in them, whether the result adds."""

    a: int
    b: int
    acc: int
    at: int
    depth: int
    column: int
    width: int
    adds: int


class Grid(NamedTuple):
    """Fractals by two indices: how many of each, and how far apart in the target and in the source."""

    outer: int
    inner: int
    dst_outer: int
    dst_inner: int
    src_outer: int
    src_inner: int


@emits
def load_panel(core: Any, at: Buffers, q: Queues, l1: int, gm: int, panel: Panel) -> None:
    """Bring an NZ tile [height, width], or the halves of one of fp32, at a row of a matrix to L1."""
    if panel.item < 4:
        first, columns = gm + panel.row * BLOCK, panel.width // panel.edge
        load_columns(core, l1, first, columns, panel.height, panel.all_rows)
        return
    group = max(1, CUT_ROWS // panel.height)  # columns of fractals that come together
    for c1 in range(0, panel.width // 16, group):
        columns = min(group, panel.width // 16 - c1)
        for row in range(0, panel.height, CUT_ROWS):
            source = gm + (c1 * panel.all_rows + panel.row + row) * 64
            target = l1 + (c1 * panel.height + row) * BLOCK
            cut(core, at, q, target, source, panel, columns, min(CUT_ROWS, panel.height - row))


@emits
def cut(core: Any, at: Buffers, q: Queues, l1: int, gm: int, panel: Panel, columns: int, rows: int) -> None:
    """Bring columns of fp32 fractals to L1 as two fp16 tiles: hi and, one panel further on, lo = x - hi."""
    raw = at.raw + fill(core, q.raw) * CUT_ROWS * 64
    load_columns(core, raw, gm, columns, rows * 2, panel.all_rows * 2)
    filled(core, q.raw)
    use(core, q.raw)
    hi, n = at.halves + fill(core, q.cut) * CUT_ROWS * 64, columns * rows * 16
    lo = hi + CUT_ROWS * 32
    flat_convert(core, hi, FP16, raw, FP32, n)
    add_scaled(core, raw, hi, -1.0, n)
    flat_convert(core, lo, FP16, raw, FP32, n)
    free(core, q.raw)
    filled(core, q.cut)
    use(core, q.cut)
    for half in range(2):
        target = l1 + half * panel.height * panel.width * 2
        data_move(core, target, hi + half * CUT_ROWS * 32, columns, rows, dst_gap=panel.height - rows)
    free(core, q.cut)


@emits
def load_step(core: Any, at: Buffers, q: Queues, x: Matrices, s: Step) -> None:
    """Bring a[m, k] and b[k, n] of a step to a slot of L1, as they are stored, and a tile's bias to UB."""
    slot = fill(core, q.l1)
    tile_a, tile_b = at.l1_a + slot * at.l1_a_bytes, at.l1_b + slot * at.l1_b_bytes
    a, b = x.a + s.batch * x.a_step, x.b + s.batch * x.b_step
    if x.trans_a != 0:
        panel = Panel(s.k_at, s.k, s.m, x.k_padded, x.item, x.edge)
        load_panel(core, at, q, tile_a, a + s.m_at * x.k_padded * x.item, panel)
    else:
        panel = Panel(s.m_at, s.m, s.k, x.m, x.item, x.edge)
        load_panel(core, at, q, tile_a, a + s.k_at * x.m * x.item, panel)
    if x.trans_b != 0:
        panel = Panel(s.n_at, s.n, s.k, x.n, x.item, x.edge)
        load_panel(core, at, q, tile_b, b + s.k_at * x.n * x.item, panel)
    else:
        panel = Panel(s.k_at, s.k, s.n, x.k_padded, x.item, x.edge)
        load_panel(core, at, q, tile_b, b + s.n_at * x.k_padded * x.item, panel)
    filled(core, q.l1)
    if x.bias >= 0 and s.is_first != 0:
        fill(core, q.bias)
        data_move(core, at.bias, x.bias + s.n_at * 4, 1, s.n * 4 // BLOCK)
        filled(core, q.bias)


@emits
def load_grid(core: Any, dst: int, src: int, grid: Grid, transpose: int) -> None:
    """Bring fractals to L0A or L0B with the fewest instructions: along the longer index, or all at once."""
    g = grid
    if g.dst_outer == g.inner * g.dst_inner and g.src_outer == g.inner * g.src_inner:
        g = Grid(1, g.outer * g.inner, 0, g.dst_inner, 0, g.src_inner)
    elif g.inner < g.outer:
        g = Grid(g.inner, g.outer, g.dst_inner, g.dst_outer, g.src_inner, g.src_outer)
    for outer in range(g.outer):
        for done in range(0, g.inner, 255):
            to = dst + (outer * g.dst_outer + done * g.dst_inner) * FRACTAL
            start = src + (outer * g.src_outer + done * g.src_inner) * FRACTAL
            load2d(core, to, start, min(255, g.inner - done), g.src_inner, transpose, g.dst_inner - 1)


@emits
def load_a(core: Any, l0a: int, x: Matrices, s: Step, p: Piece) -> None:
    """Bring a[m, depth] of the panel a[m, k] in L1 to L0A as ZZ."""
    m1, k1 = s.m // 16, p.depth // x.edge
    if x.trans_a != 0:  # the panel is (k, m): fractals (m1, k1), each to be transposed
        load_grid(core, l0a, p.a + p.at // 16 * FRACTAL, Grid(m1, k1, k1, 1, s.k // 16, 1), 1)
    else:  # fractals (k1, m1)
        load_grid(core, l0a, p.a + p.at // x.edge * m1 * FRACTAL, Grid(m1, k1, k1, 1, 1, m1), 0)


@emits
def load_b(core: Any, l0b: int, x: Matrices, s: Step, p: Piece) -> None:
    """Bring b[depth, width] of the panel b[k, n] in L1 to L0B as ZN."""
    n1, k1 = p.width // 16, p.depth // x.edge
    if x.trans_b != 0:  # the panel is (n, k): fractals (k1, n1), already column-major for the cube
        first = p.b + (p.at // x.edge * (s.n // 16) + p.column // 16) * FRACTAL
        load_grid(core, l0b, first, Grid(k1, n1, n1, 1, s.n // 16, 1), 0)
    else:  # the panel is (k, n): fractals (n1, k1), each to be transposed
        first = p.b + (p.column // 16 * (s.k // 16) + p.at // 16) * FRACTAL
        load_grid(core, l0b, first, Grid(k1, n1, n1, 1, 1, s.k // 16), 1)
