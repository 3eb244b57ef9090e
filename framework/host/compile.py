"""`compile_host`: a Func as a Python function that computes it in NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework.host.depth import deep
from framework.host.errors import endless, located
from framework.host.python import Program
from framework.host.structure import is_light
from framework.ir.nodes import Func
from framework.ir.types import TensorType

Array = np.ndarray[Any, Any]
_numbers = itertools.count()


class HostFunction:
    """A Func compiled for the host; `source` is the Python that runs."""

    def __init__(self, func: Func) -> None:
        """Write the source and let Python compile it."""
        program = Program()
        label = program.write(func)
        self.name = func.name
        self.source = program.module.text
        self.places = program.module.places
        self.file = f"<host {func.name} {next(_numbers)}>"
        self.names = {"__name__": self.file, "__loader__": self, **program.module.names}
        exec(compile(self.source, self.file, "exec"), self.names)
        self.run: Callable[..., Any] = self.names[label]
        self.quiet: Callable[..., Any] = np.errstate(all="ignore")(self.run)
        for loop in program.hot:
            loop.python = self.names[loop.label]
        self.may_nest = program.may_nest
        self.params = func.params
        self.expected = [
            (param.type.shape, param.type.dtype.numpy) if isinstance(param.type, TensorType) else None
            for param in func.params
        ]
        self.results = [is_light(atom.type) for atom in func.results]

    def __call__(self, arrays: Sequence[Any]) -> tuple[Array, ...]:
        """Return the results for these arguments, whose types must be those of the parameters."""
        if len(arrays) != len(self.params):
            raise ShapeMismatch(f"@{self.name} takes {len(self.params)} arguments, {len(arrays)} were given")
        values = []
        for given, wanted in zip(arrays, self.expected, strict=True):
            if wanted is None:  # a stack, a function: what another Func gave
                values.append(given)
                continue
            array, (shape, dtype) = given if type(given) is np.ndarray else np.asarray(given), wanted
            if array.shape != shape or array.dtype != dtype:
                raise self._unexpected(arrays)
            values.append(array if shape else array[()])
        found = self._run(values)
        several = found if len(self.results) > 1 else (found,) * len(self.results)
        return tuple(
            np.asarray(each) if is_scalar else each
            for each, is_scalar in zip(several, self.results, strict=True)
        )

    def _unexpected(self, arrays: Sequence[Any]) -> ShapeMismatch:
        """Return the error for arguments one of which has not the type of its parameter."""
        given, param = next(
            (TensorType.of(np.asarray(array)), param)
            for array, param in zip(arrays, self.params, strict=True)
            if isinstance(param.type, TensorType) and TensorType.of(np.asarray(array)) != param.type
        )
        return ShapeMismatch(f"@{self.name}: argument %{param.name} is {given}, it must be {param.type}")

    def _run(self, values: Sequence[Any]) -> Any:
        """Return what the source computes; errors name the user's line."""
        try:
            if not self.may_nest:
                return self.quiet(*values)
            with deep():
                return self.quiet(*values)
        except RecursionError as error:
            if not self.may_nest:
                raise
            raise endless(error, self.file, self.places) from None
        except DavinciError as error:
            raise located(error, self.file, self.places) from None

    def get_source(self, _: str) -> str:
        """Return the source, which tracebacks show lines of: they ask the loader of a module."""
        return self.source


def compile_host(func: Func) -> HostFunction:
    """Return a Func as a function of arrays that gives the results: NumPy, and machine code for hot loops.

    The meaning is that of `framework.ir.evaluate`.
    """
    return HostFunction(func)
