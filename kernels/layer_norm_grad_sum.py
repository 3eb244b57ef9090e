"""The second launch of the gradients of layer normalisation: parts of sums become those of gamma and beta."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
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
from kernels.pieces.rowwise import Tile, add_columns
from kernels.rules import round_up

Array = npt.NDArray[Any]
BLOCK, EIGHT, SLICE = 32, 8, 128


@dataclass(frozen=True)
class NormSumShape(Shape):
    """The parts of the sums of n columns, `parts` of them."""

    SMALL: ClassVar[dict[str, int]] = {"parts": 5, "n": 50}
    LARGE: ClassVar[dict[str, int]] = {"parts": 32, "n": 5000}
    n: int
    parts: int = 32

    @property
    def padded(self) -> int:
        """The columns, rounded up to whole blocks."""
        return round_up(self.n, EIGHT)


@dataclass(frozen=True)
class NormSumTiling(Tiling):
    """Parts that come at once; a core works on slices of 128 columns."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int
    slots: int = 2

    @classmethod
    def default(cls, shape: NormSumShape, platform: Platform) -> Self:
        """Return 32 parts, or all where they are fewer."""
        return cls(min(32, shape.parts))

    def blocks(self, shape: NormSumShape, platform: Platform) -> int:
        """Return one core per slice, as many as there are."""
        return min(int(platform.ai_cores), -(-shape.n // SLICE))


def _sum_operands(shape: NormSumShape) -> tuple[Operand, ...]:
    n = (shape.n,)
    parts = Operand("parts_of_sums", (shape.parts, 2, shape.padded), FP32)
    return parts, output("dgamma", n, FP32), output("dbeta", n, FP32)


def _sum_reference(shape: NormSumShape, parts_of_sums: Array) -> tuple[Array, Array]:
    total = parts_of_sums.astype(np.float64).sum(axis=0).astype(np.float32)
    return total[0, : shape.n], total[1, : shape.n]


@kernel(NormSumShape, NormSumTiling, _sum_operands, _sum_reference)
def layer_norm_grad_sum(
    core: Any, parts_of_sums: int, dgamma: int, dbeta: int, shape: Any, tiling: Any
) -> None:
    """dgamma[n], dbeta[n] = the parts that layer_norm_grad left, added in their order."""
    padded = (shape.n + EIGHT - 1) // EIGHT * EIGHT
    pitch = SLICE * 4
    area = tiling.rows * pitch
    ub_in, total = alloc(core, UB, tiling.slots * area, tiling.slots), alloc(core, UB, pitch)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    end = share_end(core, shape.n, SLICE)
    for column in range(share_start(core, shape.n, SLICE), end, SLICE):
        width = min(SLICE, shape.n - column)
        for which in range(2):
            fill(core, q_out)
            flat_dup(core, total, 0.0, SLICE, FP32)
            for part in range(0, shape.parts, tiling.rows):
                count, taken = min(tiling.rows, shape.parts - part), ub_in + fill(core, q_in) * area
                start = parts_of_sums + ((part * 2 + which) * padded + column) * 4
                load_rows(core, taken, pitch, start, padded * 8, count, width * 4)
                filled(core, q_in)
                use(core, q_in)
                add_columns(core, total, taken, Tile(count, width, pitch))
                free(core, q_in)
            filled(core, q_out)
            use(core, q_out)
            to = dgamma if which == 0 else dbeta
            data_move(core, to + column * 4, total, 1, (width * 4 + BLOCK - 1) // BLOCK)
            free(core, q_out)
    close(core, q_out)
    close(core, q_in)
