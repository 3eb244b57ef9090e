"""How the results of a convolution leave L0C: by way of UB, as rows of some images, or by phases."""

from typing import Any, NamedTuple

from davinci_sim.isa import FP32, broadcast_ub_to_l0c, data_move, l0c_to_ub
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, flat_binary, flat_dup
from kernels.lang.queues import MTE2, M, V, close, fill, filled, filling, free, queue, use
from kernels.pieces.convolution import ACCUMULATOR, BLOCK, SLOTS, Buffers, Step, Tensors
from kernels.pieces.convolution_mixed import Piece, move_separated, separate
from kernels.pieces.convolution_plan import (
    Plan,
    first_image,
    images_of,
    rows_of,
    tall_rows,
    tile_fractals,
    tile_rows,
)
from kernels.pieces.window import Planes, cross_planes


class BiasRoom(NamedTuple):
    """The bias in UB as it came and padded with zeros, its queue, and that of the accumulators."""

    there: int
    padded: int
    loaded: int
    q: int


@emits
def store(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Bring one output tile from L0C through UB to GM: only the positions that exist."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    u = open_results(core, p, b)
    c = b.c + use(core, b.qc) * b.c_slot
    l0c_to_ub(core, u, c, 1, fractals * columns, to_fp16=2 - p.unit, relu=p.relu)
    free(core, b.qc)
    write_results(core, p, t, b, s)


@emits
def open_results(core: Any, p: Plan, b: Buffers) -> int:
    """Wait for room for a piece of the result in UB; return where it is to be put."""
    u = b.u + fill(core, b.qu) * b.u_slot
    return int(b.stage if p.mixed else u)


@emits
def write_results(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Write a piece of the result that is in UB to GM."""
    arrange_results(core, p, b, s)
    send_results(core, p, t, b, s)


@emits
def arrange_results(core: Any, p: Plan, b: Buffers, s: Step) -> None:
    """Put the rows of each image together where they take turns."""
    if p.mixed:
        separate(core, b.u + filling(core, b.qu) * b.u_slot, b.stage, mixed_piece(core, p, s, p.unit))


@emits
def send_results(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Write a piece of the result that lies in UB as it is to lie in GM."""
    filled(core, b.qu)
    move_results(core, p, t.result, b.u + use(core, b.qu) * b.u_slot, s, 0)
    free(core, b.qu)


@emits
def mixed_piece(core: Any, p: Plan, s: Step, unit: int) -> Any:
    """Return the piece of a result that is computed at once, where rows take turns, in fp16 or fp32."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    width, first = p.window.ow, s.m * 16
    count = min(fractals * 16, tall_rows(core, p, s.tile) * width - first)
    return Piece(first, count, fractals * 16, columns, images_of(core, p, s.tile), width, unit)


@emits
def move_results(core: Any, p: Plan, tensor: int, u: int, s: Step, comes: int) -> None:
    """Write a piece in UB to its place in a map like the result, or bring it from there if it `comes`."""
    if p.mixed:
        group = first_image(core, p, s.tile) * p.results_there + p.result_first + s.n
        plane = p.height * p.width
        gm = tensor + group * plane * p.unit * BLOCK
        move_separated(core, gm, u, mixed_piece(core, p, s, p.unit), plane, p.results_there * plane, comes)
    else:
        move_positions(core, p, tensor, u, s, comes)


@emits
def move_positions(core: Any, p: Plan, tensor: int, u: int, s: Step, comes: int) -> None:
    """Write the positions of each image of a piece in UB to GM, or bring them from there."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    rows, width, plane = tile_rows(core, p, s.tile), p.window.ow, p.height * p.width
    images, length = images_of(core, p, s.tile), rows_of(core, p, s.tile) * width
    group = first_image(core, p, s.tile) * p.results_there + p.result_first + s.n
    gm = tensor + (group * plane + rows.first * width) * p.unit * BLOCK
    there, block = fractals * 16, p.unit * BLOCK
    if columns < images and there >= images * length:  # whole images: all of a column at once
        run = length * p.unit
        planes = Planes(images, run, p.results_there * plane * p.unit, run)
        for n in range(columns):
            cross_planes(core, gm + n * plane * block, u + n * there * block, planes, comes)
        return
    for i in range(images):
        first = i * length  # of the tall image's positions
        start, end = max(first, s.m * 16), min(first + length, s.m * 16 + there)
        if start < end:
            planes = Planes(columns, (end - start) * p.unit, plane * p.unit, there * p.unit)
            place = gm + (i * p.results_there * plane + start - first) * block
            cross_planes(core, place, u + (start - s.m * 16) * block, planes, comes)


@emits
def open_rows(core: Any, p: Plan, b: Buffers, s: Step) -> None:
    """Wait for room for whole rows of a gradient, and clear it: some phases may see no weights."""
    u = b.u + fill(core, b.qu) * b.u_slot
    if p.phases > p.filter.h or p.phases > p.filter.w or p.filter.dilation > 1:
        flat_dup(core, u, 0.0, b.u_slot // 4, FP32)


@emits
def spread(core: Any, p: Plan, b: Buffers, s: Step) -> None:
    """Bring one output tile of a phase to its places among the rows in UB."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    c = b.c + use(core, b.qc) * b.c_slot
    l0c_to_ub(core, b.stage, c, 1, fractals * columns, to_fp16=2 - p.unit)
    free(core, b.qc)
    u, width = b.u + filling(core, b.qu) * b.u_slot, p.window.ow
    images, rows, taps = images_of(core, p, s.tile), rows_of(core, p, s.tile), p.taps
    tall = (p.height + p.phases - 1) // p.phases
    for line in range(s.m * 16 // width, min(((s.m + fractals) * 16 + width - 1) // width, images * tall)):
        image, row = (line % images, line // images) if p.mixed else (line // tall, line % tall)
        first = line * width + taps.skip
        start, end = max(first, s.m * 16), min(first + taps.columns, (s.m + fractals) * 16)
        if row < rows and start < end:
            place = (image * p.rows + row * p.phases + taps.row) * p.width
            place += taps.column + (start - first) * p.phases
            for n in range(columns):
                data_move(
                    core, u + (n * p.images * p.rows * p.width + place) * p.unit * BLOCK,
                    b.stage + (n * fractals * 16 + start - s.m * 16) * p.unit * BLOCK,
                    end - start, p.unit, 0, (p.phases - 1) * p.unit,
                )  # fmt: skip


@emits
def write_rows(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step) -> None:
    """Write the rows of a tile, all phases together, to GM."""
    filled(core, b.qu)
    move_rows(core, p, t.result, b.u + use(core, b.qu) * b.u_slot, s, 0)
    free(core, b.qu)


@emits
def move_rows(core: Any, p: Plan, tensor: int, u: int, s: Step, comes: int) -> None:
    """Write whole rows in UB to their place in a map like the result, or bring them from there."""
    before, plane = s.tile % p.row_tiles * p.rows, p.height * p.width
    burst, there = min(p.rows, p.height - before) * p.width * p.unit, p.rows * p.width * p.unit
    planes = Planes(min(p.n0, p.n_end - s.n), burst, plane * p.unit, p.images * there)
    for i in range(images_of(core, p, s.tile)):
        group = (first_image(core, p, s.tile) + i) * p.results_there + p.result_first + s.n
        gm = tensor + (group * plane + before * p.width) * p.unit * BLOCK
        cross_planes(core, gm, u + i * there * BLOCK, planes, comes)


@emits
def open_bias(core: Any, p: Plan) -> Any:
    """Hand out room for the bias of this core's result groups and open its queues."""
    there, padded = alloc(core, UB, p.most_results * 64), alloc(core, UB, p.most_results * 64)
    return BiasRoom(there, padded, queue(core, MTE2, V, 1), queue(core, V, M, SLOTS))


@emits
def close_bias(core: Any, room: BiasRoom) -> None:
    """Wait until no bias is used."""
    close(core, room.q)
    close(core, room.loaded)


@emits
def load_bias(core: Any, p: Plan, room: BiasRoom, bias: int, o: int) -> None:
    """Bring the bias of this core's result groups to UB, zeros behind the last one."""
    first = (p.result_first + p.n_start) * 16
    count = min(o, (p.result_first + p.n_end) * 16) - first
    if count > 0:
        fill(core, room.loaded)
        data_move(core, room.there, bias + first * 4, 1, (count * 4 + 31) // 32)
        filled(core, room.loaded)
        flat_dup(core, room.padded, 0.0, p.most_results * 16, FP32)
        use(core, room.loaded)
        flat_binary(core, ADD, room.padded, room.padded, room.there, count, FP32)
        free(core, room.loaded)


@emits
def preset(core: Any, p: Plan, b: Buffers, room: BiasRoom, s: Step) -> None:
    """Fill an accumulator with the bias of its columns."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    slot, biases = fill(core, room.q), room.padded + (s.n - p.n_start) * 64
    for m in range(fractals):
        there = b.c + slot * b.c_slot + m * ACCUMULATOR
        broadcast_ub_to_l0c(core, there, biases, columns, 1, 0, fractals - 1)
    filled(core, room.q)
    use(core, room.q)
