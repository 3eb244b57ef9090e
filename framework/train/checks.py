"""What a step may be made of; what is wrong is said before anything is traced."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.ir.types import TensorType
from framework.nn.cell import Cell
from framework.optim import Optimizer
from framework.train.scale import DynamicLossScale

Array = np.ndarray[Any, Any]
_TYPES = 'parse_type("float32[2, 3]") and TensorType.of(array) make types'


def check_inputs(step: str, inputs: Sequence[object]) -> None:
    """Refuse inputs that are no types."""
    for at, each in enumerate(inputs):
        if not isinstance(each, TensorType):
            raise DavinciError(
                f"{step}: input {at} is {_told(each)}\n  rule: inputs are given as types\n  next: {_TYPES}"
            )
        if not all(isinstance(size, int) and size >= 1 for size in each.shape):
            raise DavinciError(
                f"{step}: input {at} is {each}\n  rule: lengths are whole numbers of at least 1\n"
                "  next: look at the size of the batch"
            )


def check_cell(step: str, what: str, given: object) -> None:
    """Refuse a network or a loss that is no Cell."""
    if not isinstance(given, Cell):
        raise DavinciError(
            f"{step}: the {what} is {_told(given)}\n"
            f"  rule: it is a Cell\n  next: put it into the construct of a class of nn.Cell"
        )


def check_training(net: Cell, loss: Cell | None, optimizer: Optimizer, inputs: Sequence[TensorType]) -> None:
    """Refuse parts that make no step together."""
    step = "training_step"
    check_cell(step, "network", net)
    if loss is not None:
        check_cell(step, "loss", loss)
        if not inputs:
            raise DavinciError(
                f"{step}: there are no inputs\n"
                f"  rule: the last one is that of the loss, {type(loss).__name__}\n  next: {_TYPES}"
            )
    check_inputs(step, inputs)
    if not isinstance(optimizer, Optimizer):
        raise DavinciError(
            f"{step}: the optimizer is {_told(optimizer)}\n"
            "  next: give one, for example optim.Momentum(net.trainable_params(), 0.1)"
        )
    _check_trained(net, loss, optimizer)


def _check_trained(net: Cell, loss: Cell | None, optimizer: Optimizer) -> None:
    """Refuse an optimiser that trains nothing of the network."""
    cells = (net,) if loss is None else (net, loss)
    own = {id(parameter) for cell in cells for _, parameter in cell.parameters_and_names()}
    if own and not any(id(parameter) in own for parameter in optimizer.params):
        names = ", ".join(parameter.name for parameter in optimizer.params[:3])
        raise DavinciError(
            f"training_step: the optimizer trains {names} ..., and nothing of this {type(net).__name__}\n"
            "  rule: it is made of the parameters of the network\n"
            "  next: make it with net.trainable_params() of this network"
        )


def check_numbers(loss_scale: object, clip_norm: object) -> None:
    """Refuse a scale or a norm that is not above 0."""
    if not isinstance(loss_scale, DynamicLossScale | None):
        _check_positive("loss_scale", loss_scale)
    if clip_norm is not None:
        _check_positive("clip_norm", clip_norm)


def check_sink_size(sink_size: object) -> None:
    """Refuse to run no steps in a call."""
    if not isinstance(sink_size, int) or sink_size < 1:
        raise DavinciError(f"train: sink_size is {sink_size!r}, it must be a whole number of at least 1 step")


def check_labels(labels: Array, classes: int, where: str) -> None:
    """Refuse labels that name no class; a device would compute with them as with others."""
    if labels.dtype.kind not in "iu" or not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DavinciError(
            f"train: labels of {where} lie between {low} and {high}\n"
            f"  rule: they lie between 0 and {classes - 1}, the network tells {classes} classes apart\n"
            "  next: look at the data set, or let the network have more classes"
        )


def check_numbers_of(weights: Mapping[str, Array]) -> None:
    """Refuse weights that are only a shape."""
    empty = [name for name, array in weights.items() if array.size > 1 and not any(array.strides)]
    if empty:
        raise DavinciError(
            f"initial_state: {empty[0]} has a shape and no numbers\n"
            "  rule: what nn.shapes_only() makes can be compiled and timed, not run\n"
            "  next: make the network outside of it, or use a Chip(data=False), for which names are enough"
        )


def _check_positive(name: str, given: Any) -> None:
    if not isinstance(given, int | float) or isinstance(given, bool) or not 0 < given < math.inf:
        raise DavinciError(f"training_step: {name} is {given!r}, it must be a number above 0")


def _told(given: object) -> str:
    """Print what was given, and of what kind it is."""
    if inspect.isfunction(given):
        return f"the function {given.__name__}"
    text = repr(given)
    return f"{text} of type {type(given).__name__}" if len(text) < 40 else f"a {type(given).__name__}"
