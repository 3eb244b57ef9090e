"""The loops inside of NumPy's ufuncs, so that machine code computes the bits that NumPy does.

A ufunc is an object of C whose layout NumPy publishes (`PyUFuncObject` in numpy/ufuncobject.h): it has one
inner loop per combination of types, in the order of `ufunc.types`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


class _UFunc(ctypes.Structure):
    """The start of `PyUFuncObject`."""

    _fields_ = [
        ("references", ctypes.c_ssize_t),
        ("kind", ctypes.c_void_p),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
    ]


def has_loop(ufunc: np.ufunc, dtype: str) -> bool:
    """Tell whether the ufunc has a loop from values of a dtype to one of the same."""
    return _types(ufunc, dtype) in ufunc.types


def loop_of(ufunc: np.ufunc, dtype: str) -> tuple[int, int]:
    """Return the address of the loop for a dtype, and that of the data it is called with."""
    layout = _UFunc.from_address(id(ufunc))
    at = ufunc.types.index(_types(ufunc, dtype))
    return _address(layout.functions[at]), _address(layout.data[at]) if layout.data else 0


def _types(ufunc: np.ufunc, dtype: str) -> str:
    letter = np.dtype(dtype).char
    return f"{letter * ufunc.nin}->{letter}"


def _address(pointer: Any) -> int:
    return int(pointer or 0)
