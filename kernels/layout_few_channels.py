"""Feature maps of at most 4 channels from NCHW to NC1HWC0_C04.

Four numbers of 8 bytes cannot be gathered by moves of whole blocks, but by transposing twice. Each channel
is transposed in squares of 16 x 16 positions, so that position 16 p + 4 a + b comes to row (a, b); the rows
(b, channel) of each `a` are then transposed to blocks of four positions with four channels, which are every
fourth block of the result.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy.typing as npt

from davinci_sim.errors import BadShape
from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
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
    use,
)
from kernels.pieces.rows import load_rows
from kernels.pieces.transpose import transpose_16bit
from kernels.rules import require_dtype, round_up

Array = npt.NDArray[Any]
FEW, EDGE, BLOCK, POSITION = 4, 16, 32, 8
SQUARE = EDGE * EDGE
"""Positions of a channel that are transposed at once; a piece has some squares."""
MOST_POSITIONS = 4096


@dataclass(frozen=True)
class FewChannelsShape(Shape):
    """x[n, c, h, w] of at most 4 channels."""

    SMALL: ClassVar[Mapping[str, int]] = {"n": 2, "c": 3, "h": 9, "w": 12}
    LARGE: ClassVar[Mapping[str, int]] = {"n": 3, "c": 3, "h": 150, "w": 100}
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ({"n": 32, "c": 3, "h": 224, "w": 224},)
    n: int
    c: int
    h: int
    w: int
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse more channels, rows of broken blocks, and other types than fp16."""
        require_dtype(kernel, self.dtype, FP16)
        if self.c > FEW or self.w % FEW:
            raise BadShape(
                f"kernel {kernel}: c={self.c}, w={self.w}\n"
                f"  rule: at most {FEW} channels, rows of whole blocks: w a multiple of {FEW}\n"
                "  next: use nchw_to_nc1hwc0"
            )


@dataclass(frozen=True)
class PieceTiling(Tiling):
    """Positions (h and w as one axis) of a piece of an image, a multiple of 256, and slots of a hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("positions",)
    positions: int
    slots: int = 2

    @classmethod
    def default(cls, shape: FewChannelsShape, platform: Platform) -> Self:
        """Return the longest pieces that keep the cores busy."""
        area, pieces = shape.h * shape.w, max(1, int(platform.ai_cores) // shape.n)
        most = -(-area // -(-area // MOST_POSITIONS))
        return cls(round_up(min(most, -(-area // pieces)), SQUARE))

    @classmethod
    def space(cls, shape: FewChannelsShape, platform: Platform) -> Iterator[Self]:
        """Yield the default, pieces of half the positions, and one buffer."""
        first = cls.default(shape, platform)
        yield first
        if first.positions > SQUARE:
            yield replace(first, positions=round_up(first.positions // 2, SQUARE))
        yield replace(first, slots=1)

    def blocks(self, shape: FewChannelsShape, platform: Platform) -> int:
        """Return one core per piece, as many as there are."""
        positions = max(SQUARE, self.positions // SQUARE * SQUARE)
        return min(int(platform.ai_cores), shape.n * -(-shape.h * shape.w // positions))


@emits
def gather_channels(core: Any, dst: int, src: int, rows: int, channels: int, room: int, squares: int) -> None:
    """Set dst[positions, 4] = src[channels, positions], of which there are `squares` of `room` squares.

    What `rows` has of missing channels is zero and stays so: every piece has the room of the longest.
    """
    for channel in range(channels):  # [p][a b] -> [a b][channel][p]
        to, start = rows + channel * room * BLOCK, src + channel * room * EDGE * BLOCK
        transpose_16bit(core, to, FEW * room, 1, start, 1, EDGE, squares)
    for a in range(FEW):  # [b channel][p] -> [p][b channel], four blocks apart
        start = rows + a * EDGE * room * BLOCK
        transpose_16bit(core, dst + a * BLOCK, FEW, FEW * EDGE, start, room, 1, squares)


def _operands(shape: FewChannelsShape) -> tuple[Operand, ...]:
    nchw = (shape.n, shape.c, shape.h, shape.w)
    return Operand("x", nchw, FP16), output("y", nchw, FP16, "NC1HWC0_C04")


def _same(shape: FewChannelsShape, x: Array) -> tuple[Array]:
    return (x,)


@kernel(FewChannelsShape, PieceTiling, _operands, _same)
def nchw_to_nc1hwc0_c04(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, 1, h, w, 4] = x[n, c, h, w]; missing channels are zero."""
    squares, slots, area = max(1, tiling.positions // SQUARE), tiling.slots, shape.h * shape.w
    positions = squares * SQUARE
    pitch, room = positions * 2, positions * POSITION
    ub_in, ub_out = alloc(core, UB, slots * room, slots), alloc(core, UB, slots * room, slots)
    rows = alloc(core, UB, room)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    if shape.c < FEW:
        flat_dup(core, rows, 0.0, positions * FEW, FP16)
    pieces = (area + positions - 1) // positions
    units = shape.n * pieces
    for unit in range(share_start(core, units, 1), share_end(core, units, 1)):
        image, start = unit // pieces, unit % pieces * positions
        count = min(positions, area - start)
        taken = ub_in + fill(core, q_in) * room
        load_rows(core, taken, pitch, x + (image * shape.c * area + start) * 2, area * 2, shape.c, count * 2)
        filled(core, q_in)
        use(core, q_in)
        made = ub_out + fill(core, q_out) * room
        gather_channels(core, made, taken, rows, shape.c, squares, (count + SQUARE - 1) // SQUARE)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + (image * area + start) * POSITION, made, 1, count * POSITION // BLOCK)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
