"""How long a matrix product takes with a tiling, estimated from the figures of a chip.

Model: a core walks through the steps of its first tile as the pipeline does (loads wait for a free slot of
L1, the cube for what is loaded); every further tile takes what the slowest of its pipes takes. All cores
together get no more than L2 and device memory give. What the estimate leaves out is that transfers of cores
disturb each other for moments, and whose lines L2 has lost.
"""

from functools import lru_cache
from typing import NamedTuple, Protocol

from davinci_sim.platforms import Platform
from kernels.rules import overlapped

EDGE = 16
FLAG_CYCLES = 4
"""What the flags around one product take in a pipe."""
CUT_ELEMENTS, CUT_CYCLES = 4096, 270
"""How many fp32 numbers come at once to be cut into halves, and what the vector unit takes for them.

Estimates only rank tilings; these cycles are those of the 910A, simulated.
"""
KEPT = 0.75
"""Operands of at most this part of L2 are fetched once."""


class Problem(Protocol):
    """What the estimate asks of a shape."""

    @property
    def targets(self) -> int:
        """Matrices of c."""

    @property
    def depth(self) -> int:
        """Length of the inner axis that a sum takes, in whole fractals."""

    @property
    def item(self) -> int:
        """Bytes of an element of a and b."""

    @property
    def out_item(self) -> int:
        """Bytes of an element of c."""

    @property
    def edge(self) -> int:
        """Elements of a row of a fractal along k."""

    @property
    def padded(self) -> tuple[int, int, int]:
        """m, k and n in whole fractals."""

    @property
    def read_bytes(self) -> int:
        """Bytes of a and b."""

    @property
    def vector_cycles(self) -> int:
        """Cycles of the vector unit for 64 results, beyond their way out of L0C."""


class Cut(NamedTuple):
    """The fields of a tiling that take part."""

    m0: int
    k0: int
    n0: int
    l1_k: int
    head_k: int
    part: int
    band: int
    stage: int
    stages: int


class Speeds(NamedTuple):
    """The figures of a chip that take part: bytes a cycle, and heads in cycles."""

    cores: int
    path: int
    l2: int
    memory: int
    l2_bytes: int
    store: int
    drain: int
    l0a: int
    l0b: int
    load_head: int
    store_head: int
    l0a_head: int
    l0b_head: int
    mmad_head: int
    conflict: int
    block_start: int


@lru_cache(maxsize=64)
def speeds(platform: Platform) -> Speeds:
    """Return the figures of a chip as integers."""
    p = platform
    path = min(int(p.l2_read_bytes_per_cycle), int(p.gm_to_l1_bytes_per_cycle))
    store = min(int(p.l2_write_bytes_per_cycle), int(p.ub_to_gm_bytes_per_cycle))
    figures = (
        p.l2_bytes, store, p.l0c_to_ub_bytes_per_cycle, p.load2d_l0a_bytes_per_cycle,
        p.load2d_l0b_bytes_per_cycle, p.gm_to_l1_head_cycles, p.gm_write_head_cycles,
        p.load2d_l0a_head_cycles, p.load2d_l0b_head_cycles, p.mmad_head_cycles, p.mmad_l0c_conflict,
        p.block_start_cycles,
    )  # fmt: skip
    shared = int(p.l2_chip_bytes_per_cycle), int(p.hbm_bytes_per_cycle)
    return Speeds(int(p.ai_cores), path, *shared, *map(int, figures))


class Estimate:
    """The times of one tiling."""

    def __init__(self, cut: Cut, shape: Problem, chip: Speeds) -> None:
        """Note what all the times have in common."""
        self.cut, self.shape, self.chip = cut, shape, chip
        (self.m, _, self.n), self.k = shape.padded, shape.depth
        self.rows, self.columns = -(-self.m // cut.m0), -(-self.n // cut.n0)
        self.tiles = shape.targets * self.rows * self.columns
        self.active = min(chip.cores, self.tiles)
        self.last = (cut.n0 - 1) % cut.part + 1  # columns of the last part
        self.path = min(chip.path, chip.l2 / self.active)
        self.l0_item = min(2, shape.item)
        self.whole_piece = self._pieces(cut.k0)

    def _pieces(self, depth: int) -> float:
        """Return the cycles of the products of all parts, k0 deep."""
        whole = self.cut.n0 // self.cut.part
        cycles = whole * self._piece(self.cut.part, depth)
        if self.last < self.cut.part:
            cycles += self._piece(self.last, depth)
        return cycles * (3 if self.shape.item == 4 else 1)

    def _piece(self, width: int, depth: int) -> float:
        """Return the cycles of one product: those of the cube, or of the loads into L0A and L0B."""
        chip, cut = self.chip, self.cut
        m1, n1, k1 = cut.m0 // EDGE, width // EDGE, -(-depth // self.shape.edge)
        cube = m1 * n1 * k1 + chip.mmad_head
        if chip.conflict and (m1 % 2 or n1 % 2):
            cube += max(0, k1 - 2)
        size_a, size_b = cut.m0 * depth * self.l0_item, width * depth * self.l0_item
        load_a = size_a / chip.l0a + min(m1, k1) * chip.l0a_head
        load_b = size_b / chip.l0b + min(n1, k1) * chip.l0b_head
        return max(cube, load_a + load_b) + FLAG_CYCLES

    def multiply(self, depth: int) -> float:
        """Return the cycles of the cube for a step of that depth."""
        whole, rest = divmod(depth, self.cut.k0)
        return self.whole_piece * (whole + rest / self.cut.k0)

    def load(self, depth: int) -> float:
        """Return the cycles of the loads of a step."""
        elements = (self.cut.m0 + self.cut.n0) * depth
        if self.shape.item < 4:
            return 2 * self.chip.load_head + elements * self.shape.item / self.path
        moved = elements * 4 / self.path + elements / CUT_ELEMENTS * self.chip.load_head
        return max(moved, elements / CUT_ELEMENTS * CUT_CYCLES)

    def leave(self) -> tuple[float, float]:
        """Return the cycles that a tile takes from L0C to UB, and from there to GM."""
        elements = self.cut.m0 * self.cut.n0
        stages = -(-elements // self.cut.stage)
        drain = elements * 4 / self.chip.drain + elements * self.shape.vector_cycles / 64
        return drain, elements * self.shape.out_item / self.chip.store + stages * self.chip.store_head

    def steps(self) -> list[int]:
        """Return the lengths of the steps of the first tile."""
        l1_k, head = self.cut.l1_k, self.cut.head_k
        later = [min(l1_k, self.k - at) for at in range(l1_k, self.k, l1_k)]
        first = min(l1_k, self.k)
        return ([head, first - head] if head < l1_k else [first]) + later

    def first_tile(self) -> float:
        """Return when the cube has done its first tile, by walking through its steps."""
        loaded = freed = done = 0.0
        for depth in self.steps():
            loaded = max(loaded, freed) + self.load(depth)
            freed, done = done, max(done, loaded) + self.multiply(depth)
        return done

    def stall(self) -> float:
        """Return how long the cube waits for accumulators that have yet to leave when a tile begins.

        A part must have left when the next tile comes to it: through UB, as far as that has room, and to GM.
        """
        cut, (drain, store) = self.cut, self.leave()
        if cut.part >= cut.n0:
            return 0.0
        end = self.last / cut.n0
        first = self.multiply(min(cut.l1_k, self.k)) * (1 - end)
        last = self.multiply((self.k - 1) % cut.l1_k + 1) * end
        too_many = max(0.0, 1 - cut.stages * cut.stage / (cut.m0 * cut.n0)) * store
        early = max(0.0, drain * cut.part / cut.n0 - last)
        return max(early + max(0.0, drain * end - first), too_many + drain * end / 2 - first - last)

    def further_tile(self) -> float:
        """Return what the slowest pipe takes for a tile; the cores share L2."""
        chip, cut = self.chip, self.cut
        load = self.load(cut.l1_k) * self.k / cut.l1_k
        bytes_in = (cut.m0 + cut.n0) * self.k * self.shape.item
        through_l2 = (bytes_in + cut.m0 * cut.n0 * self.shape.out_item) * self.active / chip.l2
        return max(self.multiply(self.k) + self.stall(), load, through_l2, *self.leave())

    def memory(self) -> float:
        """Return the cycles of device memory."""
        shape, cut, chip = self.shape, self.cut, self.chip
        read: float = shape.read_bytes
        if shape.targets == 1 and read > KEPT * chip.l2_bytes:
            wide = min(self.columns, -(-self.active // cut.band)) * cut.n0 * self.k * shape.item
            band = cut.band * cut.m0 * self.k * shape.item
            waves = self.tiles / chip.cores
            once = self.m * self.k * shape.item if band < chip.l2_bytes / 2 else waves * band
            read = max(read, once + waves * wide)
        written = shape.targets * self.m * self.n * shape.out_item
        kept = chip.l2_bytes * written / (read + written)  # L2 holds what came last, read or written
        return (read + max(0.0, written - kept)) / chip.memory

    def end(self) -> float:
        """Return what comes after the last product: the last part leaves, and before it the others."""
        cut, (drain, store) = self.cut, self.leave()
        part, stages = self.last / cut.n0, -(-cut.m0 * self.last // cut.stage)
        last = part * max(drain / stages + store, drain + store / stages)
        return max(last, drain / stages + store - part * self.multiply(min(cut.l1_k, self.k)))

    def cycles(self, computed: float, blocks: int) -> float:
        """Return the cycles of all, given those that the last of the blocks computes.

        Where cores and device memory take about as long, they wait for each other now and then.
        """
        alone = self.chip.block_start * (blocks - 1) + computed
        memory = self.memory() + self.load(self.cut.head_k)
        return overlapped(alone, memory) + self.end()

    def single(self, blocks: int) -> float:
        """Return when so many blocks end that have one tile each."""
        return self.cycles(self.first_tile(), blocks)

    def rough(self) -> float:
        """Return the cycles as if the first tile did not wait after its first step."""
        rounds = -(-self.tiles // self.chip.cores)
        first = self.load(min(self.cut.l1_k, self.k))
        return self.cycles(first + rounds * self.further_tile(), self.active)

    def walked(self) -> float:
        """Return the cycles, the first tile step by step."""
        further = -(-self.tiles // self.chip.cores) - 1
        return self.cycles(self.first_tile() + further * self.further_tile(), self.active)
