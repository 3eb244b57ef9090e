"""Products whose inner axis is long and whose result is small: cores share the inner axis, sums are added.

Two launches. `matmul_split` writes the product of each part of the inner axis to a matrix of its own, and
`matmul_join` adds these in the order of the parts: the same bits whatever the order in which cores end, which
atomic additions in device memory would not promise. `best_splits` says into how many parts it pays to cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    ADD,
    FP16,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
    flat_convert,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
)
from kernels.matmul import factors, macs
from kernels.matmul_pipeline import matrix_product
from kernels.matmul_results import NOTHING, Given
from kernels.rules import item_bytes, require, require_dtype, round_up
from kernels.tiling.flat import FlatShape, FlatTiling
from kernels.tiling.matmul import EDGE, MatmulShape, MatmulTiling, ceil_div

Array = npt.NDArray[Any]
BLOCK, UNIT = 32, 128
MOST_SPLITS = 32
CORE_ELEMENTS = 4096
"""Numbers to add for which it pays to start one more core."""


@dataclass(frozen=True)
class SplitShape(MatmulShape):
    """parts[s, b, m, n] = a[b, m, k] @ b[b, k, n] over the s-th of `splits` parts of k, as fp32."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 16, "k": 40, "n": 16}, {"m": 65, "k": 300, "n": 33, "splits": 3, "trans_a": 1},
    )  # fmt: skip
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 1024, "k": 12288, "n": 1024, "trans_a": 1},
        {"m": 512, "k": 16000, "n": 256, "trans_a": 1, "splits": 8},
    )
    out_dtype: int = FP32
    splits: int = 2

    def check(self, kernel: str) -> None:
        """Refuse rounded sums, and more parts than there are fractals along k."""
        super().check(kernel)
        require_dtype(kernel, self.out_dtype, FP32, name="out_dtype")
        require(kernel, self.act == 0, "act is 0: parts of a sum are not the sum", f"act={self.act}")
        most = ceil_div(self.k, EDGE)
        require(
            kernel, self.splits <= most, f"splits is at most {most} for k={self.k}", f"splits={self.splits}"
        )

    @property
    def targets(self) -> int:
        """Matrices of parts."""
        return self.b * self.splits

    @property
    def depth(self) -> int:
        """Length of the longest part, in whole fractals."""
        return ceil_div(ceil_div(self.k, EDGE), self.splits) * EDGE


def cut_points(shape: SplitShape) -> list[int]:
    """Return where the parts of k begin, and the end: parts are whole fractals, and differ by at most one."""
    fractals = ceil_div(shape.k, EDGE)
    return [min(shape.k, fractals * part // shape.splits * EDGE) for part in range(shape.splits + 1)]


def matmul_split_reference(shape: Any, a: Array, b: Array) -> tuple[Array]:
    """Return parts[s, ..., m, n], the product over each part of k."""
    left = (np.swapaxes(a, -1, -2) if shape.trans_a else a).astype(np.float32)
    right = (np.swapaxes(b, -1, -2) if shape.trans_b else b).astype(np.float32)
    pieces = pairwise(cut_points(shape))
    return (np.stack([left[..., begin:end] @ right[..., begin:end, :] for begin, end in pieces]),)


def _split_operands(shape: SplitShape) -> tuple[Operand, ...]:
    parts = (shape.splits, *shape.batched(shape.m, shape.n))
    return *factors(shape), output("parts", parts, FP32, "NZ")


@kernel(SplitShape, MatmulTiling, _split_operands, matmul_split_reference, macs)
def matmul_split(core: Any, a: int, b: int, parts: int, shape: Any, tiling: Any) -> None:
    """parts[s, b, m, n] = a[b, m, k] @ b[b, k, n] over the s-th part of k, fp16 or fp32 in, fp32 out."""
    given = Given(a, b, parts, NOTHING, NOTHING, NOTHING, 0)
    matrix_product(core, given, shape.splits, shape, tiling)


@dataclass(frozen=True)
class JoinShape(Shape):
    """c[b, m, n] = the sum over s of parts[s, b, m, n]."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 16, "n": 16}, {"m": 100, "n": 70, "splits": 3, "out_dtype": FP32}, {"m": 300, "n": 200, "b": 2},
    )  # fmt: skip
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 1024, "n": 1024}, {"m": 512, "n": 256, "splits": 8},
    )  # fmt: skip
    m: int
    n: int
    b: int = 1
    splits: int = 2
    dtype: int = FP32
    out_dtype: int = FP32

    def check(self, kernel: str) -> None:
        """Refuse sums that are not fp32."""
        require_dtype(kernel, self.dtype, FP32)
        require_dtype(kernel, self.out_dtype, FP16, FP32, name="out_dtype")

    @property
    def matrix(self) -> tuple[int, ...]:
        """The shape of c."""
        return (self.m, self.n) if self.b == 1 else (self.b, self.m, self.n)

    @property
    def elements(self) -> int:
        """Numbers of c, padding included."""
        return self.b * round_up(self.m, EDGE) * round_up(self.n, EDGE)


@dataclass(frozen=True)
class SumShape(FlatShape):
    """What a stream needs of UB: a part, the sum, and the rounded sum."""

    LIVE: ClassVar[int] = 3


@dataclass(frozen=True)
class JoinTiling(FlatTiling):
    """A core's share of the sums in tiles."""

    @classmethod
    def of_slots(cls, shape: JoinShape, platform: Platform, slots: int) -> "JoinTiling":
        """Return the tiling for a number of buffers."""
        cores = min(int(platform.ai_cores), ceil_div(shape.elements * shape.splits, CORE_ELEMENTS))
        return cls._cut(cls.streamed(shape), platform, slots, cores)

    @classmethod
    def streamed(cls, shape: JoinShape) -> SumShape:
        """Return the sums, one after the other."""
        return SumShape(shape.elements, FP32)


def matmul_join_reference(shape: Any, parts: Array) -> tuple[Array]:
    """Return the sum of the parts, added in their order in float32, and rounded once."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return (total.astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


def _join_operands(shape: JoinShape) -> tuple[Operand, ...]:
    parts = Operand("parts", (shape.splits, *shape.matrix), FP32, "NZ")
    return parts, output("c", shape.matrix, shape.out_dtype, "NZ")


@emits
def add_part(core: Any, to: int, source: int, n: int, q: int, is_first: int) -> None:
    """Use a part of n numbers: as the sum, or added to it."""
    use(core, q)
    if is_first != 0:
        data_move(core, to, source, 1, n * 4 // BLOCK)
    else:
        flat_binary(core, ADD, to, to, source, n, FP32)
    free(core, q)


@kernel(JoinShape, JoinTiling, _join_operands, matmul_join_reference)
def matmul_join(core: Any, parts: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = sum of parts[s, b, m, n] over s, fp32 in, fp16 or fp32 out."""
    n = shape.b * ((shape.m + 15) // 16) * ((shape.n + 15) // 16) * 256
    tile, slots, item = tiling.tile, tiling.slots, size_of(core, shape.out_dtype)
    taken, made = alloc(core, UB, slots * tile * 4, slots), alloc(core, UB, slots * tile * item, slots)
    total = alloc(core, UB, tile * 4)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    end = share_end(core, n, UNIT)
    for i in range(share_start(core, n, UNIT), end, tile):
        count = min(tile, end - i)
        for part in range(shape.splits):
            slot = taken + fill(core, q_in) * tile * 4
            data_move(core, slot, parts + (part * n + i) * 4, 1, count * 4 // BLOCK)
            filled(core, q_in)
            add_part(core, total, slot, count, q_in, 1 if part == 0 else 0)
        slot = made + fill(core, q_out) * tile * item
        if shape.out_dtype == FP32:
            data_move(core, slot, total, 1, count * 4 // BLOCK)
        else:
            flat_convert(core, slot, shape.out_dtype, total, FP32, count)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, c + i * item, slot, 1, count * item // BLOCK)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


def best_splits(shape: MatmulShape, platform: Platform) -> int:
    """Return into how many parts the inner axis of a product is best cut; 1: not at all.

    Both launches are estimated; a second one costs its start, and the traffic of the parts.
    """
    axes = {name: getattr(shape, name) for name in MatmulShape.names()} | {"out_dtype": FP32, "act": 0}
    times = {1: MatmulTiling.default(shape, platform).cycles(shape, platform)}
    splits = 2
    while splits <= min(MOST_SPLITS, ceil_div(shape.k, EDGE)):
        cut = SplitShape(**axes, splits=splits)
        product = MatmulTiling.default(cut, platform).cycles(cut, platform)
        times[splits] = product + _joining(cut, item_bytes(shape.out_dtype), platform)
        splits *= 2
    return min(times, key=lambda splits: times[splits])


def _joining(shape: SplitShape, out_item: int, platform: Platform) -> float:
    """Return the cycles of the second launch: its start, that of the blocks, the bytes over all paths."""
    elements = shape.b * round_up(shape.m, EDGE) * round_up(shape.n, EDGE)
    cores = int(platform.ai_cores)
    paths = min(cores * int(platform.l2_read_bytes_per_cycle), int(platform.l2_chip_bytes_per_cycle))
    moved = elements * (4 * shape.splits + out_item) / paths
    return int(platform.task_start_cycles) + int(platform.block_start_cycles) * (cores - 1) + moved
