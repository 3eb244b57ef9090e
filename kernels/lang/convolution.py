"""The pipeline of a convolution on the cube: stages that kernels put between their loops.

The map's rows and the weights go GM to L1, windows are unfolded into L0A, weights go to L0B, products are
added up in L0C, and the result goes through UB to GM. Every hand-off has two slots. A `Plan` says what one
core does, `Buffers` where things are, a `Step` what the cube works on now. Loads are emitted one step ahead.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP32, broadcast_ub_to_l0c, data_move, l0c_to_ub, load2d, mmad
from kernels.lang.buffers import L0A, L0B, L0C, L1, UB, alloc, block_idx
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, flat_binary, flat_dup
from kernels.lang.queues import MTE1, MTE2, MTE3, M, V, barrier, close, fill, filled, free, queue, use
from kernels.lang.window import (
    Patch,
    Rows,
    Window,
    fetch_rows,
    forward_window,
    move_planes,
    rows_seen,
    unfold,
)

FRACTAL, BLOCK, ACCUMULATOR = 512, 32, 1024
SLOTS = 2
STAGE_BYTES = 32768
"""UB through which a strided gradient passes on its way to L1, per slot; as much holds zeros."""


class Plan(NamedTuple):
    """One convolution, its tiling, and a core's share: tiles first..last, result groups n_start..n_end."""

    window: Window
    groups: int
    results: int
    spread: int
    mirrored: int
    unit: int  # blocks of 32 bytes of a result position
    rows: int
    row_tiles: int
    m0: int
    n0: int
    k0: int
    kb: int
    chunk: int
    map_groups: int
    streams: int  # 1: weights pass through L1
    first: int
    last: int
    n_start: int
    n_end: int


class Buffers(NamedTuple):
    """Tensors in GM, buffers with the bytes of their slots, and queues."""

    source: int
    weights: int
    result: int
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
    qx: int
    qw: int
    qa: int
    qb: int
    qc: int
    qu: int
    qs: int


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
def plan_of(
    core: Any, window: Window, groups: int, results: int, spread: int, mirrored: int, shape: Any, tiling: Any
) -> Any:
    """Return the plan of this core for a window over `groups` channel groups that gives `results`."""
    row_tiles = (window.oh + tiling.rows - 1) // tiling.rows
    part, column = block_idx(core) // tiling.channel_cores, block_idx(core) % tiling.channel_cores
    tiles = shape.n * row_tiles
    map_groups = min(tiling.map_groups, groups)
    return Plan(
        window, groups, results, spread, mirrored, 2 if shape.out_dtype == FP32 else 1,
        min(tiling.rows, window.oh), row_tiles, tiling.m0, tiling.n0, tiling.k0, tiling.kb,
        min(tiling.chunk, map_groups), map_groups, tiling.weight_slots - 1,
        tiles * part // tiling.tile_cores, tiles * (part + 1) // tiling.tile_cores,
        results * column // tiling.channel_cores, results * (column + 1) // tiling.channel_cores,
    )  # fmt: skip


@emits
def forward_plan(core: Any, shape: Any, tiling: Any) -> Any:
    """Return the plan of y = conv(x, w)."""
    window = forward_window(core, shape)
    return plan_of(core, window, (shape.c + 15) // 16, (shape.o + 15) // 16, 1, 0, shape, tiling)


@emits
def backward_plan(core: Any, shape: Any, tiling: Any) -> Any:
    """Return the plan of dx as a convolution of stride 1 over dy with its elements `stride` apart."""
    span_h, span_w = (shape.kh - 1) * shape.dilation, (shape.kw - 1) * shape.dilation
    dense_h, dense_w = shape.h + 2 * shape.pad - span_h, shape.w + 2 * shape.pad - span_w
    one = shape.stride // shape.stride  # an integer of the machine's, not a constant of its own type
    window = Window(
        dense_h, dense_w, shape.h, shape.w, shape.kh, shape.kw, one, one, shape.dilation,
        span_h - shape.pad, span_w - shape.pad, dense_h, one,
    )  # fmt: skip
    return plan_of(core, window, (shape.o + 15) // 16, (shape.c + 15) // 16, shape.stride, 1, shape, tiling)


@emits
def open_pipeline(core: Any, p: Plan, source: int, weights: int, result: int) -> Any:
    """Hand out the buffers and open the queues."""
    kernel_size = p.window.kh * p.window.kw
    most_rows = min(p.window.h, (p.rows - 1) * p.window.stride_h + (p.window.kh - 1) * p.window.dilation + 1)
    x_slot = p.map_groups * most_rows * p.window.w * BLOCK
    w_slot = p.chunk * kernel_size * p.n0 * FRACTAL
    resident = (p.n_end - p.n_start + p.n0 - 1) // p.n0 * ((p.groups + p.chunk - 1) // p.chunk)
    x = alloc(core, L1, SLOTS * x_slot, SLOTS)
    w = alloc(core, L1, (SLOTS if p.streams else resident) * w_slot)
    a_slot, b_slot, c_slot = p.m0 * p.k0 * FRACTAL, p.kb * p.n0 * FRACTAL, p.m0 * p.n0 * ACCUMULATOR
    a, b, c = (
        alloc(core, L0A, SLOTS * a_slot, SLOTS),
        alloc(core, L0B, SLOTS * b_slot, SLOTS),
        alloc(core, L0C, SLOTS * c_slot, SLOTS),
    )
    u_slot = p.m0 * p.n0 * 16 * p.unit * BLOCK
    u = alloc(core, UB, SLOTS * u_slot, SLOTS)
    stage, qs = u, 0
    if p.spread > 1:
        stage = alloc(core, UB, (SLOTS + 1) * STAGE_BYTES)
        flat_dup(core, stage + SLOTS * STAGE_BYTES, 0.0, STAGE_BYTES // 4, FP32)
        barrier(core)  # zeros are there before MTE3 spreads them
        qs = queue(core, MTE2, MTE3, SLOTS)
    qx = queue(core, MTE3 if p.spread > 1 else MTE2, MTE1, SLOTS)
    qw, qa, qb = queue(core, MTE2, MTE1, SLOTS), queue(core, MTE1, M, SLOTS), queue(core, MTE1, M, SLOTS)
    qc, qu = queue(core, M, V, SLOTS), queue(core, V, MTE3, SLOTS)
    return Buffers(
        source, weights, result, x, x_slot, w, w_slot, a, a_slot, b, b_slot, c, c_slot, u, u_slot, stage,
        qx, qw, qa, qb, qc, qu, qs,
    )  # fmt: skip


@emits
def close_pipeline(core: Any, p: Plan, b: Buffers) -> None:
    """Wait until everything is stored."""
    close(core, b.qu)
    close(core, b.qc)
    close(core, b.qb)
    close(core, b.qa)
    close(core, b.qw)
    close(core, b.qx)
    if p.spread > 1:
        close(core, b.qs)


@emits
def tile_rows(core: Any, p: Plan, tile: int) -> Any:
    """Return the rows of a tile and what they see of the map."""
    first = tile % p.row_tiles * p.rows
    return rows_seen(core, p.window, first, min(p.rows, p.window.oh - first))


@emits
def tile_fractals(core: Any, p: Plan, tile: int) -> int:
    """Return how many fractals of 16 positions a tile has."""
    first = tile % p.row_tiles * p.rows
    return int((min(p.rows, p.window.oh - first) * p.window.ow + 15) // 16)


@emits
def fetch_map(core: Any, p: Plan, b: Buffers, tile: int, group: int, count: int) -> None:
    """Bring `count` channel groups of a tile's rows to L1."""
    rows, image = tile_rows(core, p, tile), tile // p.row_tiles
    dst = b.x + fill(core, b.qx) * b.x_slot
    if p.spread == 1:
        fetch_rows(core, dst, b.source, image * p.groups + group, count, p.window, rows)
    else:
        blocks = count * rows.h * p.window.w
        zeros = b.stage + SLOTS * STAGE_BYTES
        for done in range(0, blocks, STAGE_BYTES // BLOCK):
            data_move(core, dst + done * BLOCK, zeros, 1, min(STAGE_BYTES // BLOCK, blocks - done))
        for g in range(count):
            spread_plane(
                core, p, b, dst + g * rows.h * p.window.w * BLOCK, rows, image * p.groups + group + g
            )
    filled(core, b.qx)


@emits
def spread_plane(core: Any, p: Plan, b: Buffers, dst: int, rows: Rows, plane: int) -> None:
    """Scatter the rows of one plane over zeros in L1, `spread` rows and columns apart, by way of UB."""
    height, width = (p.window.h - 1) // p.spread + 1, (p.window.w - 1) // p.spread + 1
    first, end = (rows.start + p.spread - 1) // p.spread, (rows.start + rows.h - 1) // p.spread + 1
    columns = min(width, STAGE_BYTES // BLOCK)
    at_once = STAGE_BYTES // BLOCK // width if columns == width else 1
    for row in range(first, end, at_once):
        count = min(at_once, end - row)
        for column in range(0, width, columns):
            run = min(columns, width - column)
            stage = b.stage + fill(core, b.qs) * STAGE_BYTES
            data_move(
                core, stage, b.source + ((plane * height + row) * width + column) * BLOCK, 1, count * run
            )
            filled(core, b.qs)
            use(core, b.qs)
            for i in range(count):
                place = ((row + i) * p.spread - rows.start) * p.window.w + column * p.spread
                data_move(core, dst + place * BLOCK, stage + i * run * BLOCK, run, 1, 0, p.spread - 1)
            free(core, b.qs)


@emits
def fetch_tile(core: Any, p: Plan, b: Buffers, tile: int) -> None:
    """Bring a whole tile of the map to L1 if it is there as a whole."""
    if tile < p.last and p.map_groups == p.groups:
        fetch_map(core, p, b, tile, 0, p.groups)


@emits
def weight_place(core: Any, p: Plan, b: Buffers, s: Step, slot: int) -> int:
    """Return where in L1 the weights of a step lie: in a slot, or where they stay."""
    if p.streams:
        return int(b.w + slot * b.w_slot)
    chunks = (p.groups + p.chunk - 1) // p.chunk
    return int(b.w + ((s.n - p.n_start) // p.n0 * chunks + s.chunk) * b.w_slot)


@emits
def fetch_weights(core: Any, p: Plan, b: Buffers, s: Step) -> None:
    """Bring the weights of a chunk and n0 result groups to L1 as (k, n), where mirrored as (n, k)."""
    elements, first = p.window.kh * p.window.kw, s.chunk * p.chunk
    count, columns = min(p.chunk, p.groups - first), min(p.n0, p.n_end - s.n)
    dst = weight_place(core, p, b, s, fill(core, b.qw))
    if p.mirrored:
        src = b.weights + (s.n * elements * p.groups + first) * FRACTAL
        move_planes(core, dst, src, columns * elements, count * 16, count * 16, p.groups * 16)
    else:
        src = b.weights + (first * elements * p.results + s.n) * FRACTAL
        move_planes(core, dst, src, count * elements, columns * 16, columns * 16, p.results * 16)
    filled(core, b.qw)


@emits
def fetch_step(core: Any, p: Plan, b: Buffers, s: Step) -> None:
    """Bring what a step needs and is not in L1 yet."""
    if p.map_groups < p.groups:
        fetch_map(core, p, b, s.tile, s.chunk * p.chunk, min(p.chunk, p.groups - s.chunk * p.chunk))
    if p.streams or (s.tile == p.first and s.m == 0):
        fetch_weights(core, p, b, s)


@emits
def fetch_next(core: Any, p: Plan, b: Buffers, s: Step) -> None:
    """Bring ahead what the step after `s` needs."""
    tile, n, m, chunk = s.tile, s.n, s.m, s.chunk + 1
    if chunk * p.chunk >= p.groups:
        chunk, m = 0, m + p.m0
        if m >= tile_fractals(core, p, tile):
            m, n = 0, n + p.n0
            if n >= p.n_end:
                n, tile = p.n_start, tile + 1
    if tile < p.last:
        fetch_step(core, p, b, Step(tile, n, m, chunk))
    if s.tile == p.first and s.m == 0 and chunk == 0 and s.n + p.n0 >= p.n_end:
        fetch_tile(core, p, b, p.first + 1)


@emits
def start(core: Any, p: Plan, b: Buffers) -> None:
    """Bring what the first step needs."""
    fetch_tile(core, p, b, p.first)
    if p.first < p.last:
        fetch_step(core, p, b, Step(p.first, p.n_start, 0, 0))


@emits
def begin_tile(core: Any, p: Plan, b: Buffers, tile: int) -> None:
    """Wait for the tile; bring the next one ahead (the second comes behind the first pass of weights)."""
    if tile > p.first:
        fetch_tile(core, p, b, tile + 1)
    if p.map_groups == p.groups:
        use(core, b.qx)


@emits
def end_tile(core: Any, p: Plan, b: Buffers) -> None:
    """Give the tile of the map back."""
    if p.map_groups == p.groups:
        free(core, b.qx)


@emits
def load_weights(
    core: Any, p: Plan, dst: int, src: int, k: int, depth: int, columns: int, groups_there: int
) -> None:
    """Bring `depth` fractals of k to L0B as (k, n); mirrored ones are transposed and taken from the last."""
    if p.mirrored:
        elements = p.window.kh * p.window.kw
        for i in range(depth):
            group, element = (k + i) // elements, elements - 1 - (k + i) % elements
            place = src + (element * groups_there + group) * FRACTAL
            load2d(core, dst + i * columns * FRACTAL, place, columns, elements * groups_there, 1)
    else:
        for done in range(0, depth * columns, 255):
            count = min(255, depth * columns - done)
            load2d(core, dst + done * FRACTAL, src + (k * columns + done) * FRACTAL, count)


@emits
def take_weights(core: Any, p: Plan, b: Buffers, s: Step) -> int:
    """Wait for the weights of a step; return where they are."""
    slot = s.chunk * 0
    if p.streams or (s.tile == p.first and s.m == 0):
        slot = use(core, b.qw)
        if not p.streams:
            free(core, b.qw)  # they stay; the next ones go elsewhere
    return weight_place(core, p, b, s, slot)


@emits
def take_map(core: Any, p: Plan, b: Buffers, s: Step) -> int:
    """Wait for the part of the map that a step needs; return where it is."""
    if p.map_groups == p.groups:
        return int(b.x + (s.tile - p.first) % SLOTS * b.x_slot)
    return int(b.x + use(core, b.qx) * b.x_slot)


@emits
def multiply(core: Any, p: Plan, b: Buffers, s: Step, slot: int, accumulate: int) -> None:
    """Add the products of a step to the accumulator in a slot of L0C; the first replaces what is there."""
    elements, first = p.window.kh * p.window.kw, s.chunk * p.chunk
    there = min(p.chunk, p.groups - first)
    columns = min(p.n0, p.n_end - s.n)
    positions = min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    weights, source = take_weights(core, p, b, s), take_map(core, p, b, s)
    keeps = p.kb >= there * elements and there == p.groups  # L0B holds all of k: load it once per column
    is_last = s.m + positions >= tile_fractals(core, p, s.tile)
    k_map = first * elements if p.map_groups == p.groups else 0
    for k in range(0, there * elements, p.kb):
        depth = min(p.kb, there * elements - k)
        turn = column_turn(core, p, s)
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
def column_turn(core: Any, p: Plan, s: Step) -> int:
    """Return which slot of L0B holds the weights of a step's columns when they are loaded once per column."""
    columns = (p.n_end - p.n_start + p.n0 - 1) // p.n0
    return int(((s.tile - p.first) * columns + (s.n - p.n_start) // p.n0) % SLOTS)


@emits
def multiply_block(core: Any, p: Plan, b: Buffers, s: Step, o: Operands, patch: Patch) -> None:
    """Multiply a patch of windows by the weights in L0B, k0 fractals of k at a time."""
    columns = min(p.n0, p.n_end - s.n)
    for done in range(0, patch.elements, p.k0):
        depth = min(p.k0, patch.elements - done)
        a = b.a + fill(core, b.qa) * b.a_slot
        piece = Patch(patch.m, patch.positions, patch.k + done, depth)
        unfold(core, a, o.source, p.window, tile_rows(core, p, s.tile), piece)
        filled(core, b.qa)
        use(core, b.qa)
        starts = o.accumulate == 0 and s.chunk == 0 and piece.k == 0
        weights = o.weights + done * columns * FRACTAL
        mmad(core, o.c, a, weights, patch.positions * 16, depth * 16, columns * 16, 0 if starts else 1)
        free(core, b.qa)


@emits
def store(core: Any, p: Plan, b: Buffers, tile: int, n: int, m: int) -> None:
    """Bring one output tile from L0C through UB to GM: only the positions that exist."""
    rows, columns = tile_rows(core, p, tile), min(p.n0, p.n_end - n)
    fractals = min(p.m0, tile_fractals(core, p, tile) - m)
    positions = min(fractals * 16, rows.length * p.window.ow - m * 16)
    u = b.u + fill(core, b.qu) * b.u_slot
    c = b.c + use(core, b.qc) * b.c_slot
    l0c_to_ub(core, u, c, 1, fractals * columns, to_fp16=2 - p.unit)
    free(core, b.qc)
    filled(core, b.qu)
    use(core, b.qu)
    plane = p.window.oh * p.window.ow
    place = (tile // p.row_tiles * p.results + n) * plane + rows.first * p.window.ow + m * 16
    dst = b.result + place * p.unit * BLOCK
    move_planes(core, dst, u, columns, positions * p.unit, plane * p.unit, fractals * 16 * p.unit)
    free(core, b.qu)


@emits
def load_bias(core: Any, p: Plan, bias: int, o: int) -> int:
    """Bring the bias of this core's result groups to UB, zeros behind the last one; return where it is."""
    first, count = p.n_start * 16, min(o, p.n_end * 16) - p.n_start * 16
    there = alloc(core, UB, (p.n_end - p.n_start) * 64)
    padded = alloc(core, UB, (p.n_end - p.n_start) * 64)
    data_move(core, there, bias + first * 4, 1, (count * 4 + 31) // 32)
    flat_dup(core, padded, 0.0, (p.n_end - p.n_start) * 16, FP32)
    barrier(core)
    flat_binary(core, ADD, padded, padded, there, count, FP32)
    return padded


@emits
def preset(core: Any, p: Plan, b: Buffers, q: int, biases: int, s: Step) -> None:
    """Fill an accumulator with the bias of its columns."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    slot = fill(core, q)
    for m in range(fractals):
        there = b.c + slot * b.c_slot + m * ACCUMULATOR
        broadcast_ub_to_l0c(core, there, biases + (s.n - p.n_start) * 64, columns, 1, 0, fractals - 1)
    filled(core, q)
    use(core, q)
