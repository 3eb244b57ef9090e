"""Feature maps between NCHW and NC1HWC0, padded with zeros.

Sixteen channels of a piece of the image are transposed, so that channels become neighbours, or back.
Four-byte numbers take two passes of half words: the piece is read as 16 runs, so that each pass transposes
whole 16 x 16 tiles. Of small images sixteen groups of 16 channels are turned at once. Rows that are no whole
number of blocks are packed in UB, or written up to their last whole block and then their last 32 bytes, so
that nothing beside them is touched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_dup,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vector_dup,
)
from kernels.lang.buffers import UB_GAP
from kernels.pieces.rows import (
    COMPACT_LIMIT,
    compact,
    compact_scratch_bytes,
    load_rows,
    pitch_bytes,
    row_period,
    row_tails,
    store_exact,
)
from kernels.pieces.transpose import transpose_16bit
from kernels.pieces.turn_groups import turn_groups
from kernels.rules import item_bytes, require_dtype, round_up

Array = npt.NDArray[Any]
EDGE, BLOCK = 16, 32
RUN = 128
"""Positions of a piece are a multiple of this: 16 runs of whole blocks of fp32."""
MAX_POSITIONS = {FP16: 1024, FP32: 512}
SMALL_AREA, MANY_GROUPS = 64, 8
"""Positions of an image that is small; groups of channels that a core should have to turn sixteen at once."""


@dataclass(frozen=True)
class ImageShape(Shape):
    """x[n, c, h, w]."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"n": n, "c": c, "h": h, "w": w, "dtype": dtype}
        for n, c, h, w in ((1, 3, 9, 7), (2, 20, 14, 14), (1, 64, 7, 7))
        for dtype in (FP16, FP32)
    )
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 32, "c": 3, "h": 224, "w": 224}, {"n": 32, "c": 64, "h": 56, "w": 56},
        {"n": 32, "c": 256, "h": 14, "w": 14}, {"n": 32, "c": 512, "h": 7, "w": 7},
    )  # fmt: skip
    n: int
    c: int
    h: int
    w: int
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse other types than the two floating-point ones."""
        require_dtype(kernel, self.dtype, FP16, FP32)

    @property
    def groups(self) -> int:
        """Groups of 16 channels of an image."""
        return -(-self.c // EDGE)

    @property
    def together_bytes(self) -> int:
        """Bytes of sixteen groups, and of a gap before them."""
        return EDGE * EDGE * self.h * self.w * item_bytes(self.dtype) + UB_GAP


@dataclass(frozen=True)
class ImageTiling(Tiling):
    """Positions (h and w as one axis) of a piece, a multiple of 128, and buffers of each hand-off.

    With together=1 sixteen groups of 16 channels are turned at once, each whole.
    """

    LENGTHS: ClassVar[tuple[str, ...]] = ("positions",)
    positions: int
    slots: int = 2
    together: int = 0

    @classmethod
    def default(cls, shape: ImageShape, platform: Platform) -> Self:
        """Return whole groups where sixteen fit into UB; or pieces with 16 channels that keep cores busy.

        Of larger images a core needs several groups, since those that are missing take as long.
        """
        images, area = shape.n * shape.groups, shape.h * shape.w
        pieces = max(1, int(platform.ai_cores) // images)
        positions = min(round_up(-(-area // pieces), RUN), MAX_POSITIONS[shape.dtype])
        is_worth = area <= SMALL_AREA or images >= MANY_GROUPS * int(platform.ai_cores)
        for slots in (2, 1):
            if (
                shape.c % EDGE == 0
                and is_worth
                and 2 * slots * shape.together_bytes <= int(platform.ub_bytes)
            ):
                return cls(positions, slots, 1)
        return cls(positions)

    @classmethod
    def space(cls, shape: ImageShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, single groups, and half the positions."""
        first = cls.default(shape, platform)
        yield first
        if first.together:
            yield cls(first.positions)
        if first.positions > RUN:
            yield cls(first.positions // 2)

    def blocks(self, shape: ImageShape, platform: Platform) -> int:
        """Return one core per piece of 16 channels, as many as there are."""
        pieces = 1 if self.together else -(-shape.h * shape.w // max(RUN, self.positions // RUN * RUN))
        return min(int(platform.ai_cores), shape.n * shape.groups * pieces)


@emits
def interleave_32bit(
    core: Any, dst: int, src: int, pitch: int, channels: int, positions: int, scratch: int
) -> None:
    """Set dst[positions, 16] = src[channels, positions] for fp32; rows of src lie `pitch` bytes apart.

    Scratch is 68 bytes a position. The positions are 16 runs of `run`.
    """
    run, mixed = positions // EDGE, scratch + positions * 4
    if channels % 8 > 0:
        flat_dup(core, mixed, 0.0, positions * EDGE, FP32)
    for channel in range(channels):  # [16 runs][position x half] -> [position][channel x half][16 runs]
        transpose_16bit(core, scratch, 1, 16, src + channel * pitch, run // 8, 1, run // 8)
        data_move(core, mixed + channel * 64, scratch, run, 2, 0, 30)
    for half in range(2):  # eight channels each
        if half * 8 < channels:
            transpose_16bit(core, dst + half * BLOCK, run * 2, 2, mixed + half * 512, 1, 32, run)
        else:
            for done in range(0, positions, 8 * 240):
                repeat = min(240, (positions - done) // 8)
                vector_dup(core, dst + BLOCK + done * 64, repeat, 0.0, FP32, 64, 2, 16)


@emits
def separate_32bit(
    core: Any, dst: int, pitch: int, src: int, channels: int, positions: int, scratch: int
) -> None:
    """Set dst[channels, positions] = src[positions, 16] for fp32: the way back of `interleave_32bit`."""
    run, mixed = positions // EDGE, scratch + positions * 4
    for half in range((channels + 7) // 8):
        transpose_16bit(core, mixed + half * 512, 1, 32, src + half * BLOCK, run * 2, 2, run)
    for channel in range(channels):
        data_move(core, scratch, mixed + channel * 64, run, 2, 30, 0)
        transpose_16bit(core, dst + channel * pitch, run // 8, 1, scratch, 1, 16, run // 8)


@emits
def interleave(
    core: Any, dst: int, src: int, pitch: int, channels: int, positions: int, dtype: int, scratch: int
) -> None:  # fmt: skip
    """Set dst[positions, 16] = src[channels, positions], zero where no channel is; src is overwritten."""
    if dtype == FP32:
        interleave_32bit(core, dst, src, pitch, channels, positions, scratch)
        return
    flat_dup(core, src + channels * pitch, 0.0, (EDGE - channels) * pitch // 2, FP16)
    transpose_16bit(core, dst, 1, 16, src, pitch // BLOCK, 1, positions // EDGE)


@emits
def separate(
    core: Any, dst: int, pitch: int, src: int, channels: int, positions: int, dtype: int, scratch: int
) -> None:  # fmt: skip
    """Set dst[channels, positions] = src[positions, 16]; dst has room for 16 rows."""
    if dtype == FP32:
        separate_32bit(core, dst, pitch, src, channels, positions, scratch)
    else:
        transpose_16bit(core, dst, pitch // BLOCK, 1, src, 1, 16, positions // EDGE)


@emits
def scratch_bytes(core: Any, dtype: int, positions: int) -> int:
    """Return the scratch that 16 channels of so many positions need on their way."""
    return positions * 68 if dtype == FP32 else 0


def _to_fractal(shape: ImageShape) -> tuple[Operand, ...]:
    nchw = (shape.n, shape.c, shape.h, shape.w)
    return Operand("x", nchw, shape.dtype), output("y", nchw, shape.dtype, "NC1HWC0")


def _from_fractal(shape: ImageShape) -> tuple[Operand, ...]:
    nchw = (shape.n, shape.c, shape.h, shape.w)
    return Operand("x", nchw, shape.dtype, "NC1HWC0"), output("y", nchw, shape.dtype)


def _same(shape: ImageShape, x: Array) -> tuple[Array]:
    return (x,)


@emits
def interleave_pieces(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Set y[n, c1, h, w, 16] = x[n, c, h, w], a piece of 16 channels at once."""
    size, area = size_of(core, shape.dtype), shape.h * shape.w
    positions = max(1, tiling.positions // RUN) * RUN
    pitch, slots, groups = positions * size, tiling.slots, (shape.c + 15) // 16
    ub_in, ub_out = alloc(core, UB, slots * 16 * pitch, slots), alloc(core, UB, slots * 16 * pitch, slots)
    scratch = alloc(core, UB, scratch_bytes(core, shape.dtype, positions))
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    pieces = (area + positions - 1) // positions
    units = shape.n * groups * pieces
    for unit in range(share_start(core, units, 1), share_end(core, units, 1)):
        plane, start = unit // pieces, unit % pieces * positions
        image, group = plane // groups, plane % groups
        count, channels = min(positions, area - start), min(16, shape.c - group * 16)
        taken = ub_in + fill(core, q_in) * 16 * pitch
        source = x + ((image * shape.c + group * 16) * area + start) * size
        load_rows(core, taken, pitch, source, area * size, channels, count * size)
        filled(core, q_in)
        use(core, q_in)
        made = ub_out + fill(core, q_out) * 16 * pitch
        width = (count + RUN - 1) // RUN * RUN
        interleave(core, made, taken, pitch, channels, width, shape.dtype, scratch)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + (plane * area + start) * 16 * size, made, 1, count * size // 2)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@kernel(ImageShape, ImageTiling, _to_fractal, _same)
def nchw_to_nc1hwc0(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, c1, h, w, c0] = x[n, c, h, w] with c = c1 * 16 + c0; missing channels are zero."""
    if tiling.together != 0:
        groups, area = shape.n * (shape.c // EDGE), shape.h * shape.w
        turn_groups(core, x, y, groups, EDGE, area, size_of(core, shape.dtype), tiling.slots)
    else:
        interleave_pieces(core, x, y, shape, tiling)


class Packing(NamedTuple):
    """How short rows are gathered in UB before they are packed; `width` is a row in whole runs."""

    rows: int
    wide: int
    mixing: int
    packing: int
    row_bytes: int
    pitch: int
    width: int
    dtype: int


@emits
def gather_plane(core: Any, p: Any, have: int, taken: int, channels: int) -> None:
    """Separate the channels of a plane in UB and append them to the rows gathered so far."""
    wide_pitch = p.width * size_of(core, p.dtype)
    separate(core, p.wide, wide_pitch, taken, channels, p.width, p.dtype, p.mixing)
    gap = (wide_pitch - p.pitch) // BLOCK
    data_move(core, p.rows + have * p.pitch, p.wide, channels, p.pitch // BLOCK, gap, 0)


@emits
def store_packed(core: Any, p: Any, y: int, first: int, count: int, ub_out: int, q_out: int) -> None:
    """Pack `count` of the gathered rows, from row `first` on, and write them."""
    fill(core, q_out)
    compact(core, ub_out, p.rows + first * p.pitch, count, p.row_bytes, p.packing)
    filled(core, q_out)
    use(core, q_out)
    data_move(core, y, ub_out, 1, pitch_bytes(core, count * p.row_bytes) // BLOCK)
    free(core, q_out)


@emits
def packing_buffers(core: Any, area: int, dtype: int, rows: int) -> Any:
    """Allocate what `rows` gathered rows need."""
    size = size_of(core, dtype)
    width, row_bytes = (area + RUN - 1) // RUN * RUN, area * size
    pitch = pitch_bytes(core, row_bytes)
    gathered, wide = alloc(core, UB, rows * pitch), alloc(core, UB, width * 16 * size)
    mixing = alloc(core, UB, scratch_bytes(core, dtype, width))
    packing = alloc(core, UB, compact_scratch_bytes(core, row_bytes))
    return Packing(gathered, wide, mixing, packing, row_bytes, pitch, width, dtype)


@emits
def separate_packed(core: Any, x: int, y: int, n: int, c: int, area: int, dtype: int, slots: int) -> None:
    """Set y[n, c, area] = x[n, c1, area, 16] for short rows that are no whole number of blocks.

    Fewer than 16 channels: as many images together as fill whole blocks. More: 16 channels are whole blocks;
    the last 16 of an image overlap the group before them where c is no multiple of 16.
    """
    groups, row_bytes = (c + 15) // 16, area * size_of(core, dtype)
    images = row_period(core, c * row_bytes) if c < EDGE else 1
    batch = 16 * row_period(core, row_bytes)
    room = (images * 16 + batch - 1) // batch * batch + 32
    p = packing_buffers(core, area, dtype, room)
    plane_bytes, slot_bytes = 16 * row_bytes, 16 * p.width * size_of(core, dtype)
    ub_in, ub_out = alloc(core, UB, slots * slot_bytes, slots), alloc(core, UB, room * row_bytes)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, 1)
    end, have = share_end(core, n, images), 0
    for plane in range(share_start(core, n, images) * groups, end * groups):
        image, group = plane // groups, plane % groups
        channels = min(16, c - group * 16)
        taken = ub_in + fill(core, q_in) * slot_bytes
        data_move(core, taken, x + plane * plane_bytes, 1, plane_bytes // BLOCK)
        filled(core, q_in)
        use(core, q_in)
        gather_plane(core, p, have, taken, channels)
        free(core, q_in)
        have += channels
        if c < EDGE and ((image + 1) % images == 0 or image + 1 == end):
            store_packed(core, p, y + (image * c + c - have) * row_bytes, 0, have, ub_out, q_out)
            have = 0
        elif c >= EDGE:
            channel = image * c + group * 16 + channels - 16
            store_packed(core, p, y + channel * row_bytes, have - 16, 16, ub_out, q_out)
            if have == 32 and group + 1 < groups:  # the next group may need channels of this one
                data_move(core, p.rows, p.rows + 16 * p.pitch, 1, 16 * p.pitch // BLOCK)
            have = 16 if group + 1 < groups else 0
    close(core, q_out)
    close(core, q_in)


@emits
def separate_rows(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Set y[n, c, h, w] = x[n, c1, h, w, 16], row by row, each written exactly."""
    size, c, area, slots = size_of(core, shape.dtype), shape.c, shape.h * shape.w, tiling.slots
    positions, groups = max(1, tiling.positions // RUN) * RUN, (c + 15) // 16
    room = positions + RUN  # a rest of fewer positions joins the piece before
    pitch = room * size
    ub_in = alloc(core, UB, slots * 16 * pitch, slots)
    ub_out = alloc(core, UB, slots * (16 * pitch + 512), slots)
    mixing, scratch = alloc(core, UB, scratch_bytes(core, shape.dtype, room)), alloc(core, UB, 1024)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    pieces = max(1, (area - RUN + positions - 1) // positions)
    units = shape.n * groups * pieces
    for unit in range(share_start(core, units, 1), share_end(core, units, 1)):
        plane, piece = unit // pieces, unit % pieces
        start, channel = piece * positions, plane // groups * c + plane % groups * 16
        channels = min(16, c - plane % groups * 16)
        count = area - start if piece == pieces - 1 else positions
        taken = ub_in + fill(core, q_in) * 16 * pitch
        data_move(core, taken, x + (plane * area + start) * 16 * size, 1, count * size // 2)
        filled(core, q_in)
        use(core, q_in)
        made = ub_out + fill(core, q_out) * (16 * pitch + 512)
        tails = made + 16 * pitch
        separate(core, made, pitch, taken, channels, (count + RUN - 1) // RUN * RUN, shape.dtype, mixing)
        if count * size % BLOCK != 0:
            row_tails(core, tails, made, pitch, channels, count * size, scratch)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        target = y + (channel * area + start) * size
        store_exact(core, target, area * size, made, pitch, channels, count * size, tails)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@kernel(ImageShape, ImageTiling, _from_fractal, _same)
def nc1hwc0_to_nchw(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, c, h, w] = x[n, c1, h, w, c0] with c = c1 * 16 + c0."""
    area = shape.h * shape.w
    row_bytes = area * size_of(core, shape.dtype)
    period = row_period(core, row_bytes)
    if tiling.together != 0:
        groups, size = shape.n * (shape.c // EDGE), size_of(core, shape.dtype)
        turn_groups(core, x, y, groups, area, EDGE, size, tiling.slots)
    elif period > 1 and period * pitch_bytes(core, row_bytes) <= COMPACT_LIMIT:
        planes = shape.c // EDGE if shape.c % EDGE == 0 else 1  # whole groups of channels are like images
        separate_packed(core, x, y, shape.n * planes, shape.c // planes, area, shape.dtype, tiling.slots)
    else:
        separate_rows(core, x, y, shape, tiling)
