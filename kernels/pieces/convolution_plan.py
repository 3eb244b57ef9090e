"""What one core does of a convolution: its share, its tiles, and what a tile sees of the map.

A tile is some rows of one result image, or several whole images: to the cube they are one tall image, and no
more than its last fractal of positions is ragged. Where no window reaches beyond an image they lie in L1 one
below the other, otherwise `mixed`: first row 0 of each image, then row 1 of each, and so on.

The gradient to the input of a convolution with a stride is cut into stride x stride phases: the rows and
columns of dx that lie `stride` apart see the same elements of the filter, and they see dy at distance one. A
phase is a convolution of stride 1 with these elements alone.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP32, INT8
from kernels.lang.buffers import block_idx
from kernels.lang.emits import emits
from kernels.pieces.window import Rows, Window, forward_window, inner_fractals

FRACTAL = 512


class Filter(NamedTuple):
    """The whole filter, as it lies in memory, with the padding and the stride of the forward convolution."""

    h: int
    w: int
    top: int
    left: int
    dilation: int


class Taps(NamedTuple):
    """What a phase takes of the filter, and which of the result's rows and columns it gives.

    Elements first_h, first_h + step, ... of the filter's rows, likewise columns; result rows `row`,
    row + phases, ..., result columns likewise; `skip` columns of windows on the left are none of them.
    """

    row: int
    column: int
    first_h: int
    first_w: int
    step: int
    skip: int
    columns: int


class Axis(NamedTuple):
    """The elements of one axis of a filter that a phase takes, as a window over dy."""

    first: int
    count: int  # type: ignore[assignment] # hides a method of tuples that nobody calls
    step: int
    dilation: int
    pad: int


class Plan(NamedTuple):
    """One convolution, its tiling, and a core's share: tiles first..last, result groups n_start..n_end."""

    window: Window
    taps: Taps
    filter: Filter
    height: int
    width: int
    groups: int
    results: int
    map_there: int  # channel groups of an image of the map in memory
    results_there: int
    weights_there: int  # fractals of output channels that lie behind each other among the weights
    map_first: int  # the first channel group that this convolution sees
    result_first: int
    phases: int
    mirrored: int
    unit: int  # blocks of 32 bytes of a result position
    relu: int
    n: int
    images: int
    mixed: int  # 1: rows of the images of a tile take turns
    rows: int
    row_tiles: int
    m0: int
    n0: int
    k0: int
    kb: int
    chunk: int
    map_groups: int
    map_slots: int
    streams: int  # 1: weights pass through L1
    first: int
    last: int
    n_start: int
    n_end: int
    most_results: int  # of any core
    dtype: int  # of the operands
    edge: int  # channels of a block of 32 bytes of the map


class Share(NamedTuple):
    """The dense convolutions that a grouped one is made of: `count`, each of so many channel groups.

    Neighbouring groups are taken together until their channels fill fractals; the weights that would join one
    group with another are zero. `taken` groups form one of them.
    """

    count: int  # type: ignore[assignment] # hides a method of tuples that nobody calls
    inputs: int
    outputs: int
    taken: int


class Problem(NamedTuple):
    """Channel groups of one dense convolution and of the tensors it is a part of, and how it is computed."""

    groups: int
    results: int
    map_there: int
    results_there: int
    weights_there: int
    map_first: int
    result_first: int
    phases: int
    mirrored: int
    relu: int
    splits: int  # shares of the images that are summed apart, 0: none


@emits
def plan_of(
    core: Any, window: Window, taps: Taps, problem: Problem, pitch: int, shape: Any, tiling: Any
) -> Any:
    """Return the plan of this core for a window over a problem's channel groups.

    Images below each other would have to lie `pitch` rows apart for windows not to see two of them.
    """
    height, width = (shape.h, shape.w) if problem.mirrored else (window.oh, window.ow)
    rows = min((tiling.rows + problem.phases - 1) // problem.phases * problem.phases, height)
    row_tiles = (height + rows - 1) // rows
    part, column = block_idx(core) // tiling.channel_cores, block_idx(core) % tiling.channel_cores
    part = part % tiling.tile_cores
    stacks = row_tiles == 1 and window.row_step == 1 and window.per_block == 1
    if problem.splits > 0:  # a tile is of one split
        stacks = stacks and shape.n % (problem.splits * tiling.images) == 0
    images = min(tiling.images, shape.n) if stacks else 1
    tall = (height + problem.phases - 1) // problem.phases * window.stride_h
    mixed = 1 if images > 1 and pitch > min(window.h, tall) else 0
    tiles = (shape.n + images - 1) // images * row_tiles
    first, last = tiles * part // tiling.tile_cores, tiles * (part + 1) // tiling.tile_cores
    if problem.splits > 0:
        first = shape.n * (problem.splits * part // tiling.tile_cores) // problem.splits // images * row_tiles
        last = (
            shape.n
            * (problem.splits * (part + 1) // tiling.tile_cores)
            // problem.splits
            // images
            * row_tiles
        )
    n_start = problem.results * column // tiling.channel_cores
    n_end = problem.results * (column + 1) // tiling.channel_cores
    map_groups = min(tiling.map_groups, problem.groups)
    single = map_groups == problem.groups and tiles <= tiling.tile_cores
    return Plan(
        window, taps,
        Filter(shape.kh, shape.kw, shape.pad + shape.more_top, shape.pad + shape.more_left, shape.dilation),
        height, width,
        problem.groups, problem.results, problem.map_there, problem.results_there, problem.weights_there,
        problem.map_first, problem.result_first, problem.phases, problem.mirrored,
        2 if shape.out_dtype == FP32 else 1, problem.relu,
        shape.n, images, mixed, rows, row_tiles, tiling.m0, tiling.n0, tiling.k0, tiling.kb,
        min(tiling.chunk, map_groups), map_groups, 1 if single else 2, tiling.weight_slots - 1, first,
        last if n_start < n_end else first, n_start, n_end,
        (problem.results + tiling.channel_cores - 1) // tiling.channel_cores, shape.dtype,
        channels_of_block(core, shape),
    )  # fmt: skip


@emits
def channels_of_block(core: Any, shape: Any) -> int:
    """Return how many channels of the operands take 32 bytes."""
    return 32 if shape.dtype == INT8 else 16


@emits
def dense_parts(core: Any, shape: Any) -> Any:
    """Return the dense convolutions that a grouped one is made of."""
    inputs, outputs, taken = shape.c // shape.groups, shape.o // shape.groups, 1
    edge = channels_of_block(core, shape)
    while taken < shape.groups and (taken * inputs % edge != 0 or taken * outputs % 16 != 0):
        taken += 1
    count = (shape.groups + taken - 1) // taken
    return Share(count, (taken * inputs + edge - 1) // edge, (taken * outputs + 15) // 16, taken)


@emits
def first_part(core: Any, share: Share, cores: int, group_cores: int) -> int:
    """Return the first dense convolution of this core; `cores` work on the same ones."""
    return int(share.count * (block_idx(core) // cores) // group_cores)


@emits
def last_part(core: Any, share: Share, cores: int, group_cores: int) -> int:
    """Return the first dense convolution that this core leaves to the next one."""
    return int(share.count * (block_idx(core) // cores + 1) // group_cores)


@emits
def image_rows(core: Any, window: Window) -> int:
    """Return the rows of the result from one stacked image to the next: windows must not see both."""
    seen = (window.oh - 1) * window.stride_h - window.pad_h + (window.kh - 1) * window.dilation + 1
    gap = max(0, window.pad_h, seen - window.h)
    return int(max(window.oh, (window.h + gap + window.stride_h - 1) // window.stride_h))


@emits
def forward_plan(core: Any, shape: Any, tiling: Any, part: int, relu: int, splits: int = 0) -> Any:
    """Return the plan of y = conv(x, w) for one of the dense convolutions; a core has whole splits."""
    window, share = forward_window(core, shape), dense_parts(core, shape)
    edge = channels_of_block(core, shape)
    there, results = (shape.c + edge - 1) // edge, (shape.o + 15) // 16
    problem = Problem(
        min(share.inputs, there - part * share.inputs), min(share.outputs, results - part * share.outputs),
        there, results, share.outputs, part * share.inputs, part * share.outputs, 1, 0, relu,
        splits,
    )  # fmt: skip
    taps = Taps(0, 0, 0, 0, 1, 0, window.ow)
    pitch = image_rows(core, window) * window.stride_h
    return plan_of(core, window, taps, problem, pitch, shape, tiling)


@emits
def backward_plan(core: Any, shape: Any, tiling: Any, part: int) -> Any:
    """Return the plan of dx: its phase of the rows and columns 0, stride, ..."""
    share = dense_parts(core, shape)
    there, results = (shape.o + 15) // 16, (shape.c + 15) // 16
    problem = Problem(
        min(share.outputs, there - part * share.outputs), min(share.inputs, results - part * share.inputs),
        there, results, share.outputs, part * share.outputs, part * share.inputs, shape.stride, 1, 0,
        0,
    )  # fmt: skip
    dy = forward_window(core, shape)
    window = Window(dy.oh, dy.ow, shape.h, shape.w, shape.kh, shape.kw, 1, 1, 1, 0, 0, 0, 0, 1, 1)
    above = ((shape.kh - 1) * shape.dilation - dy.pad_h + shape.stride - 1) // shape.stride
    below = (shape.h - 1 + dy.pad_h) // shape.stride + 1 - window.h
    pitch = max((shape.h + shape.stride - 1) // shape.stride, window.h + max(0, above, below))
    taps = Taps(0, 0, 0, 0, 1, 0, shape.w)
    return phase_plan(core, plan_of(core, window, taps, problem, pitch, shape, tiling), 0)


@emits
def taps_along(core: Any, length: int, place: int, pad: int, dilation: int, stride: int) -> Any:
    """Return the elements of a filter's axis that place `place`, place + stride, ... of dx see."""
    step, first = 1, 0
    while step * dilation % stride != 0:
        step += 1
    while first < step and (place + pad - first * dilation) % stride != 0:
        first += 1
    count = max(0, (length - first + step - 1) // step) if first < step else 0
    apart = step * dilation // stride
    pad_top = (count - 1) * apart - (place + pad - first * dilation) // stride
    return Axis(first, count, step, apart, pad_top)


@emits
def weights_of(core: Any, shape: Any, share: Share, weights: int, part: int) -> int:
    """Return where the weights of one of the dense convolutions lie."""
    return int(weights + part * share.inputs * shape.kh * shape.kw * share.outputs * FRACTAL)


@emits
def phase_plan(core: Any, p: Plan, phase: int) -> Any:
    """Return the plan of one of the phases of a gradient to the input."""
    w, f = p.window, p.filter
    row, column = phase // p.phases, phase % p.phases
    v = taps_along(core, f.h, row, f.top, f.dilation, p.phases)
    h = taps_along(core, f.w, column, f.left, f.dilation, p.phases)
    rows, columns = (p.height - row + p.phases - 1) // p.phases, (p.width - column + p.phases - 1) // p.phases
    skip, pad_left = max(0, -h.pad), max(0, h.pad)
    span = (h.count - 1) * h.dilation
    pad_right = max(0, skip + columns + span - w.w - pad_left)
    window = Window(
        w.h, w.w, rows, w.w + pad_left + pad_right - span, v.count, h.count, 1, 1, v.dilation, v.pad,
        pad_left, pad_right, w.h, 1, 1,
    )  # fmt: skip
    taps = Taps(row, column, v.first, h.first, v.step, skip, columns)
    return Plan(
        window, taps, f, p.height, p.width, p.groups, p.results, p.map_there, p.results_there,
        p.weights_there, p.map_first, p.result_first, p.phases, p.mirrored, p.unit, p.relu, p.n, p.images,
        p.mixed, p.rows, p.row_tiles, p.m0, p.n0, p.k0, p.kb, p.chunk, p.map_groups, p.map_slots,
        p.streams, p.first, p.last, p.n_start, p.n_end, p.most_results,
        p.dtype, p.edge,
    )  # fmt: skip


@emits
def first_image(core: Any, p: Plan, tile: int) -> int:
    """Return the first image of a tile."""
    return int(tile // p.row_tiles * p.images)


@emits
def images_of(core: Any, p: Plan, tile: int) -> int:
    """Return how many images a tile has."""
    return int(min(p.images, p.n - first_image(core, p, tile)))


@emits
def rows_of(core: Any, p: Plan, tile: int) -> int:
    """Return how many of an image's rows of the result a tile gives in this phase."""
    left = min(p.rows, p.height - tile % p.row_tiles * p.rows)
    return int((left - p.taps.row + p.phases - 1) // p.phases)


@emits
def tall_rows(core: Any, p: Plan, tile: int) -> int:
    """Return how many rows of the result a tile gives in this phase, those of all its images."""
    rows, images = rows_of(core, p, tile), images_of(core, p, tile)
    if p.mixed:
        return int(rows * images)
    return int(rows + (images - 1) * ((p.height + p.phases - 1) // p.phases))


@emits
def tile_rows(core: Any, p: Plan, tile: int) -> Any:
    """Return the rows of the result of a tile, and what they see of the map."""
    w = p.window
    before = tile % p.row_tiles * p.rows
    left, count = min(p.rows, p.height - before), rows_of(core, p, tile)
    above, span = before // p.phases * w.stride_h - w.pad_h, (w.kh - 1) * w.dilation
    start, end = max(0, above), min(w.h, above + (count - 1) * w.stride_h + span + 1)
    if p.phases > 1:  # what any phase sees
        reach = (p.filter.h - 1) * p.filter.dilation - p.filter.top
        start = min(w.h - 1, max(0, (before - reach + p.phases - 1) // p.phases))
        end = max(start + 1, min(w.h, (before + left - 1 + p.filter.top) // p.phases + 1))
    h, length = end - start, tall_rows(core, p, tile)
    if p.images > 1:
        h = images_of(core, p, tile) * w.h
    skip, pad_top = max(0, above - start), max(0, start - above)
    pad_bottom = max(0, (skip + length - 1) * w.stride_h + span + 1 - h - pad_top)
    return Rows(before // p.phases, length, start, h, pad_top, pad_bottom, skip)


@emits
def tile_fractals(core: Any, p: Plan, tile: int) -> int:
    """Return how many fractals of 16 positions a tile has in this phase; none where it sees no weights."""
    rows = rows_of(core, p, tile)
    if rows < 1 or p.taps.columns < 1 or p.window.kh * p.window.kw == 0:
        return 0
    return int((tall_rows(core, p, tile) * p.window.ow + 15) // 16)


@emits
def most_map_blocks(core: Any, p: Plan) -> int:
    """Return the most blocks of 32 bytes that a channel group of a tile takes in L1."""
    if p.images > 1:
        return int(p.images * p.window.h * p.window.w)
    rows = (p.rows - 1) * p.window.stride_h + (p.window.kh - 1) * p.window.dilation + 1
    if p.phases > 1:
        rows = (p.rows - 1 + (p.filter.h - 1) * p.filter.dilation) // p.phases + 1
    return int(min(p.window.h, rows) * (p.window.w // p.window.per_block))


@emits
def filter_fractals(core: Any, p: Plan) -> int:
    """Return how many fractals of the weights of a column of results a channel group takes."""
    return inner_fractals(core, p.filter.h, p.filter.w, p.window.per_block)


@emits
def seen_fractals(core: Any, p: Plan) -> int:
    """Return how many of them this phase takes."""
    return inner_fractals(core, p.window.kh, p.window.kw, p.window.per_block)
