"""The element types of tensors, and how two of them promote."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from davinci_sim.errors import unknown


@dataclass(frozen=True)
class DType:
    """One element type; `rank` orders promotion, a higher rank wins.

    >>> str(promote(float16, float32)), str(promote(int32, float16))
    ('float32', 'float16')
    """

    name: str
    itemsize_bytes: int
    rank: int
    is_float: bool = False

    def __hash__(self) -> int:
        """Return the hash of the name, which is unique."""
        return hash(self.name)

    @property
    def numpy(self) -> np.dtype[Any]:
        """Return the NumPy dtype; bfloat16 comes from ml_dtypes, imported on first use."""
        spelled: Any = self.name
        if self.name == "bfloat16":
            import ml_dtypes

            spelled = ml_dtypes.bfloat16
        found: np.dtype[Any] = np.dtype(spelled)
        return found

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def __repr__(self) -> str:
        """Return the name, as IR text prints it."""
        return self.name


bool_ = DType("bool", 1, 0)
uint8 = DType("uint8", 1, 1)
int8 = DType("int8", 1, 1)
int16 = DType("int16", 2, 2)
int32 = DType("int32", 4, 3)
int64 = DType("int64", 8, 4)
bfloat16 = DType("bfloat16", 2, 5, is_float=True)
float16 = DType("float16", 2, 5, is_float=True)
float32 = DType("float32", 4, 6, is_float=True)
float64 = DType("float64", 8, 7, is_float=True)

DTYPES: dict[str, DType] = {
    each.name: each for each in (bool_, uint8, int8, int16, int32, int64, bfloat16, float16, float32, float64)
}
ALIASES: dict[str, str] = {
    "fp16": "float16",
    "fp32": "float32",
    "fp64": "float64",
    "bf16": "bfloat16",
    "bool_": "bool",
}


def dtype(spec: DType | str | np.dtype[Any] | type) -> DType:
    """Return the DType that a name, a NumPy dtype or a DType means.

    >>> dtype("fp16"), dtype(np.float32)
    (float16, float32)
    """
    if isinstance(spec, DType):
        return spec
    name = spec if isinstance(spec, str) else _name_of(spec)
    name = ALIASES.get(name, name)
    if name not in DTYPES:
        raise unknown("dtype", name, tuple(DTYPES))
    return DTYPES[name]


@functools.cache
def _name_of(spec: np.dtype[Any] | type) -> str:
    """Return the name of a NumPy dtype, which NumPy puts together anew each time."""
    return np.dtype(spec).name


def promote(a: DType, b: DType) -> DType:
    """Return the dtype that holds a and b: floats win over integers, wider over narrower.

    >>> promote(float16, bfloat16), promote(int8, uint8)
    (float32, int16)
    """
    if a == b:
        return a
    if a.rank == b.rank:
        return float32 if a.is_float else int16
    return a if a.rank > b.rank else b


def accumulator(spec: DType | str | np.dtype[Any]) -> np.dtype[Any]:
    """Return the NumPy dtype that sums of this dtype are kept in: half precision sums in float32."""
    found = dtype(spec)
    return (
        np.dtype(np.float32)
        if found.is_float and found.itemsize_bytes < float32.itemsize_bytes
        else found.numpy
    )
