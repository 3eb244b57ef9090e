"""Conversion between element types."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    FP16,
    FP32,
    INT32,
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
from kernels.rules import item_bytes, require
from kernels.tiling.flat import FlatTiling

Array = npt.NDArray[Any]
NUMPY = (np.float16, np.float32, np.int32)


@dataclass(frozen=True)
class CastShape(Shape):
    """n elements of type `dtype` become type `out_dtype` (codes: 0 fp16, 1 fp32, 2 int32)."""

    n: int
    dtype: int = FP16
    out_dtype: int = FP32

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        return item_bytes(self.dtype) + item_bytes(self.out_dtype) + 2  # half a float of scratch per slot

    def check(self, kernel: str) -> None:
        """Refuse types that the vector unit does not convert."""
        known = {self.dtype, self.out_dtype} <= {FP16, FP32, INT32}
        rule = "dtype and out_dtype are codes 0 (fp16), 1 (fp32) or 2 (int32)"
        require(kernel, known, rule, f"dtype={self.dtype}, out_dtype={self.out_dtype}")


@emits
def convert(core: Any, dst: int, to: int, src: int, dtype: int, n: int, scratch: int) -> None:
    """Set dst[n] (type `to`) = src[n] (type `dtype`); between fp16 and int32 the way leads through fp32."""
    if dtype == to:
        data_move(core, dst, src, 1, (n * size_of(core, dtype) + 31) // 32)
    elif dtype + to == FP16 + INT32 and dtype != FP32:
        flat_convert(core, scratch, FP32, src, dtype, n)
        flat_convert(core, dst, to, scratch, FP32, n)
    else:
        flat_convert(core, dst, to, src, dtype, n)


def _cast_reference(shape: CastShape, x: Array) -> tuple[Array]:
    if shape.out_dtype != INT32 or shape.dtype == INT32:
        way = np.float32 if shape.dtype != shape.out_dtype else x.dtype
        with np.errstate(over="ignore"):
            return (x.astype(way).astype(NUMPY[shape.out_dtype]),)
    limits = np.iinfo(np.int32)
    whole = np.clip(np.rint(np.nan_to_num(x.astype(np.float64))), limits.min, limits.max)
    return (whole.astype(np.int32),)


def _cast_operands(shape: CastShape) -> tuple[Operand, ...]:
    return Operand("x", (shape.n,), shape.dtype), output("y", (shape.n,), shape.out_dtype)


@kernel(CastShape, FlatTiling, _cast_operands, _cast_reference)
def cast(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] (out_dtype) = x[n] (dtype), to nearest even; integers saturate."""
    size, to_size = size_of(core, shape.dtype), size_of(core, shape.out_dtype)
    unit, slots = FAST_BYTES // min(size, to_size), tiling.slots
    tile = max(1, tiling.tile // unit) * unit
    ub_x, ub_y = alloc(core, UB, slots * tile * size, slots), alloc(core, UB, slots * tile * to_size, slots)
    scratch = alloc(core, UB, tile * 4)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, tile):
        n = min(tile, end - i)
        taken = ub_x + fill(core, q_in) * tile * size
        data_move(core, taken, x + i * size, 1, (n * size + 31) // 32)
        filled(core, q_in)
        use(core, q_in)
        made = ub_y + fill(core, q_out) * tile * to_size
        convert(core, made, shape.out_dtype, taken, shape.dtype, n, scratch)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + i * to_size, made, 1, (n * to_size + 31) // 32)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
