"""What the host gives to a Func: inputs of many steps, and first weights; checked before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework.ir.types import TensorType

Array = np.ndarray[Any, Any]
Types = Mapping[str, TensorType]


def fed(name: str, inputs: Types, feeds: Mapping[str, Any]) -> dict[str, Array]:
    """Return what is fed to `name` as arrays[steps, *shape], by input.

    Raises:
        DavinciError: an input is missing, or there are others, or their numbers of steps differ.
        ShapeMismatch: the shape is another one, or the dtype would lose digits.
    """
    if set(feeds) != set(inputs):
        raise DavinciError(
            f"@{name} takes {', '.join(inputs) or 'nothing'}, it is fed {', '.join(feeds) or 'nothing'}\n"
            "  next: feed every input, with an axis of steps in front"
        )
    arrays = {each: _array(f"input {each} of {name}", feeds[each]) for each in inputs}
    for each, array in arrays.items():
        _check_input(f"input {each} of {name}", inputs[each], array)
    steps = {each: len(array) for each, array in arrays.items()}
    if arrays and (len(set(steps.values())) != 1 or 0 in steps.values()):
        raise DavinciError(
            f"@{name} is fed rows for {steps} steps\n  rule: all inputs have the same number, at least 1"
        )
    return arrays


def check_state(name: str, held: Types, state: Mapping[str, Any]) -> None:
    """Refuse a state that lacks something that `name` keeps between steps, or has it of another type.

    Raises:
        DavinciError: something is missing.
        ShapeMismatch: the shape is another one, or the dtype would lose digits.
    """
    missing = [each for each in held if each not in state]
    if missing:
        raise DavinciError(
            f"the state of {name} lacks {_some(missing)}; make it with initial_state(net, optimizer)"
        )
    for each, type_ in held.items():
        what = f"{each} in the state of {name}"
        array = _array(what, state[each])
        if array.shape != type_.shape or not _fits(array, type_):
            raise ShapeMismatch(f"{what}: given {_printed(array)}\n  rule: it is {type_}")


def _check_input(what: str, type_: TensorType, array: Array) -> None:
    if array.shape[1:] != type_.shape or not array.ndim or not _fits(array, type_):
        axes = ", ".join(map(str, ("steps", *type_.shape)))
        raise ShapeMismatch(
            f"{what}: given {_printed(array)}\n"
            f"  rule: it was compiled for {type_.dtype}[{axes}]\n"
            "  next: compile for the other type, or feed whole batches of this one"
        )


def _fits(array: Array, type_: TensorType) -> bool:
    """Tell whether every number of the array's dtype is one of the type's."""
    wanted = np.dtype(type_.dtype.numpy)
    return array.dtype == wanted or np.can_cast(array.dtype, wanted, "safe")


def _array(what: str, given: Any) -> Array:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ShapeMismatch(f"{what} is no array: {error}") from None
    if array.dtype.kind in "OUSMm":
        raise ShapeMismatch(f"{what} is no array of numbers: given {type(given).__name__}")
    return array


def _printed(array: Array) -> str:
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"


def _some(names: Collection[str], most: int = 5) -> str:
    """Print names; of many only the first."""
    shown = ", ".join(list(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
