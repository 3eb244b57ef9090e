"""Conversion between element types; integers of one byte go by way of fp16, as the vector unit has it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.isa import INT8, UINT8
from kernels.lang import (
    FAST_BYTES,
    FP16,
    FP32,
    INT32,
    UB,
    Operand,
    Shape,
    alloc,
    data_move,
    emits,
    flat_convert,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
)
from kernels.pieces.stream import bring, close_stream, fast_tile, open_tiles, release, room, send
from kernels.rules import item_bytes, require_dtype
from kernels.tiling.flat import FlatTiling

Array = npt.NDArray[Any]
NUMPY = (np.float16, np.float32, np.int32, np.int8, np.uint8)
BYTES = (INT8, UINT8)


@dataclass(frozen=True)
class CastShape(Shape):
    """n elements of type `dtype` become type `out_dtype`: fp16, fp32, int32, int8 or uint8 (codes 0 to 4)."""

    n: int
    dtype: int = FP16
    out_dtype: int = FP32

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        scratch = 4 if {self.dtype, self.out_dtype} & set(BYTES) else 2  # floats, for both slots
        return item_bytes(self.dtype) + item_bytes(self.out_dtype) + scratch

    def check(self, kernel: str) -> None:
        """Refuse types that the vector unit does not convert."""
        for name, code in (("dtype", self.dtype), ("out_dtype", self.out_dtype)):
            require_dtype(kernel, code, FP16, FP32, INT32, INT8, UINT8, name=name)


@emits
def between_floats(core: Any, dst: int, to: int, src: int, dtype: int, n: int, scratch: int) -> None:
    """Convert between fp16, fp32 and int32; between fp16 and int32 the way leads through fp32."""
    if dtype + to == FP16 + INT32 and dtype != FP32:
        flat_convert(core, scratch, FP32, src, dtype, n)
        flat_convert(core, dst, to, scratch, FP32, n)
    else:
        flat_convert(core, dst, to, src, dtype, n)


@emits
def to_bytes(core: Any, dst: int, to: int, src: int, dtype: int, n: int, rounded: int, floats: int) -> None:
    """Set dst[n] (int8 or uint8) = src[n], rounded once: floats become int32, then fp16, which is exact.

    What lies beyond fp16 becomes infinite and saturates.
    """
    if dtype == FP16:
        flat_convert(core, dst, to, src, FP16, n)
        return
    if dtype == FP32:
        flat_convert(core, rounded, INT32, src, FP32, n)
        flat_convert(core, floats, FP32, rounded, INT32, n)
    else:
        flat_convert(core, floats, FP32, src, INT32, n)
    flat_convert(core, rounded, FP16, floats, FP32, n)
    flat_convert(core, dst, to, rounded, FP16, n)


@emits
def convert(core: Any, dst: int, to: int, src: int, dtype: int, n: int, scratch: int, half: int) -> None:
    """Set dst[n] (type `to`) = src[n] (type `dtype`); scratch takes floats, `half` numbers of four bytes."""
    if dtype == to:
        data_move(core, dst, src, 1, (n * size_of(core, dtype) + 31) // 32)
    elif dtype in BYTES and to == FP16:
        flat_convert(core, dst, FP16, src, dtype, n)
    elif dtype in BYTES:
        flat_convert(core, half, FP16, src, dtype, n)
        if to in BYTES:
            flat_convert(core, dst, to, half, FP16, n)
        else:
            between_floats(core, dst, to, half, FP16, n, scratch)
    elif to in BYTES:
        to_bytes(core, dst, to, src, dtype, n, half, scratch)
    else:
        between_floats(core, dst, to, src, dtype, n, scratch)


def _cast_reference(shape: CastShape, x: Array) -> tuple[Array]:
    to = np.dtype(NUMPY[shape.out_dtype])
    if to.kind == "f" or shape.dtype == shape.out_dtype:
        way = np.float32 if shape.dtype != shape.out_dtype else x.dtype
        with np.errstate(over="ignore"):
            return (x.astype(way).astype(to),)
    limits = np.iinfo(NUMPY[shape.out_dtype].__name__)
    whole = np.clip(np.rint(np.nan_to_num(x.astype(np.float64))), limits.min, limits.max)
    return (whole.astype(to),)


def _cast_operands(shape: CastShape) -> tuple[Operand, ...]:
    return Operand("x", (shape.n,), shape.dtype), output("y", (shape.n,), shape.out_dtype)


@kernel(CastShape, FlatTiling, _cast_operands, _cast_reference)
def cast(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] (out_dtype) = x[n] (dtype), to nearest even; integers saturate."""
    size, to_size = size_of(core, shape.dtype), size_of(core, shape.out_dtype)
    unit, tile = FAST_BYTES // min(size, to_size), fast_tile(core, tiling.tile, min(size, to_size))
    s = open_tiles(core, 1, tile, size, to_size, tiling.slots)
    scratch, half = alloc(core, UB, tile * 4), alloc(core, UB, tile * 4 if min(size, to_size) == 1 else 0)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, tile):
        n = min(tile, end - i)
        taken = bring(core, s, x, x, x, i, n)
        made = room(core, s)
        convert(core, made, shape.out_dtype, taken, shape.dtype, n, scratch, half)
        release(core, s)
        send(core, s, y, made, i, n)
    close_stream(core, s)
