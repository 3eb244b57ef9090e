"""The pipeline of a matrix product on the cube: GM to L1, L1 to L0A and L0B, L0C, and out through UB.

A core walks over its tiles c[m0, n0], and in each over steps along k. A step brings a panel of a and one of b
to L1; loads are emitted a step ahead. A tile has parts, side by side along n, each with an accumulator of
its own: in the last step of a tile one part after the other is ready, and leaves while the cube works on the
next one. Accumulators belong to the vector unit, which lends them to the cube: empty, or full of bias.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, INT8, INT32, broadcast_ub_to_l0c, data_move, load2d, mmad
from kernels.lang.buffers import L0A, L0B, L0C, L1, UB, alloc, block_dim, block_idx
from kernels.lang.emits import emits
from kernels.lang.flat import flat_convert, size_of
from kernels.lang.queues import MTE1, MTE2, MTE3, M, V, close, fill, filled, free, queue, use
from kernels.matmul_results import (
    NOTHING,
    Epilogue,
    Given,
    Lent,
    Region,
    add_scaled,
    drain,
    epilogue_of,
    one_factor,
    stages_of,
)

FRACTAL, ACCUMULATOR, BLOCK = 512, 1024, 32
NO_SHARE, SHARED_B, SHARED_A = range(3)
"""Which operand all matrices of a batch have in common, as the option `shared` of a shape."""
CUT_ROWS = 256
"""How many rows of 16 fp32 numbers are cut into halves at once."""


class Matrices(NamedTuple):
    """Operands in GM; m, n and k_padded are whole fractals, k is the exact inner axis."""

    a: int
    b: int
    bias: int  # -1: none
    m: int
    n: int
    k_padded: int
    k: int
    trans_a: int
    trans_b: int
    item: int  # bytes of an element of a and b
    edge: int  # elements of a row of a fractal
    a_step: int  # bytes from one matrix of the batch to the next, 0 where all share one
    b_step: int


class Job(NamedTuple):
    """What a core does: every `stride`-th tile from `first` on, and how tiles are cut."""

    m0: int
    n0: int
    part: int  # columns of a part
    parts: int
    ring: int  # accumulators
    k0: int
    l1_k: int
    head: int  # length of the first step of all, 0: as the others
    steps: int  # of a tile
    splits: int  # parts of the inner axis whose sums stay apart
    batches: int
    rows: int
    columns: int
    band: int  # tiles that lie below each other are walked through in bands of so many
    first: int
    stride: int
    tiles: int  # of this core
    slots: int  # panels of each operand in L1


class Step(NamedTuple):
    """A step and its tile by their numbers on this core, where the tile lies, a part of its inner axis."""

    number: int
    tile: int
    step: int  # of the tile
    batch: int  # of a and b
    target: int  # matrix of c
    m_at: int
    n_at: int
    m: int
    n: int
    k_at: int
    k: int
    is_first: int
    is_last: int  # the tile is complete after this step


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


class Core(NamedTuple):
    """All that stays the same on a core: operands, results, share, buffers and hand-offs."""

    x: Matrices
    e: Epilogue
    job: Job
    at: Buffers
    q: Queues


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
def matrices(core: Any, g: Given, shape: Any) -> Any:
    """Gather the operands with their edges padded to fractals."""
    m, n = (shape.m + 15) // 16 * 16, (shape.n + 15) // 16 * 16
    edge, item = 16, size_of(core, shape.dtype)
    if shape.dtype == INT8:
        edge, item = 32, 1
    k = (shape.k + edge - 1) // edge * edge
    a_step = 0 if shape.shared == SHARED_A else m * k * item
    b_step = 0 if shape.shared == SHARED_B else k * n * item
    stored = (shape.k, shape.trans_a, shape.trans_b, item, edge, a_step, b_step)
    return Matrices(g.a, g.b, g.bias, m, n, k, *stored)


@emits
def buffers_of(core: Any, x: Matrices, job: Job) -> Any:
    """Allocate the tiles of every level, and UB for the bias and for fp32 on its way."""
    half, slots = min(2, x.item), job.slots
    l1_a_bytes, l1_b_bytes = job.m0 * job.l1_k * x.item, job.l1_k * job.n0 * x.item
    l0a_bytes, l0b_bytes = job.m0 * job.k0 * half, job.k0 * job.part * half
    l0c_bytes = job.m0 * job.part * 4
    l1_a = alloc(core, L1, slots * l1_a_bytes, slots)
    l1_b = alloc(core, L1, slots * l1_b_bytes, slots)
    l0a = alloc(core, L0A, 2 * l0a_bytes, 2)
    l0b = alloc(core, L0B, 2 * l0b_bytes, 2)
    l0c = alloc(core, L0C, job.ring * l0c_bytes, job.ring)
    bias = alloc(core, UB, job.n0 * 4 if x.bias >= 0 else 0)
    cut_bytes = CUT_ROWS * 64 if x.item == 4 else 0
    raw, halves = alloc(core, UB, 2 * cut_bytes, 2), alloc(core, UB, 2 * cut_bytes, 2)
    sizes = (l1_a_bytes, l1_b_bytes, l0a_bytes, l0b_bytes, l0c_bytes)
    return Buffers(l1_a, l1_b, l0a, l0b, l0c, bias, raw, halves, *sizes)


@emits
def open_queues(core: Any, x: Matrices, job: Job) -> Any:
    """Open the hand-offs; every accumulator has one of its own."""
    is_cut = x.item == 4
    l1 = queue(core, MTE3 if is_cut else MTE2, MTE1, job.slots)
    l0, acc = queue(core, MTE1, M, 2), queue(core, V, M, 1)
    for _ in range(job.ring - 1):
        queue(core, V, M, 1)
    bias = queue(core, MTE2, V, 1) if x.bias >= 0 else NOTHING
    raw = queue(core, MTE2, V, 2) if is_cut else NOTHING
    cut = queue(core, V, MTE3, 2) if is_cut else NOTHING
    return Queues(l1, l0, acc, bias, raw, cut)


@emits
def job_of(core: Any, x: Matrices, batches: int, splits: int, tiling: Any) -> Any:
    """Return the share of this core."""
    m0, n0 = min(tiling.m0, x.m), min(tiling.n0, x.n)
    part = min(tiling.part, n0)
    parts = (n0 + part - 1) // part
    fractals = x.k_padded // x.edge
    longest, shortest = (fractals + splits - 1) // splits, fractals // splits
    steps = min(shortest, (longest * x.edge + tiling.l1_k - 1) // tiling.l1_k)
    l1_k = (longest + steps - 1) // steps * x.edge
    head = tiling.head_k if tiling.head_k < shortest // steps * x.edge else 0
    rows, columns = (x.m + m0 - 1) // m0, (x.n + n0 - 1) // n0
    first, stride = block_idx(core), block_dim(core)
    tiles = (splits * batches * rows * columns - first + stride - 1) // stride
    return Job(
        m0, n0, part, parts, max(2, parts), min(tiling.k0, l1_k), l1_k, head, steps, splits, batches,
        rows, columns, min(tiling.band, rows), first, stride, tiles, tiling.slots,
    )  # fmt: skip


@emits
def steps_of(core: Any, job: Job) -> int:
    """Return how many steps a core has: the first one may be cut in two."""
    return int(job.tiles * job.steps + min(job.head, 1))


@emits
def step_at(core: Any, x: Matrices, job: Job, number: int) -> Any:
    """Return a step by its number on this core; steps differ by at most one fractal in length."""
    regular = max(0, number - min(job.head, 1))
    tile, step = regular // job.steps, regular % job.steps
    index = job.first + tile * job.stride
    target, place = index // (job.rows * job.columns), index % (job.rows * job.columns)
    split, fractals = target // job.batches, x.k_padded // x.edge
    begin = fractals * split // job.splits
    length = fractals * (split + 1) // job.splits - begin
    k_at = (begin + length * step // job.steps) * x.edge
    k = (begin + length * (step + 1) // job.steps) * x.edge - k_at
    is_first, is_last = 1 if step == 0 else 0, 1 if step == job.steps - 1 else 0
    if number < min(job.head, 1):
        k, is_last = job.head, 0
    elif regular == 0 and job.head > 0:
        k_at, k, is_first = k_at + job.head, k - job.head, 0
    band = place // (job.band * job.columns) * job.band
    height = min(job.band, job.rows - band)
    inside = place - band * job.columns
    m_at, n_at = (band + inside % height) * job.m0, inside // height * job.n0
    m, n = min(job.m0, x.m - m_at), min(job.n0, x.n - n_at)
    where = (target % job.batches, target, m_at, n_at, m, n)
    return Step(number, tile, step, *where, k_at, k, is_first, is_last)


@emits
def load_panel(core: Any, at: Buffers, q: Queues, l1: int, gm: int, panel: Panel) -> None:
    """Bring an NZ tile [height, width], or the halves of one of fp32, at a row of a matrix to L1."""
    if panel.item < 4:
        first, gap = gm + panel.row * BLOCK, panel.all_rows - panel.height
        data_move(core, l1, first, panel.width // panel.edge, panel.height, src_gap=gap)
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
    data_move(core, raw, gm, columns, rows * 2, src_gap=(panel.all_rows - rows) * 2)
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


@emits
def lend(core: Any, w: Core, s: Step, column: int, width: int, slot: int) -> None:
    """Hand an accumulator of some columns of a tile to the cube, filled with the rows bias[width], if any."""
    if w.x.bias >= 0:
        if column == 0:
            use(core, w.q.bias)
        acc, kind = w.at.l0c + slot * w.at.l0c_bytes, INT32 if w.e.is_whole != 0 else FP32
        for m1 in range(s.m // 16):
            to, row = acc + m1 * ACCUMULATOR, w.at.bias + column * 4
            broadcast_ub_to_l0c(core, to, row, width // 16, 1, 0, s.m // 16 - 1, kind)
        if column + width == s.n:
            free(core, w.q.bias)
    filled(core, w.q.acc + slot)
    use(core, w.q.acc + slot)


@emits
def multiply_piece(core: Any, w: Core, s: Step, p: Piece) -> None:
    """Add a[m, depth] @ b[depth, width] of panels in L1 to an accumulator."""
    half = fill(core, w.q.l0)
    l0a, l0b = w.at.l0a + half * w.at.l0a_bytes, w.at.l0b + half * w.at.l0b_bytes
    load_a(core, l0a, w.x, s, p)
    load_b(core, l0b, w.x, s, p)
    filled(core, w.q.l0)
    use(core, w.q.l0)
    exact = min(p.depth, w.x.k - s.k_at - p.at)
    mmad(core, p.acc, l0a, l0b, s.m, exact, p.width, p.adds, 0, 0, INT8 if w.x.item == 1 else FP16)
    free(core, w.q.l0)


@emits
def accumulator(core: Any, job: Job, s: Step, column: int) -> int:
    """Return which accumulator a part of a tile has."""
    return int((s.tile * job.parts + column // job.part) % job.ring)


@emits
def departures(core: Any, w: Core, s: Step, old: Region) -> tuple[int, int]:
    """Return which stages of an older part leave during a step: all of them, if its accumulator is wanted.

    A tile in one part leaves while the cube works on the whole of the next one.
    """
    stages = stages_of(core, w.e, old)
    if w.job.parts > 1:
        return 0, stages
    return stages * s.step // w.job.steps, stages * (s.step + 1) // w.job.steps


@emits
def multiply_part(core: Any, w: Core, s: Step, column: int, old: Region) -> None:
    """Multiply for a part of a tile, while an older part leaves; of fp32 hi hi, hi lo and lo hi are added."""
    x, job, at = w.x, w.job, w.at
    width, used, l1 = min(job.part, s.n - column), accumulator(core, job, s, column), s.number % job.slots
    a, b = at.l1_a + l1 * at.l1_a_bytes, at.l1_b + l1 * at.l1_b_bytes
    steps, products = (s.k + job.k0 - 1) // job.k0, 3 if x.item == 4 else 1
    done, stages = departures(core, w, s, old)
    if old.slot == used:
        drain(core, w.e, old, done, stages)
        done = stages
    if s.is_first != 0:
        lend(core, w, s, column, width, used)
    for number in range(products * steps):
        product, place = number // steps, number % steps * job.k0
        part_a = a + (s.m * s.k * 2 if product == 2 else 0)
        part_b = b + (s.n * s.k * 2 if product == 1 else 0)
        adds = 1 if s.is_first == 0 or number > 0 or x.bias >= 0 else 0
        depth, acc = min(job.k0, s.k - place), at.l0c + used * at.l0c_bytes
        multiply_piece(core, w, s, Piece(part_a, part_b, acc, place, depth, column, width, adds))
        until = stages - (stages - done) * (products * steps - number - 1) // (products * steps - number)
        drain(core, w.e, old, done, until)
        done = until
    if s.is_last != 0:
        free(core, w.q.acc + used)


@emits
def multiply_step(core: Any, w: Core, s: Step, old: Region) -> Any:
    """Multiply all parts of a step; return the part that has yet to leave afterwards."""
    use(core, w.q.l1)
    for column in range(0, s.n, w.job.part):
        multiply_part(core, w, s, column, old)
        if w.job.parts > 1:
            old = Region(s.target, s.m_at, s.n_at, s.m, 0, NOTHING)
        if s.is_last != 0:
            used, width = accumulator(core, w.job, s, column), min(w.job.part, s.n - column)
            old = Region(s.target, s.m_at, s.n_at + column, s.m, width, used)
    free(core, w.q.l1)
    return old


@emits
def multiply(core: Any, w: Core) -> None:
    """Compute this core's tiles; loads are emitted one step ahead if they have a slot of their own."""
    acc, ring = w.q.acc, w.job.ring
    for slot in range(ring):
        fill(core, acc + slot)
    steps, old = steps_of(core, w.job), Region(0, 0, 0, 0, 0, NOTHING)
    ahead = 1 if w.job.slots > 1 else 0
    for number in range(steps + ahead):
        if number < steps:
            load_step(core, w.at, w.q, w.x, step_at(core, w.x, w.job, number))
        if number >= ahead:
            old = multiply_step(core, w, step_at(core, w.x, w.job, number - ahead), old)
    drain(core, w.e, old, 0, stages_of(core, w.e, old))
    for slot in range(ring):
        filled(core, acc + slot)
        use(core, acc + slot)
        free(core, acc + slot)


@emits
def matrix_product(core: Any, g: Given, splits: int, shape: Any, tiling: Any) -> None:
    """Compute this block's share of a product, or of `splits` that each have a part of the inner axis."""
    x = matrices(core, g, shape)
    job = job_of(core, x, shape.b, splits, tiling)
    at = buffers_of(core, x, job)
    factor = one_factor(core, g.scale) if g.scales == 1 else NOTHING
    q = open_queues(core, x, job)
    e = epilogue_of(core, g, x.m, x.n, Lent(at.l0c, at.l0c_bytes, q.acc, factor), shape, tiling)
    multiply(core, Core(x, e, job, at, q))
    for number in range(max(e.leaving, e.coming), q.l1 - 1, -1):
        close(core, number)
