"""Run a Func in NumPy: the meaning of the IR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from davinci_sim.errors import ShapeMismatch
from framework.ir.nodes import Atom, Const, Func
from framework.ir.registry import operator
from framework.ir.types import TensorType

Array = np.ndarray[Any, Any]


def evaluate(func: Func, args: Sequence[Array]) -> tuple[Array, ...]:
    """Return the results of the Func for these arguments, whose types must be those of its parameters."""
    arrays = [np.asarray(arg) for arg in args]
    _check_arguments(func, arrays)
    return _run(func, arrays)


def _run(func: Func, arrays: Sequence[Array]) -> tuple[Array, ...]:
    values: dict[str, Array] = {param.name: array for param, array in zip(func.params, arrays, strict=True)}
    for binding in func.bindings:
        inputs = [_value(values, atom) for atom in binding.inputs]
        callee = binding.callee
        outputs = (
            _run(callee, inputs) if callee is not None else operator(binding.op).run(inputs, binding.attrs)
        )
        values.update({var.name: array for var, array in zip(binding.outputs, outputs, strict=True)})
    return tuple(_value(values, atom) for atom in func.results)


def _value(values: dict[str, Array], atom: Atom) -> Array:
    return atom.value if isinstance(atom, Const) else values[atom.name]


def _check_arguments(func: Func, arrays: Sequence[Array]) -> None:
    if len(arrays) != len(func.params):
        raise ShapeMismatch(f"@{func.name} takes {len(func.params)} arguments, {len(arrays)} were given")
    for param, array in zip(func.params, arrays, strict=True):
        given = TensorType.of(array)
        if given != param.type:
            raise ShapeMismatch(f"@{func.name}: argument %{param.name} is {given}, it must be {param.type}")
