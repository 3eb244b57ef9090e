"""A loop of scalars that starts in Python, and goes on as machine code once it has turned out to be hot."""

from __future__ import annotations

import _thread
import ctypes
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from framework.host.native.source import INTERRUPTED, NativeSource
from framework.host.native.ufuncs import loop_of
from framework.host.operators import FLOAT_UFUNCS, UFUNCS

PATIENCE = 1_000_000
"""Operators that a loop may apply in Python, over all runs, before it is compiled, which takes seconds."""
SHORT = 50
"""Turns that Python takes in the time that it takes to call machine code at all."""
WITHOUT_END = -1
_SIGNALS = int(ctypes.cast(ctypes.pythonapi.PyOS_InterruptOccurred, ctypes.c_void_p).value or 0)
"""The address of Python's function that tells whether the user has asked to stop."""


class HotLoop:
    """A loop as a function; it has no effects, so that it may be started again as machine code.

    `python(turns, ...)` runs it for at most so many turns and returns how many are left with the results, or
    None when there were none left. Machine code that meets a check that fails leaves the error to Python.
    """

    def __init__(self, label: str, source: NativeSource) -> None:
        """Take the name of the loop in Python's source, and its source for Numba."""
        self.label = label
        self.source = source
        self.patience = PATIENCE // max(1, source.size)
        self.turns_left = self.patience
        self.runs = 0
        self.python: Callable[..., Any] = _unbound

    def __call__(self, *inputs: Any) -> Any:
        """Return the results of the loop, one value or a tuple."""
        results = self._in_python(inputs) if self.turns_left else None
        if results is None and self.is_compiled:
            results = self._in_machine_code(inputs)
        if results is None:
            results = self.python(WITHOUT_END, *inputs)[1:]
        return results[0] if len(results) == 1 else results

    def _in_python(self, inputs: Sequence[Any]) -> Sequence[Any] | None:
        """Return the results if that takes no more turns than are left.

        Many short runs do not make a loop hot: they would only wait for machine code to be called.
        """
        before = self.turns_left
        self.runs += 1
        found = self.python(before, *inputs)
        if found is not None:
            self.turns_left = found[0]
            return found[1:]  # type: ignore[no-any-return]
        if before < min(SHORT, self.patience) and self.patience < SHORT * self.runs:
            self.turns_left, self.runs = self.patience, 0
            return self._in_python(inputs)
        self.turns_left = 0
        return None

    @cached_property
    def is_compiled(self) -> bool:
        """Compile the loop; tell whether that was possible. One that Numba refuses stays in Python."""
        from numba.core.errors import NumbaError

        try:
            return self.machine_code is not None
        except NumbaError:
            self.turns_left = WITHOUT_END
            return False

    @cached_property
    def machine_code(self) -> Callable[..., Any]:
        """Return the compiled function, or raise Numba's error."""
        from framework.host.native.files import compiled

        return compiled(self.source)

    @cached_property
    def loops(self) -> np.ndarray[Any, Any]:
        """Return the addresses of the ufuncs' loops that the machine code calls."""
        found = [loop_of({**UFUNCS, **FLOAT_UFUNCS}[op], dtype) for op, dtype in self.source.ufuncs]
        return np.array(found, np.int64).reshape(-1, 2)

    def _in_machine_code(self, inputs: Sequence[Any]) -> list[Any] | None:
        """Return the results of the machine code, None when a check fails."""
        parts: list[Any] = []
        for kind, each in zip(self.source.inputs, inputs, strict=True):
            if kind.is_scalar:
                parts.append(each)
            else:
                parts += kind.packed(each)
        failed, *found = self.machine_code(_SIGNALS, self.loops, *parts, *self.source.constants)
        while failed == INTERRUPTED:
            _thread.interrupt_main()  # Python's handler raises KeyboardInterrupt, unless it is the user's own
            failed, *found = self.machine_code(_SIGNALS, self.loops, *parts, *self.source.constants)
        return None if failed else [take(found) for take in self._takers]

    @cached_property
    def _takers(self) -> list[Callable[[Sequence[Any]], Any]]:
        """Return what takes each result out of what the machine code gives."""
        takers, at = [], 0
        for kind in self.source.outputs:
            takers.append(kind.taker(at))
            at += len(kind.signature)
        return takers


def _unbound(*_: Any) -> Any:
    raise AssertionError("the loop's Python is bound when its source is compiled")
