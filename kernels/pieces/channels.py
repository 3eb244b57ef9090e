"""Feature maps as lines of 64 lanes, four positions of 16 channels each, and constants of each channel.

A group of 16 channels of a batch is one long row of positions, image after image; a share of it is a part.
Parts of small images are whole images, of which a tile takes several.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, data_move, vadd, vmax, vmul, vsub
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MAX, MAX_REPEAT, SUB, flat_convert, flat_dup, size_of
from kernels.pieces.fold import fold
from kernels.pieces.sides import BLOCK
from kernels.pieces.window import move_planes

C0, LINE, LANES, POSITIONS = 16, 256, 64, 4
SMALL_IMAGE, CUT = 512, 64


class Maps(NamedTuple):
    """Images, groups of channels, positions of an image, parts of a group, and how tiles are cut."""

    n: int
    groups: int
    size: int
    parts: int
    tile: int
    dtype: int


class Segment(NamedTuple):
    """What a tile holds: `positions` of a group from `image` and `offset` on, in one or whole `images`."""

    image: int
    offset: int
    images: int
    positions: int


@emits
def part_start(core: Any, maps: Maps, part: int) -> int:
    """Return the first position of a part of a group: of an image, or a multiple of 64 in large ones."""
    total = maps.n * maps.size
    unit = maps.size if maps.size <= SMALL_IMAGE else CUT
    return int(min(total, (total + unit - 1) // unit * part // maps.parts * unit))


@emits
def segment_at(core: Any, maps: Maps, at: int, end: int) -> Any:
    """Return the next tile of a part."""
    image, offset = at // maps.size, at % maps.size
    images = min(maps.tile, end - at) // maps.size
    if offset == 0 and images > 0:
        return Segment(image, offset, images, images * maps.size)
    return Segment(image, offset, images * 0 + 1, min(maps.tile, end - at, maps.size - offset))


@emits
def move_segment(
    core: Any, maps: Maps, group: int, seg: Segment, tensor: int, ub: int, is_store: int
) -> None:
    """Move a tile between a feature map in GM and UB, where its positions follow each other."""
    unit = C0 * size_of(core, maps.dtype) // BLOCK
    there = tensor + ((seg.image * maps.groups + group) * maps.size + seg.offset) * unit * BLOCK
    burst, apart = seg.positions // seg.images * unit, maps.groups * maps.size * unit
    if is_store:
        move_planes(core, there, ub, seg.images, burst, apart, burst)
    else:
        move_planes(core, ub, there, seg.images, burst, burst, apart)


@emits
def lines_binary(core: Any, op: int, dst: int, a: int, line: int, positions: int) -> None:
    """Compute dst = a op line, where the same line of 64 lanes meets every line of a (fp32)."""
    done = 0
    while done < positions:
        repeat = max(1, min(MAX_REPEAT, (positions - done) // POSITIONS))
        mask, at = min(LANES, (positions - done) * C0), done * C0 * 4
        if op == ADD:
            vadd(core, dst + at, a + at, line, repeat, FP32, mask, 1, 1, 1, 8, 8, 0)
        elif op == SUB:
            vsub(core, dst + at, a + at, line, repeat, FP32, mask, 1, 1, 1, 8, 8, 0)
        elif op == MAX:
            vmax(core, dst + at, a + at, line, repeat, FP32, mask, 1, 1, 1, 8, 8, 0)
        else:
            vmul(core, dst + at, a + at, line, repeat, FP32, mask, 1, 1, 1, 8, 8, 0)
        done += repeat * POSITIONS


@emits
def fold_positions(core: Any, op: int, kept: int, src: int, positions: int) -> None:
    """Fold all lines of a tile onto one line."""
    lines, rest = positions // POSITIONS, positions % POSITIONS
    size = 2 if op != ADD else 4  # fp16 is only added
    fold(core, op, kept, src, lines, LANES, 0, LANES * size // BLOCK)
    if rest > 0:
        fold(core, op, kept, src + lines * LANES * size, 1, rest * C0, 8, 8)


@emits
def in_fp32(core: Any, src: int, wide: int, maps: Maps, positions: int) -> int:
    """Return where a tile lies in fp32: where it came, or converted at `wide`."""
    if maps.dtype == FP32:
        return src
    flat_convert(core, wide, FP32, src, FP16, positions * C0)
    return wide


@emits
def repeat_channels(core: Any, line: int) -> None:
    """Copy the 16 numbers at the start of a line over all of its 64 lanes."""
    data_move(core, line + 2 * BLOCK, line, 1, 2)
    data_move(core, line + 4 * BLOCK, line, 1, 4)


@emits
def load_channels(core: Any, line: int, vector: int, group: int) -> None:
    """Bring the 16 numbers of a group of channels to the start of a line."""
    data_move(core, line, vector + group * C0 * 4, 1, 2)


@emits
def load_parts(core: Any, lines: int, tensor: int, maps: Maps, group: int) -> None:
    """Bring what every part has left of a group of channels, [parts, groups * 16] in GM, to UB."""
    move_planes(core, lines, tensor + group * C0 * 4, maps.parts, 2, 2, maps.groups * 2)


@emits
def sum_parts(core: Any, total: int, lines: int, parts: int) -> None:
    """Set total[16] to the sum of all parts."""
    flat_dup(core, total, 0.0, LANES, FP32)
    fold(core, ADD, total, lines, parts, C0, 0, 2)


@emits
def store_channels(core: Any, tensor: int, maps: Maps, group: int, part: int, line: int) -> None:
    """Move the 16 numbers at the start of a line to their place in [parts, groups * 16] in GM."""
    data_move(core, tensor + (part * maps.groups + group) * C0 * 4, line, 1, 2)


@emits
def maps_of(core: Any, shape: Any, tiling: Any) -> Any:
    """Return how the feature maps of a shape are cut."""
    tile = max(1, tiling.tile // CUT) * CUT
    return Maps(shape.n, (shape.c + C0 - 1) // C0, shape.h * shape.w, shape.parts, tile, shape.dtype)
