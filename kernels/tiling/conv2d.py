"""Tilings of the pipeline that computes convolutions and their gradients to the input."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from math import gcd
from typing import Any, NamedTuple, Self

from davinci_sim.platforms import Platform
from kernels.lang.buffers import UB_GAP
from kernels.lang.shapes import Tiling
from kernels.pieces.where import BITS_BYTES
from kernels.tiling.conv2d_shape import (
    ACCUMULATOR_BYTES,
    BLOCK_BYTES,
    EDGE,
    FRACTAL_BYTES,
    ConvShape,
    Phase,
    Problem,
    StatisticsShape,
    ceil_div,
    even,
)
from kernels.tiling.least import Family, labelled, least
from kernels.tiling.together import least_together, loaded, together

SLOTS = 2
UB_BUFFERS = 5  # results, stage, landing images, bias and its padded copy: each may begin behind a gap
SCALE_BYTES = 512  # of a channel group
JOINED_BUFFERS = 5  # what joins, sums, the same arranged, zeros, bits
STATISTICS_BUFFERS, STATISTICS_BYTES = 9, 640  # of a channel group: lanes, and sums on their way out
CHUNK_BYTES = 65536
"""Weights that come to L1 at once, but at least one channel group: enough to hide a transfer's head."""
FLAG_CYCLES = 4
"""Slots that the flags of one step take in a pipe."""
UNHIDDEN = 0.4
"""The share of a load that shows where it is not begun ahead."""
MOST_PADDING = 255
"""Rows of padding that load3d takes; they are as many times more as images have rows that take turns."""
WHOLE_FRACTALS = (1, 2, 3, 4, 6, 8)
"""Tiles of so many times the rows whose positions fill fractals are tried."""
WIDTHS = (1, 2, 4, 8, 16)
"""Channel groups of an output tile that are tried."""
RANKED = 12
"""So many of the best estimates are worth a simulation."""
CORE_SHARES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class ConvTiling(Tiling):
    """How a convolution is cut; lengths in fractals or channel groups but for `rows` and `images`.

    A core works on a share of the dense convolutions, of the tiles and of the output channel groups:
    `group_cores` x `tile_cores` x `channel_cores`. A tile is `rows` rows of an image, or `images` whole
    images. Its output tile is m0 x n0 fractals; L0A holds m0 x k0 at a time, L0B kb x n0. Weights come
    to L1 by `chunk` channel groups; with `weight_slots` = 1 they all stay there, with 2 they pass by.
    `map_groups` channel groups of the map are in L1 at once: all of them, or a chunk.
    """

    group_cores: int
    tile_cores: int
    channel_cores: int
    images: int
    rows: int
    m0: int
    n0: int
    k0: int
    kb: int
    chunk: int
    map_groups: int
    weight_slots: int

    @classmethod
    def problem(cls, shape: ConvShape) -> Problem:
        """Return what the pipeline computes."""
        return Problem.forward(shape)

    @classmethod
    def default(cls, shape: ConvShape, platform: Platform) -> Self:
        """Return the tiling with the least estimated cycles."""
        return cls(*best(cls.problem(shape), platform))

    @classmethod
    def space(cls, shape: ConvShape, platform: Platform) -> Iterator[Self]:
        """Yield the default, variants that fit (fewer rows, smaller tiles), and the next best estimates."""
        first, problem = cls.default(shape, platform), cls.problem(shape)
        yield first
        variants = (
            {"rows": 1}, {"m0": 1}, {"m0": 3}, {"n0": 1}, {"k0": 1}, {"kb": first.k0}, {"weight_slots": 2},
            {"weight_slots": 2, "chunk": 1}, {"map_groups": 1, "chunk": 1}, {"images": 1},
            {"tile_cores": 1, "rows": problem.oh}, {"tile_cores": 1, "rows": problem.oh, "images": 3},
            {"group_cores": 1, "channel_cores": 1},
        )  # fmt: skip
        for changed in variants:
            made = replace(first, **changed)
            if made != first and fits(problem, made, platform):
                yield made
        for values in ranked(problem, platform)[1:]:
            yield cls(*values)

    def blocks(self, shape: ConvShape, platform: Platform) -> int:
        """Return one core per share."""
        return self.cores

    @property
    def cores(self) -> int:
        """Cores that take part."""
        return self.group_cores * self.tile_cores * self.channel_cores


@dataclass(frozen=True)
class BackwardInputTiling(ConvTiling):
    """How the gradient to the input is cut: as the windows over dy that it is."""

    @classmethod
    def problem(cls, shape: ConvShape) -> Problem:
        """Return what the pipeline computes."""
        return Problem.backward_input(shape)


@dataclass(frozen=True)
class StatisticsTiling(ConvTiling):
    """How a convolution with sums by channel is cut: a core has whole splits, a tile is of one split."""

    @classmethod
    def problem(cls, shape: Any) -> Problem:
        """Return what the pipeline computes."""
        return Problem.forward(shape, shape.splits)


def rows_of(p: Problem, t: ConvTiling) -> int:
    """Return the rows of a tile: no part of a phase, no more than there are."""
    return min(p.oh, ceil_div(t.rows, p.phases) * p.phases)


def tiles_of(p: Problem, t: ConvTiling) -> int:
    """Return how many tiles there are in a dense convolution."""
    return ceil_div(p.images, t.images) * ceil_div(p.oh, rows_of(p, t))


def tiles_of_core(p: Problem, t: ConvTiling) -> tuple[tuple[float, ConvTiling], ...]:
    """Return how many tiles a core has at most; of whole images the last ones, with fewer rows, apart."""
    most, of_image = ceil_div(tiles_of(p, t), t.tile_cores), ceil_div(p.oh, rows_of(p, t))
    left = p.oh % rows_of(p, t)
    if left == 0 or most % of_image:
        return ((most, t),)
    images = most // of_image
    return (images * (of_image - 1), t), (images, replace(t, rows=left))


def ub_bytes(p: Problem, t: ConvTiling) -> int:
    """Return what the results take in UB, with room for a bias."""
    piece = t.m0 * t.n0 * EDGE * p.position_bytes
    used = SLOTS * piece
    if p.phases > 1:
        used = piece + SLOTS * t.n0 * t.images * rows_of(p, t) * p.ow * p.position_bytes
    elif t.images > 1 and p.mixes:
        used += piece
    used += SLOTS * p.landing(t.chunk, t.images)[1]
    if p.is_scaled:
        used += t.m0 * t.n0 * ACCUMULATOR_BYTES + ceil_div(p.results, t.channel_cores) * SCALE_BYTES
    if p.splits:
        used += t.m0 * (t.n0 + 1) * ACCUMULATOR_BYTES + (STATISTICS_BUFFERS - UB_BUFFERS) * UB_GAP
        used += ceil_div(p.results, t.channel_cores) * STATISTICS_BYTES
    if p.joining:
        rows = t.n0 * t.images * rows_of(p, t) * p.ow * p.position_bytes
        used += (
            SLOTS * p.joining * (rows if p.phases > 1 else piece)
            + JOINED_BUFFERS * UB_GAP
            + p.keeps * BITS_BYTES
        )
        used += p.adds * (2 if t.images > 1 and p.mixes else 1) * t.m0 * t.n0 * ACCUMULATOR_BYTES
    return used + ceil_div(p.results, t.channel_cores) * 128 + UB_BUFFERS * UB_GAP


def fits(p: Problem, t: ConvTiling, platform: Platform) -> bool:
    """Tell whether every buffer of a tiling has room, and its images can be stacked."""
    if t.images > 1 and (rows_of(p, t) < p.oh or p.skips_rows or p.per_block > 1):
        return False
    if t.images > 1 and p.mixes and t.images * (p.kh - 1) * p.dilation > MOST_PADDING:
        return False
    if t.images > 1 and p.splits and p.images % (p.splits * t.images):
        return False
    if p.splits and t.tile_cores > p.splits:
        return False
    chunk_bytes = t.chunk * p.elements * t.n0 * FRACTAL_BYTES
    columns = ceil_div(ceil_div(p.results, t.channel_cores), t.n0)
    chunks = columns * ceil_div(p.groups, t.chunk) if t.weight_slots == 1 else SLOTS
    map_bytes = t.map_groups * p.map_rows(rows_of(p, t), t.images) * p.row_blocks * BLOCK_BYTES
    slots = 1 if t.map_groups >= p.groups and tiles_of(p, t) <= t.tile_cores else SLOTS
    l1 = chunks * chunk_bytes + slots * map_bytes
    return (
        l1 <= int(platform.l1_bytes)
        and ub_bytes(p, t) <= int(platform.ub_bytes)
        and SLOTS * t.m0 * t.k0 * FRACTAL_BYTES <= int(platform.l0a_bytes)
        and SLOTS * t.kb * t.n0 * FRACTAL_BYTES <= int(platform.l0b_bytes)
        and SLOTS * t.m0 * t.n0 * ACCUMULATOR_BYTES <= int(platform.l0c_bytes)
    )


def best(p: Problem, platform: Platform) -> tuple[int, ...]:
    """Return the fields of the tiling with the least estimated cycles among those that fit."""
    return ranked(p, platform, 1)[0]


@lru_cache(maxsize=512)
def ranked(p: Problem, platform: Platform, count: int = RANKED) -> tuple[tuple[int, ...], ...]:
    """Return the fields of the tilings that fit with the least estimated cycles, the best first."""
    found = least(families(p, platform), lambda tiling: estimate(p, tiling, platform), count)
    found = found or [ConvTiling(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2)]
    return tuple(tuple(getattr(each, name) for name in ConvTiling.names()) for each in found)


def families(p: Problem, platform: Platform) -> list[Family[ConvTiling]]:
    """Return tilings that fit, by cores that share the channels and what a tile is, with their bounds."""
    cores = int(platform.ai_cores)
    group_cores = min(cores, p.parts)
    channel_cores = [c for c in CORE_SHARES if c <= min(cores // group_cores, p.results)]
    heights = {ceil_div(ceil_div(p.oh, k), p.phases) * p.phases for k in range(1, p.oh + 1)}
    whole = EDGE // gcd(ceil_div(p.ow, p.phases), EDGE) * p.phases  # rows that fill fractals
    heights |= {whole * k for k in WHOLE_FRACTALS if whole * k < p.oh}
    tiles = [(1, min(rows, p.oh)) for rows in sorted(heights)]
    if not p.skips_rows:
        tiles += [(images, p.oh) for images in (2, 4, 8, 16, 32) if images <= p.images]
    return [
        (_bound(p, platform, (group_cores, shared), tile),
         partial(_candidates, p, platform, (group_cores, shared), tile))
        for shared, tile in product(channel_cores, tiles)
    ]  # fmt: skip


def _candidates(
    p: Problem, platform: Platform, shared: tuple[int, int], tile: tuple[int, int]
) -> Iterator[ConvTiling]:
    """Yield tilings that fit, by edges of a product."""
    share = ceil_div(p.results, shared[1])
    for n0 in WIDTHS:
        if n0 == 1 or n0 // 2 < share:
            yield from _cuts(p, platform, shared, tile, min(n0, share))


def _tile_cores(p: Problem, platform: Platform, shared: tuple[int, int], tile: tuple[int, int]) -> int:
    """Return how many cores share the tiles."""
    tiles = ceil_div(p.images, tile[0]) * ceil_div(p.oh, tile[1])
    return min(tiles, p.splits or tiles, int(platform.ai_cores) // (shared[0] * shared[1]))


def _bound(p: Problem, platform: Platform, shared: tuple[int, int], tile: tuple[int, int]) -> float:
    """Return what no estimate lies below for shares of the cores and a tile, however products are cut."""
    cores = _tile_cores(p, platform, shared, tile)
    whole = ConvTiling(shared[0], cores, shared[1], *tile, 1, WIDTHS[-1], 1, 1, p.groups, p.groups, 1)
    parts, kinds = ceil_div(p.parts, shared[0]), tiles_of_core(p, whole)
    weights = p.depth * ceil_div(p.results, shared[1]) * FRACTAL_BYTES
    read = weights + sum(count for count, _ in kinds) * _map_bytes(p, whole)
    computing = 0.0
    for count, each in kinds:
        computing += count * least_together(_least_busy(p, each, platform))
    reads = read / int(platform.gm_to_l1_bytes_per_cycle)
    working = loaded(parts * computing, parts * reads, _memory_cycles(p, whole, platform))
    return whole.cores * int(platform.block_start_cycles) + working


def _least_busy(p: Problem, t: ConvTiling, platform: Platform) -> tuple[float, ...]:
    """Return what a tile takes at least on M, MTE1, V and MTE3: a step has no more than L0A has room for."""
    share, room = ceil_div(p.results, t.channel_cores), int(platform.l0a_bytes) // SLOTS // FRACTAL_BYTES
    columns, cube, unfold = ceil_div(share, t.n0), 0.0, 0.0
    for phase in p.cut():
        products = p.groups * phase.elements * p.positions(phase, rows_of(p, t), t.images)
        steps = ceil_div(products, room) * columns
        cube += products * share + (int(platform.mmad_head_cycles) + FLAG_CYCLES) * steps
        unfold += products * p.stride * columns + FLAG_CYCLES * steps
        unfold += 2 * p.groups * phase.elements * share
    store = _result_bytes(p, t) / int(platform.ub_to_gm_bytes_per_cycle)
    return cube, unfold, _drain(p, t, platform), store


def _cuts(
    p: Problem, platform: Platform, shared: tuple[int, int], tile: tuple[int, int], n0: int
) -> Iterator[ConvTiling]:
    """Yield what follows from shares of the cores, a tile and n0, with pieces as large as fit or a half."""
    (images, rows), cut, share = tile, p.cut(), ceil_div(p.results, shared[1])
    in_m = max((p.positions(phase, rows, images) for phase in cut), default=1)
    l0a, l0b = (int(b) // SLOTS // FRACTAL_BYTES for b in (platform.l0a_bytes, platform.l0b_bytes))
    limit = int(platform.l0c_bytes) // ACCUMULATOR_BYTES // SLOTS
    shares = 4 if p.splits or p.is_scaled else 2 if images > 1 and p.mixes else 1
    shares += p.joining + p.adds * (2 if images > 1 and p.mixes else 1)
    ub = int(platform.ub_bytes) // SLOTS // (EDGE * p.position_bytes) // shares
    most = min(l0a, (limit if p.phases > 1 else min(limit, ub)) // n0)
    kernel = max((phase.elements for phase in cut), default=1)
    cores = _tile_cores(p, platform, shared, tile)
    chunk = max(1, min(p.groups, CHUNK_BYTES // (p.elements * n0 * FRACTAL_BYTES)))
    factors = (1 / 2, 1) if p.phases == 1 else (1, 2, 4, 8)  # a phase takes few elements of the filter
    chunks = {even(p.groups, max(1, int(chunk * factor))) for factor in factors}
    if images > 1 and p.mixes:
        chunks |= {1}  # small ones land in UB
    pieces = {even(in_m, most // more) for more in (1, 2, 4) if most // more > 0}
    for m0, width in product(pieces, chunks):
        kb = even(width * kernel, max(1, l0b // n0))
        k0 = even(kb, max(1, l0a // m0))
        for map_groups, weight_slots in ((p.groups, 1), (p.groups, 2), (width, 1), (width, 2)):
            made = ConvTiling(
                shared[0], cores, shared[1], images, rows, m0, n0, k0, kb, width, map_groups, weight_slots
            )
            if fits(p, made, platform):
                yield made
                break
        if p.phases == 1 and made.map_groups > width and m0 >= in_m and n0 >= share:
            passes_once = replace(made, map_groups=width, weight_slots=1)
            if fits(p, passes_once, platform):
                yield passes_once


class Loads(NamedTuple):
    """Bytes, and cycles of the transfers' heads."""

    size_bytes: float
    head_cycles: float

    def cycles(self, bytes_per_cycle: float) -> float:
        """Return the time at a rate."""
        return self.head_cycles + self.size_bytes / bytes_per_cycle


def estimate(p: Problem, t: ConvTiling, platform: Platform) -> float:
    """Estimate cycles: the start, what fills the pipeline, the pipes of a core together, the last store."""
    parts, kinds = ceil_div(p.parts, t.group_cores), tiles_of_core(p, t)
    tiles = sum(count for count, _ in kinds)
    columns, chunks = ceil_div(ceil_div(p.results, t.channel_cores), t.n0), ceil_div(p.groups, t.chunk)
    cut = p.cut()
    pieces = max((ceil_div(p.positions(phase, rows_of(p, t), t.images), t.m0) for phase in cut), default=1)
    path, passes = int(platform.gm_to_l1_bytes_per_cycle), pieces * len(cut)
    weights = _weight_loads(p, t, platform).cycles(path)
    whole = chunked = _map_loads(p, t, platform, 1).cycles(path)
    if chunks > 1:
        chunked = _map_loads(p, t, platform, chunks).cycles(path)
    reads = tiles * (whole if t.map_groups >= p.groups else chunked * passes * columns)
    reads += weights * (1 if t.weight_slots == 1 else tiles * passes)
    moved = [(count, each, _stores(p, each, platform)) for count, each in kinds]
    reads += p.joining * sum(count * stores.cycles(path) for count, _, stores in moved)
    out = int(platform.ub_to_gm_bytes_per_cycle)
    computing = parts * sum(
        count * together((*_computing(p, each, platform), stores.cycles(out)))
        for count, each, stores in moved
    )
    working = loaded(computing, parts * reads, _memory_cycles(p, t, platform))
    hbm = int(platform.hbm_bytes_per_cycle)
    first = max(weights / columns + chunked, _distinct(p, t, columns) / hbm)
    filling = first / chunks
    if p.phases > 1:  # what passes through L1 is fetched when it is needed, not ahead
        passing = weights if t.weight_slots > 1 else 0.0
        passing += chunked * columns if t.map_groups < p.groups else 0.0
        working += UNHIDDEN * passing * parts * tiles * passes
    each = working / (parts * tiles)  # the second tile of the map comes behind all of the first
    second = first + max(whole, _distinct(p, t, 0) / hbm) - each
    if tiles == 1 or t.map_groups < p.groups:
        second = 0.0
    late = max(first - each / (pieces * columns), second) - filling
    last = moved[-1][2].cycles(out) / (columns * pieces if p.phases == 1 else columns)
    return t.cores * int(platform.block_start_cycles) + filling + max(0.0, late) + working + last


def slots_per_block(burst_bytes: float) -> float:
    """Return the eighths of a packet that each block of a burst takes: the last packet need not be full.

    >>> slots_per_block(9 * 32) * 9
    16.0
    """
    return 8 * ceil_div(int(burst_bytes), 8 * BLOCK_BYTES) * BLOCK_BYTES / burst_bytes


def slowdown(platform: Platform, *distances_bytes: int) -> float:
    """Return how much longer bursts take that do not all begin at the chip's fast addresses, or 1."""
    if any(distance % int(platform.gm_fast_align_bytes) for distance in distances_bytes):
        return 100 / int(platform.gm_unaligned_percent)
    return 1.0


def _map_loads(p: Problem, t: ConvTiling, platform: Platform, chunks: int) -> Loads:
    """Return the loads of a tile of the map that comes in so many chunks."""
    rows, size = p.rows_seen(rows_of(p, t)), _map_bytes(p, t)
    burst = rows * p.row_blocks * BLOCK_BYTES
    moves = chunks * min(t.images, ceil_div(p.groups, chunks))
    is_whole = t.images == 1 and rows == p.h
    if t.images > 1 and p.mixes:  # channel groups of an image lie behind each other
        at_once = p.landing(t.chunk, t.images)[0]
        moves, burst = chunks * ceil_div(ceil_div(p.groups, chunks), at_once), at_once * burst
    if p.skips_rows:
        moves, burst = chunks if is_whole else p.groups, p.row_blocks * BLOCK_BYTES * p.stride
    apart = 0 if is_whole and not p.skips_rows else burst
    slower = slots_per_block(size if is_whole and t.images == 1 else burst) * slowdown(platform, apart)
    return Loads(size * slower, moves * int(platform.gm_to_l1_head_cycles))


def _map_bytes(p: Problem, t: ConvTiling) -> int:
    """Return the bytes of a tile of the map."""
    return p.groups * t.images * p.rows_seen(rows_of(p, t)) * p.row_blocks * BLOCK_BYTES


def _result_bytes(p: Problem, t: ConvTiling) -> int:
    """Return the bytes of a tile's results."""
    return t.images * rows_of(p, t) * p.ow * p.position_bytes * ceil_div(p.results, t.channel_cores)


def _weight_loads(p: Problem, t: ConvTiling, platform: Platform) -> Loads:
    """Return the loads of a core's weights."""
    share = ceil_div(p.results, t.channel_cores)
    moves = ceil_div(p.groups, t.chunk) * ceil_div(share, t.n0)
    return Loads(p.depth * share * FRACTAL_BYTES, moves * int(platform.gm_to_l1_head_cycles))


def _stores(p: Problem, t: ConvTiling, platform: Platform) -> Loads:
    """Return the stores of a tile's results."""
    share, rows = ceil_div(p.results, t.channel_cores), rows_of(p, t)
    size = _result_bytes(p, t)
    positions = p.positions(Phase(0, 1, p.ow), rows, t.images) if p.phases == 1 else 1
    pieces = ceil_div(positions, t.m0)
    burst = (rows * p.ow if pieces == 1 else t.m0 * EDGE) * p.position_bytes
    moves = ceil_div(share, t.n0) * (min(t.n0, t.images) if pieces == 1 else max(pieces, t.images))
    if t.images > 1 and p.mixes and p.phases == 1:
        burst = rows * p.ow * p.position_bytes * t.n0 if pieces == 1 else burst // t.images
        moves = ceil_div(share, t.n0) * (1 if pieces == 1 else pieces * t.images)
    slower = slots_per_block(burst) * slowdown(platform, burst, p.oh * p.ow * p.position_bytes)
    return Loads(size * slower, moves * int(platform.gm_write_head_cycles))


def _distinct(p: Problem, t: ConvTiling, columns: int) -> float:
    """Return the bytes of the map, and of one column of weights (0: none), that all cores read at first."""
    weights = p.elements * EDGE * p.results / columns if columns else 0
    rows = p.rows_seen(rows_of(p, t)) * t.images
    return BLOCK_BYTES * p.groups * t.group_cores * (rows * p.row_blocks * t.tile_cores + weights)


def _memory_cycles(p: Problem, t: ConvTiling, platform: Platform) -> float:
    """Return the cycles that device memory is busy: what is read, and what L2 cannot keep of the results."""
    halo = p.rows_seen(rows_of(p, t)) * p.oh / rows_of(p, t) / p.h if t.images == 1 else 1
    read = p.parts * p.groups * p.images * p.h * p.row_blocks * BLOCK_BYTES * max(1, min(halo, 1.2))
    written = p.parts * p.results * p.images * p.oh * p.ow * p.position_bytes
    spilled = min(written, max(0, read + written - int(platform.l2_bytes)))
    return (read + p.joining * written + spilled) / int(platform.hbm_bytes_per_cycle)


def _computing(p: Problem, t: ConvTiling, platform: Platform) -> tuple[float, float, float]:
    """Return the cycles that a tile takes on M, MTE1 and V."""
    share, chunks = ceil_div(p.results, t.channel_cores), ceil_div(p.groups, t.chunk)
    columns = ceil_div(share, t.n0)
    cube, unfold = 0.0, 0.0
    for phase in p.cut():
        in_m = p.positions(phase, rows_of(p, t), t.images)
        depth, pieces = p.groups * phase.elements, ceil_div(in_m, t.m0)
        in_chunk = min(t.chunk, p.groups) * phase.elements
        blocks = chunks * ceil_div(in_chunk, t.kb)
        steps = blocks * ceil_div(even(in_chunk, t.kb), t.k0) * pieces * columns
        cube += depth * in_m * share + (int(platform.mmad_head_cycles) + FLAG_CYCLES) * steps
        heads = min(t.k0, t.m0, in_m) * int(platform.load3d_head_cycles) + FLAG_CYCLES
        loads = blocks if not p.mirrored else depth
        if p.mirrored and phase.elements == 1:
            loads = min(depth, blocks * t.n0)
        keeps = t.kb >= depth and chunks == 1
        weights = 2 * depth * share + loads * columns * int(platform.load2d_l0b_head_cycles)
        unfold += depth * in_m * p.stride * columns + heads * steps + weights * (1 if keeps else pieces)
    return cube, unfold, _drain(p, t, platform)


def _drain(p: Problem, t: ConvTiling, platform: Platform) -> float:
    """Return the cycles that a tile takes on V."""
    share, drain = ceil_div(p.results, t.channel_cores), 0.0
    passes = 5 if p.splits else 4 if p.is_scaled else 1  # squares, two sums, rounding; conversions, scaling
    passes += 2 * p.adds + p.keeps  # a sum, its rounding; a choice
    for phase in p.cut():
        in_m = p.positions(phase, rows_of(p, t), t.images)
        drain += passes * in_m * share * ACCUMULATOR_BYTES / int(platform.l0c_to_ub_bytes_per_cycle)
        if t.images > 1 and p.mixes and p.phases == 1:  # each image's rows are put together
            arranged = in_m * EDGE * share * p.position_bytes * (1 + p.adds)
            drain += arranged / int(platform.ub_to_ub_bytes_per_cycle)
    if p.phases > 1:
        lines = t.images * rows_of(p, t) * p.phases * share
        drain += lines * (p.ow * p.position_bytes / p.phases / int(platform.ub_to_ub_bytes_per_cycle) + 2)
    return drain


def best_statistics_splits(shape: StatisticsShape, platform: Platform) -> int:
    """Return the `splits` of a convolution with sums by channel that takes the least estimated cycles.

    One search goes over the tilings of all.
    """
    most = min(shape.n, int(platform.ai_cores))
    made = {splits: Problem.forward(shape, splits) for splits in CORE_SHARES if splits <= most}
    choices = [labelled(splits, each) for splits, p in made.items() for each in families(p, platform)]
    found = least(choices, lambda one: estimate(made[one[0]], one[1], platform), 1)
    return found[0][0] if found else 1
