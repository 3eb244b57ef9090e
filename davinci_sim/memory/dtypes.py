"""The element types of device memory."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.errors import BadShape, unknown


@dataclass(frozen=True, slots=True)
class DType:
    """An element type: name, code in an instruction record, size in bits, and the name of NumPy's type.

    NumPy's types of bf16 and int4 come from ml_dtypes, which is imported when they are first asked for. One
    number of NumPy's int4 takes a byte, on the device two share one: see `to_device` and `from_device`.
    """

    name: str
    code: int
    bits: int
    numpy_name: str

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's type of the same numbers."""
        if self.numpy_name in _FROM_ML_DTYPES:
            found: np.dtype[Any] = np.dtype(getattr(importlib.import_module("ml_dtypes"), self.numpy_name))
            return found
        return np.dtype(self.numpy_name)

    @property
    def itemsize_bytes(self) -> int:
        """The bytes of one number; there are none where two numbers share a byte."""
        if self.bits % 8:
            raise BadShape(
                f"{self.name}: one number takes {self.bits} bits\n"
                "  rule: a size in bytes is that of many numbers\n  next: ask for bytes_of(count)"
            )
        return self.bits // 8

    def bytes_of(self, count: int) -> int:
        """Return the bytes that `count` numbers take on the device, rounded up.

        >>> I4.bytes_of(5), F16.bytes_of(5)
        (3, 10)
        """
        return -(-count * self.bits // 8)

    def __repr__(self) -> str:
        """Print as the name."""
        return self.name


_FROM_ML_DTYPES = frozenset({"bfloat16", "int4"})

F16 = DType("fp16", 0, 16, "float16")
F32 = DType("fp32", 1, 32, "float32")
I32 = DType("int32", 2, 32, "int32")
I8 = DType("int8", 3, 8, "int8")
U8 = DType("uint8", 4, 8, "uint8")
I16 = DType("int16", 5, 16, "int16")
U16 = DType("uint16", 6, 16, "uint16")
BF16 = DType("bf16", 7, 16, "bfloat16")
I4 = DType("int4", 8, 4, "int4")

DTYPES: tuple[DType, ...] = (F16, F32, I32, I8, U8, I16, U16, BF16, I4)  # DTYPES[d.code] is d

_SHORT = {
    "half": F16,
    "f16": F16,
    "float": F32,
    "f32": F32,
    "i32": I32,
    "i8": I8,
    "u8": U8,
    "i16": I16,
    "u16": U16,
    "i4": I4,
}
_NAMES = {d.name: d for d in DTYPES} | {d.numpy_name: d for d in DTYPES} | _SHORT


def dtype(name: object) -> DType:
    """Return the device type called `name`: "fp16", "float16", `np.float16`, a NumPy dtype or a DType.

    >>> dtype("float16"), dtype(np.int8)
    (fp16, int8)
    """
    if isinstance(name, DType):
        return name
    spelled = name if isinstance(name, str) else _numpy_name(name)
    if spelled.lower() not in _NAMES:
        raise unknown("dtype", spelled, [d.name for d in DTYPES])
    return _NAMES[spelled.lower()]


def c0(of: DType) -> int:
    """Return the elements of C0, the innermost axis of a fractal, in the formats of global memory.

    A fractal row is 32 bytes (4-bit 64, 8-bit 32, 16-bit 16); 32-bit data keep the 16 of the cube's edge, as
    L0C does and as the fp32 feature maps of the first generation do.

    >>> c0(F16), c0(F32), c0(I8), c0(I4)
    (16, 16, 32, 64)
    """
    return max(16, 256 // of.bits)


def to_device(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the bytes that an array takes on the device; of two int4 in a byte the first is the low half.

    >>> import ml_dtypes
    >>> to_device(np.array([1, -1, 7], ml_dtypes.int4)).tolist()
    [241, 7]
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if dtype(array.dtype).bits != 4:
        return flat.view(np.uint8)
    halves = np.zeros(-(-flat.size // 2) * 2, dtype=np.uint8)
    halves[: flat.size] = flat.astype(np.int8).view(np.uint8) & 15
    return (halves[0::2] | halves[1::2] << 4).astype(np.uint8)


def from_device(data: npt.NDArray[np.uint8], of: DType, count: int) -> npt.NDArray[Any]:
    """Return the `count` numbers of type `of` at the beginning of device bytes.

    >>> from_device(np.array([241, 7], np.uint8), I4, 3).tolist()
    [1, -1, 7]
    """
    raw = np.ascontiguousarray(data).view(np.uint8).reshape(-1)[: of.bytes_of(count)]
    if of.bits != 4:
        return raw.view(of.numpy)
    halves = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)[:count].astype(np.int8)
    return np.where(halves > 7, halves - 16, halves).astype(of.numpy)


def _numpy_name(value: object) -> str:
    """Return NumPy's name of a type, or how it prints when NumPy has none."""
    try:
        return np.dtype(value).name  # type: ignore[call-overload, no-any-return]
    except TypeError:
        return str(value)
