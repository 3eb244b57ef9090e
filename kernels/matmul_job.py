"""What a core does of a matrix product: its tiles, and the steps along k in which it takes them."""

from typing import Any, NamedTuple

from davinci_sim.isa import INT8
from kernels.lang.buffers import block_dim, block_idx
from kernels.lang.emits import emits
from kernels.lang.flat import size_of
from kernels.matmul_results import Given

NO_SHARE, SHARED_B, SHARED_A = range(3)
"""Which operand all matrices of a batch have in common, as the option `shared` of a shape."""


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
    lean: int  # by how much each row of tiles is lower than the one above
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
def whole(core: Any, length: int, unit: int, most: int) -> int:
    """Return a length in whole units, at most `most`."""
    return int(min((length + unit - 1) // unit * unit, most))


@emits
def height_of(core: Any, row: int, m0: int, lean: int) -> int:
    """Return the height of a row of tiles: each is by `lean` lower than the one above, but at least 16."""
    return int(max(16, m0 - row * lean))


@emits
def row_start(core: Any, row: int, m0: int, lean: int) -> int:
    """Return where a row of tiles begins."""
    leaning = row if lean == 0 else min(row, (m0 - 16) // lean + 1)  # rows before this one, higher than 16
    return int(leaning * m0 - leaning * (leaning - 1) // 2 * lean + (row - leaning) * 16)


@emits
def rows_of(core: Any, m: int, m0: int, lean: int) -> int:
    """Return how many rows of tiles cover m."""
    rows = 1 if lean > 0 else (m + m0 - 1) // m0
    while row_start(core, rows, m0, lean) < m:
        rows += 1
    return rows


@emits
def job_of(core: Any, x: Matrices, batches: int, splits: int, tiling: Any) -> Any:
    """Return the share of this core."""
    m0, n0, lean = whole(core, tiling.m0, 16, x.m), whole(core, tiling.n0, 16, x.n), tiling.lean // 16 * 16
    part, k0 = whole(core, tiling.part, 16, n0), whole(core, tiling.k0, x.edge, x.k_padded)
    parts = (n0 + part - 1) // part
    fractals = x.k_padded // x.edge
    longest, shortest = (fractals + splits - 1) // splits, fractals // splits
    steps = min(shortest, (longest * x.edge + tiling.l1_k - 1) // tiling.l1_k)
    l1_k = (longest + steps - 1) // steps * x.edge
    head = whole(core, tiling.head_k, x.edge, x.k_padded)
    head = head if head < shortest // steps * x.edge else 0
    rows, columns = rows_of(core, x.m, m0, lean), (x.n + n0 - 1) // n0
    first, stride = block_idx(core), block_dim(core)
    tiles = (splits * batches * rows * columns - first + stride - 1) // stride
    return Job(
        m0, n0, part, parts, max(2, parts), min(k0, l1_k), l1_k, head, steps, splits, batches,
        rows, columns, min(tiling.band, rows), lean, first, stride, tiles, tiling.slots,
    )  # fmt: skip


@emits
def steps_of(core: Any, job: Job) -> int:
    """Return how many steps a core has: the first one may be cut in two."""
    return int(job.tiles * job.steps + min(job.head, 1, job.tiles))


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
    row, n_at = band + inside % height, inside // height * job.n0
    m_at = row_start(core, row, job.m0, job.lean)
    m, n = min(height_of(core, row, job.m0, job.lean), x.m - m_at), min(job.n0, x.n - n_at)
    where = (target % job.batches, target, m_at, n_at, m, n)
    return Step(number, tile, step, *where, k_at, k, is_first, is_last)
