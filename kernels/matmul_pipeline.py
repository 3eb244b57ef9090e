"""The pipeline of a matrix product on the cube: GM to L1, L1 to L0A and L0B, L0C, and out through UB.

A core walks over its tiles c[m0, n0], and in each over steps along k. A step brings a panel of a and one of b
to L1; loads are emitted a step ahead. A tile has parts, side by side along n, each with an accumulator of
its own: in the last step of a tile one part after the other is ready, and leaves while the cube works on the
next one. Accumulators belong to the vector unit, which lends them to the cube: empty, or full of bias.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, INT8, INT32, broadcast_ub_to_l0c, mmad
from kernels.lang.buffers import L0A, L0B, L0C, L1, UB, alloc
from kernels.lang.emits import emits
from kernels.lang.queues import MTE1, MTE2, MTE3, M, V, close, fill, filled, free, queue, use
from kernels.matmul_job import Job, Matrices, Step, job_of, matrices, step_at, steps_of
from kernels.matmul_loads import CUT_ROWS, Buffers, Piece, Queues, load_a, load_b, load_step
from kernels.matmul_results import (
    NOTHING,
    Epilogue,
    Given,
    Lent,
    Region,
    drain,
    epilogue_of,
    one_factor,
    stages_of,
)

ACCUMULATOR = 1024


class Core(NamedTuple):
    """All that stays the same on a core: operands, results, share, buffers and hand-offs."""

    x: Matrices
    e: Epilogue
    job: Job
    at: Buffers
    q: Queues


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
