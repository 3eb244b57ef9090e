"""The element types of device memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from davinci_sim.errors import unknown


@dataclass(frozen=True, slots=True)
class DType:
    """An element type: name, code in an instruction record, size, and NumPy's type of the same bits."""

    name: str
    code: int
    itemsize_bytes: int
    numpy: np.dtype[np.generic]

    def __repr__(self) -> str:
        """Print as the name."""
        return self.name


F16 = DType("fp16", 0, 2, np.dtype(np.float16))
F32 = DType("fp32", 1, 4, np.dtype(np.float32))
I32 = DType("int32", 2, 4, np.dtype(np.int32))
I8 = DType("int8", 3, 1, np.dtype(np.int8))
U8 = DType("uint8", 4, 1, np.dtype(np.uint8))
I16 = DType("int16", 5, 2, np.dtype(np.int16))
U16 = DType("uint16", 6, 2, np.dtype(np.uint16))

DTYPES: tuple[DType, ...] = (F16, F32, I32, I8, U8, I16, U16)  # DTYPES[d.code] is d

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
}
_NAMES = {d.name: d for d in DTYPES} | {d.numpy.name: d for d in DTYPES} | _SHORT


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

    A fractal row is 32 bytes (8-bit 32, 16-bit 16); 32-bit data keep the 16 of the cube's edge, as L0C
    does and as the fp32 feature maps of the first generation do.

    >>> c0(F16), c0(F32), c0(I8)
    (16, 16, 32)
    """
    return 32 if of.itemsize_bytes == 1 else 16


def _numpy_name(value: object) -> str:
    """Return NumPy's name of a type, or how it prints when NumPy has none."""
    try:
        return np.dtype(value).name  # type: ignore[call-overload, no-any-return]
    except TypeError:
        return str(value)
