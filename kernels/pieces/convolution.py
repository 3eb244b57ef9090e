"""The pipeline of a convolution on the cube: stages that kernels put between their loops.

The map's rows and the weights go GM to L1, windows are unfolded into L0A, weights go to L0B, products are
added up in L0C, and the result goes through UB to GM. A `Plan` says what one core does, `Buffers` where
things are, a `Step` what the cube works on now. Loads are emitted one step ahead; the first tile of the map
comes in chunks of channel groups, each together with its weights, so that the cube starts early.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import load2d, mmad
from kernels.lang.buffers import L0A, L0B, L0C, L1, UB, alloc
from kernels.lang.emits import emits
from kernels.lang.queues import MTE1, MTE2, MTE3, M, V, close, fill, filled, filling, free, queue, use, using
from kernels.pieces.convolution_mixed import LANDING_BYTES, Channels, Landing, place_mixed, unfold_mixed
from kernels.pieces.convolution_plan import (
    Plan,
    filter_fractals,
    first_image,
    images_of,
    most_map_blocks,
    seen_fractals,
    tile_fractals,
    tile_rows,
)
from kernels.pieces.window import Patch, fetch_rows, move_planes, unfold

FRACTAL, BLOCK, ACCUMULATOR = 512, 32, 1024
SLOTS = 2


class Tensors(NamedTuple):
    """Tensors in GM."""

    source: int
    weights: int
    result: int


class Buffers(NamedTuple):
    """Buffers with the bytes of their slots, and queues."""

    x: int
    x_slot: int
    w: int
    w_slot: int
    a: int
    a_slot: int
    b: int
    b_slot: int
    c: int
    c_slot: int
    u: int
    u_slot: int
    stage: int
    landing: Landing
    qx: int
    qw: int
    qa: int
    qb: int
    qc: int
    qu: int


class Operands(NamedTuple):
    """Where the cube's operands are: a tile of the map in L1, weights in L0B, the accumulator in L0C."""

    source: int
    weights: int
    c: int
    accumulate: int


class Step(NamedTuple):
    """What the cube works on: tile, first result group, first position fractal, chunk of k."""

    tile: int
    n: int
    m: int
    chunk: int


@emits
def open_pipeline(core: Any, p: Plan) -> Any:
    """Hand out the buffers and open the queues."""
    x_slot = p.map_groups * most_map_blocks(core, p) * BLOCK
    w_slot = p.chunk * filter_fractals(core, p) * p.n0 * FRACTAL
    x = alloc(core, L1, p.map_slots * x_slot, p.map_slots)
    w = alloc(
        core, L1, (SLOTS if p.streams else (p.most_results + p.n0 - 1) // p.n0 * chunks_of(core, p)) * w_slot
    )
    a_slot, b_slot, c_slot = p.m0 * p.k0 * FRACTAL, p.kb * p.n0 * FRACTAL, p.m0 * p.n0 * ACCUMULATOR
    a, b, c = (
        alloc(core, L0A, SLOTS * a_slot, SLOTS),
        alloc(core, L0B, SLOTS * b_slot, SLOTS),
        alloc(core, L0C, SLOTS * c_slot, SLOTS),
    )
    u_slot = p.m0 * p.n0 * 16 * p.unit * BLOCK
    stage = x
    if p.phases > 1:
        stage = alloc(core, UB, u_slot)
        u_slot = p.n0 * p.images * p.rows * p.width * p.unit * BLOCK
    elif p.mixed:
        stage = alloc(core, UB, u_slot)
    u = alloc(core, UB, SLOTS * u_slot, SLOTS)
    landing = open_landing(core, p)
    qx = queue(core, MTE3 if p.mixed else MTE2, MTE1, p.map_slots)
    qw = queue(core, MTE2, MTE1, SLOTS)
    qa, qb = queue(core, MTE1, M, SLOTS), queue(core, MTE1, M, SLOTS)
    qc, qu = queue(core, M, V, SLOTS), queue(core, V, MTE3, SLOTS)
    return Buffers(
        x, x_slot, w, w_slot, a, a_slot, b, b_slot, c, c_slot, u, u_slot, stage, landing, qx, qw, qa, qb, qc,
        qu,
    )  # fmt: skip


@emits
def open_landing(core: Any, p: Plan) -> Any:
    """Hand out room in UB for images whose rows will take turns; there is none where they do not."""
    if p.mixed == 0:
        return Landing(0, 0, 0, 0, 0)
    group = most_map_blocks(core, p) * BLOCK
    groups = max(1, min(p.chunk, LANDING_BYTES // group))
    at = alloc(core, UB, SLOTS * groups * group, SLOTS)
    return Landing(at, groups, groups * group, queue(core, MTE2, MTE3, SLOTS), queue(core, MTE3, MTE1, SLOTS))


@emits
def close_pipeline(core: Any, b: Buffers) -> None:
    """Wait until everything is stored."""
    close(core, b.qu)
    close(core, b.qc)
    close(core, b.qb)
    close(core, b.qa)
    close(core, b.qw)
    close(core, b.qx)
    if b.landing.slot > 0:
        close(core, b.landing.placed)
        close(core, b.landing.q)


@emits
def chunks_of(core: Any, p: Plan) -> int:
    """Return in how many chunks of channel groups the weights come."""
    return int((p.groups + p.chunk - 1) // p.chunk)


@emits
def place_map(core: Any, p: Plan, t: Tensors, b: Buffers, dst: int, tile: int, c: Channels) -> None:
    """Bring channel groups of a tile's rows to their place in a slot of L1."""
    rows, images, size = tile_rows(core, p, tile), images_of(core, p, tile), p.window.h * p.window.w
    plane, apart = first_image(core, p, tile) * p.map_there + p.map_first + c.first, p.map_there * size
    src, tall = t.source + plane * size * BLOCK, rows.h * p.window.w
    to = dst + c.before * tall * BLOCK
    if p.mixed:
        place_mixed(core, b.landing, dst, src, apart, p.window, images, c)
    elif p.images == 1:
        fetch_rows(core, to, t.source, plane, c.count, p.window, rows)
    elif c.count < images:
        for i in range(c.count):
            move_planes(core, to + i * tall * BLOCK, src + i * size * BLOCK, images, size, size, apart)
    else:
        for i in range(images):
            move_planes(core, to + i * size * BLOCK, src + i * apart * BLOCK, c.count, size, tall, size)


@emits
def fetch_tile(core: Any, p: Plan, t: Tensors, b: Buffers, tile: int) -> None:
    """Bring a whole tile of the map to L1 if it is there as a whole and does not come in chunks."""
    if tile < p.last and p.map_groups == p.groups and (p.mixed == 0 or p.phases > 1):
        dst = b.x + fill(core, b.qx) * b.x_slot
        place_map(core, p, t, b, dst, tile, Channels(0, p.groups, 0, p.groups))
        filled(core, b.qx)


@emits
def fetch_chunk(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Bring a chunk of the map to L1: to a slot of its own, or to its place in the first tile."""
    first = s.chunk * p.chunk
    count = min(p.chunk, p.groups - first)
    if p.map_groups < p.groups:
        dst = b.x + fill(core, b.qx) * b.x_slot
        place_map(core, p, t, b, dst, s.tile, Channels(first, count, 0, count))
        filled(core, b.qx)
    elif s.tile == p.first and s.n == p.n_start and s.m == 0:
        if p.mixed:
            fill(core, b.landing.placed)
        place_chunk(core, p, t, b, s.tile, s.chunk)
        if p.mixed:
            filled(core, b.landing.placed)


@emits
def place_chunk(core: Any, p: Plan, t: Tensors, b: Buffers, tile: int, chunk: int) -> None:
    """Bring a chunk of a tile that lies in L1 as a whole to its place."""
    first = chunk * p.chunk
    count = min(p.chunk, p.groups - first)
    if chunk == 0:
        fill(core, b.qx)
    dst = b.x + filling(core, b.qx) * b.x_slot
    place_map(core, p, t, b, dst, tile, Channels(first, count, first, p.groups))
    if first + count == p.groups:
        filled(core, b.qx)


@emits
def fetch_ahead(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Bring a chunk of the next tile where rows take turns: all their short moves at once would fill a queue.

    They come during a tile's first pass over k, of the first tile during the last: its own come in the first.
    """
    is_first = s.tile > p.first and s.n == p.n_start and s.m == 0
    is_last = s.n + p.n0 >= p.n_end and s.m + p.m0 >= tile_fractals(core, p, s.tile)
    ahead = is_first or (s.tile == p.first and is_last)
    if p.mixed and p.map_groups == p.groups and ahead and s.tile + 1 < p.last:
        place_chunk(core, p, t, b, s.tile + 1, s.chunk)


@emits
def weight_place(core: Any, p: Plan, b: Buffers, s: Step, slot: int) -> int:
    """Return where in L1 the weights of a step lie: in a slot, or where they stay."""
    if p.streams:
        return int(b.w + slot * b.w_slot)
    return int(b.w + ((s.n - p.n_start) // p.n0 * chunks_of(core, p) + s.chunk) * b.w_slot)


@emits
def place_weights(core: Any, p: Plan, t: Tensors, dst: int, s: Step) -> None:
    """Bring the weights of a chunk and n0 result groups to L1 as (k, n), where mirrored as (n, k)."""
    elements, first = filter_fractals(core, p), s.chunk * p.chunk
    count, columns = min(p.chunk, p.groups - first), min(p.n0, p.n_end - s.n)
    if p.mirrored:
        src = t.weights + (s.n * elements * p.weights_there + first) * FRACTAL
        move_planes(core, dst, src, columns * elements, count * 16, count * 16, p.weights_there * 16)
    else:
        src = t.weights + (first * elements * p.weights_there + s.n) * FRACTAL
        move_planes(core, dst, src, count * elements, columns * 16, columns * 16, p.weights_there * 16)


@emits
def fetch_step(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Bring what a step needs and is not in L1 yet."""
    fetch_chunk(core, p, t, b, s)
    if p.streams or (s.tile == p.first and s.m == 0):
        place_weights(core, p, t, weight_place(core, p, b, s, fill(core, b.qw)), s)
        filled(core, b.qw)


@emits
def fetch_next(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Bring ahead what the step after `s` needs."""
    tile, n, m, chunk = s.tile, s.n, s.m, s.chunk + 1
    if chunk * p.chunk >= p.groups:
        chunk, m = 0, m + p.m0
        if m >= tile_fractals(core, p, tile):
            m, n = 0, n + p.n0
            if n >= p.n_end:
                n, tile = p.n_start, tile + 1
    if tile < p.last:
        fetch_step(core, p, t, b, Step(tile, n, m, chunk))
    if s.tile == p.first and s.m == 0 and chunk == 0 and s.n + p.n0 >= p.n_end:
        fetch_tile(core, p, t, b, p.first + 1)
    fetch_ahead(core, p, t, b, s)


@emits
def start(core: Any, p: Plan, t: Tensors, b: Buffers) -> None:
    """Bring what the first step needs."""
    if p.first < p.last and p.n_start < p.n_end:
        fetch_step(core, p, t, b, Step(p.first, p.n_start, 0, 0))


@emits
def begin_tile(core: Any, p: Plan, t: Tensors, b: Buffers, tile: int) -> None:
    """Wait for the tile; bring the next one ahead (the second comes behind the first pass of weights)."""
    if tile > p.first:
        fetch_tile(core, p, t, b, tile + 1)
        if p.map_groups == p.groups:
            use(core, b.qx)


@emits
def end_tile(core: Any, p: Plan, b: Buffers, tile: int) -> None:
    """Give the tile of the map back; the first one came together with the weights that were waited for."""
    if p.map_groups == p.groups:
        if tile == p.first:
            use(core, b.qx)
        free(core, b.qx)


@emits
def load_weights(
    core: Any, p: Plan, dst: int, src: int, k: int, depth: int, columns: int, groups_there: int
) -> None:
    """Bring `depth` fractals of k to L0B as (k, n); mirrored ones are transposed and taken from the last."""
    if p.mirrored == 0:
        for done in range(0, depth * columns, 255):
            count = min(255, depth * columns - done)
            load2d(core, dst + done * FRACTAL, src + (k * columns + done) * FRACTAL, count)
        return
    taken, elements = p.window.kh * p.window.kw, p.filter.h * p.filter.w
    if taken == 1 and columns < depth:
        place = src + (element_of(core, p, 0) * groups_there + k) * FRACTAL
        for i in range(columns):
            to = dst + i * FRACTAL
            load2d(core, to, place + i * elements * groups_there * FRACTAL, depth, 1, 1, columns - 1)
        return
    for i in range(depth):
        place = src + (element_of(core, p, (k + i) % taken) * groups_there + (k + i) // taken) * FRACTAL
        load2d(core, dst + i * columns * FRACTAL, place, columns, elements * groups_there, 1)


@emits
def element_of(core: Any, p: Plan, tap: int) -> int:
    """Return which element of the filter is the one numbered `tap` of a gradient's window."""
    row = p.taps.first_h + (p.window.kh - 1 - tap // p.window.kw) * p.taps.step
    return int(row * p.filter.w + p.taps.first_w + (p.window.kw - 1 - tap % p.window.kw) * p.taps.step)


@emits
def take_weights(core: Any, p: Plan, b: Buffers, s: Step) -> int:
    """Wait for the weights of a step; return where they are."""
    slot = 0
    if p.streams or (s.tile == p.first and s.m == 0 and p.phases == 1):
        slot = use(core, b.qw)
        if not p.streams:
            free(core, b.qw)  # they stay; the next ones go elsewhere
    return weight_place(core, p, b, s, slot)


@emits
def take_placed(core: Any, p: Plan, b: Buffers) -> None:
    """Wait for a chunk of the first tile where it does not come with its weights: MTE3 places it."""
    if p.mixed:
        use(core, b.landing.placed)
        free(core, b.landing.placed)


@emits
def take_map(core: Any, p: Plan, b: Buffers, s: Step) -> int:
    """Wait for the part of the map that a step needs; return where it is."""
    if p.map_groups == p.groups:
        if p.phases == 1 and s.tile == p.first and s.n == p.n_start and s.m == 0:
            take_placed(core, p, b)
        return int(b.x + using(core, b.qx) * b.x_slot)
    return int(b.x + use(core, b.qx) * b.x_slot)


@emits
def multiply(core: Any, p: Plan, b: Buffers, s: Step, slot: int, accumulate: int) -> None:
    """Add the products of a step to the accumulator in a slot of L0C; the first replaces what is there."""
    elements, first = seen_fractals(core, p), s.chunk * p.chunk
    there = min(p.chunk, p.groups - first)
    columns = min(p.n0, p.n_end - s.n)
    positions = min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    weights, source = take_weights(core, p, b, s), take_map(core, p, b, s)
    keeps = p.kb >= there * elements and there == p.groups  # L0B holds all of k: load it once per column
    is_last = s.m + positions >= tile_fractals(core, p, s.tile)
    k_map = first * elements if p.map_groups == p.groups else 0
    blocks = (there * elements + p.kb - 1) // p.kb
    for block in range(blocks):
        k, end = there * elements * block // blocks, there * elements * (block + 1) // blocks
        depth = end - k
        turn = using(core, b.qb)
        if not keeps or s.m == 0:
            turn = fill(core, b.qb)
            load_weights(core, p, b.b + turn * b.b_slot, weights, k, depth, columns, there)
            filled(core, b.qb)
            use(core, b.qb)
        operands = Operands(source, b.b + turn * b.b_slot, b.c + slot * b.c_slot, accumulate)
        multiply_block(core, p, b, s, operands, Patch(s.m, positions, k_map + k, depth))
        if not keeps or is_last:
            free(core, b.qb)
    if p.streams:
        free(core, b.qw)
    if p.map_groups < p.groups:
        free(core, b.qx)


@emits
def multiply_block(core: Any, p: Plan, b: Buffers, s: Step, o: Operands, patch: Patch) -> None:
    """Multiply a patch of windows by the weights in L0B, k0 fractals of k at a time."""
    columns = min(p.n0, p.n_end - s.n)
    pieces = (patch.elements + p.k0 - 1) // p.k0
    for i in range(pieces):  # of equal length: short ones keep the cube waiting
        done = patch.elements * i // pieces
        depth = patch.elements * (i + 1) // pieces - done
        a = b.a + fill(core, b.qa) * b.a_slot
        piece = Patch(patch.m, patch.positions, patch.k + done, depth)
        if p.mixed:
            groups = p.groups if p.map_groups == p.groups else min(p.chunk, p.groups - s.chunk * p.chunk)
            images = images_of(core, p, s.tile)
            unfold_mixed(core, a, o.source, p.window, images, groups, piece, p.dtype)
        else:
            unfold(core, a, o.source, p.window, tile_rows(core, p, s.tile), piece, p.dtype)
        filled(core, b.qa)
        use(core, b.qa)
        starts = o.accumulate == 0 and s.chunk == 0 and patch.k + done == 0
        weights = o.weights + done * columns * FRACTAL
        mmad(
            core, o.c, a, weights, patch.positions * 16, depth * p.edge, columns * 16, 0 if starts else 1,
            dtype=p.dtype,
        )  # fmt: skip
        free(core, b.qa)
