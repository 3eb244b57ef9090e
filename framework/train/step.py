"""One training step, and one inference step, as a Func."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.autodiff import differentiate
from framework.dtypes import dtype
from framework.frontend.trace import Traced, name_of, trace
from framework.ir.builder import Builder, restored
from framework.ir.nodes import Func
from framework.ir.types import TensorType
from framework.nn.cell import Cell
from framework.optim import Momentum
from framework.passes import FLAT, run
from framework.tensor import Tensor

LEARNING_RATE = "learning_rate"


def training_step(net: Cell, loss: Cell, optimizer: Momentum, x: TensorType, labels: TensorType) -> Func:
    """Return the Func of a step: forward, backward, update.

    params   x, labels, learning_rate, weights ..., moments ...
    results  loss, logits, new weights ..., new moments ...; `updates` says which result is which parameter.
    """
    net.set_train().rename_parameters()
    traced = _forward(net, loss, optimizer, x, labels)
    names = [each.name for each in optimizer.params]
    gradients = differentiate(traced.func, [traced.func.param(name) for name in names], keep_results=True)

    builder = Builder()
    inputs = {"x": builder.param(x, "x"), "labels": builder.param(labels, "labels")}
    learning_rate = builder.param(TensorType((), dtype("float32")), LEARNING_RATE)
    weights = {
        name: builder.param(traced.builder.parameters[name].type, name) for name in _all_names(traced, names)
    }
    states = {name: builder.param(weights[name].type, optimizer.state_name(name)) for name in names}

    scope = builder.replay(gradients, [{**inputs, **weights}[param.name] for param in gradients.params])
    value, logits, *others = [restored(scope, builder, atom) for atom in gradients.results]
    renewed, slopes = others[: len(traced.renewed)], others[len(traced.renewed) :]
    updated = [
        optimizer.update(weights[name], states[name], slope, learning_rate)
        for name, slope in zip(names, slopes, strict=True)
    ]
    results = [value, logits, *(weight for weight, _ in updated), *(state for _, state in updated), *renewed]
    targets = [*names, *(optimizer.state_name(name) for name in names)]
    targets += [each.name for each in traced.renewed]
    func = builder.finish(f"train_{name_of(net)}", results, {2 + at: name for at, name in enumerate(targets)})
    return run(func, FLAT)


def inference_step(net: Cell, x: TensorType) -> Func:
    """Return the Func of the network alone: params x, weights ...; result logits."""
    net.set_train(False).rename_parameters()
    return run(trace(net, [_example(x)], {}).func, FLAT)


def initial_state(net: Cell, optimizer: Momentum | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """Return copies of all weights, and zero moments for those that the optimiser updates, by name."""
    net.rename_parameters()
    state = {name: parameter.numpy().copy() for name, parameter in net.parameters_and_names()}
    for parameter in optimizer.params if optimizer is not None else ():
        state[optimizer.state_name(parameter.name)] = np.zeros_like(parameter.numpy())  # type: ignore[union-attr]
    return state


def _forward(net: Cell, loss: Cell, optimizer: Momentum, x: TensorType, labels: TensorType) -> Traced:
    def forward(x: Any, labels: Any) -> Any:
        logits = net(x)
        return loss(logits, labels), logits

    return trace(forward, [_example(x), _example(labels)], {}, weights=optimizer.params)


def _example(type_: TensorType) -> Tensor:
    return Tensor.wrap(np.zeros(type_.shape, dtype=type_.dtype.numpy))


def _all_names(traced: Traced, trained: list[str]) -> list[str]:
    """Return the names of the trained Parameters, then of the others that the network reads."""
    return [*trained, *(name for name in traced.builder.parameters if name not in trained)]
