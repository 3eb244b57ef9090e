"""One training step, and one inference step, as a Func."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework import ops
from framework.autodiff import differentiate
from framework.dtypes import dtype
from framework.frontend.trace import Traced, name_of, trace
from framework.ir import flow
from framework.ir.builder import Builder, Sym, restored
from framework.ir.nodes import Const, Func
from framework.ir.types import TensorType
from framework.nn.cell import Cell
from framework.optim import Optimizer, Step
from framework.passes import FLAT, OPTIMIZE, run
from framework.passes.compositions import UPDATES, chosen, compose
from framework.passes.constant_folding import specialized
from framework.tensor import Parameter, Tensor
from framework.train.checks import (
    check_cell,
    check_inputs,
    check_numbers,
    check_numbers_of,
    check_training,
)
from framework.train.scale import LOSS_SCALE, DynamicLossScale, LossScale, first_state

LEARNING_RATE = "learning_rate"
SCALAR = TensorType((), dtype("float32"))
Syms = dict[str, Sym]


def training_step(
    net: Cell,
    loss: Cell | None,
    optimizer: Optimizer,
    *inputs: TensorType,
    loss_scale: LossScale = None,
    clip_norm: float | None = None,
    compositions: str | frozenset[str] = "all",
) -> Func:
    """Return the Func of a step: forward, backward, update.

    params   inputs ..., learning_rate, weights ..., state of the optimiser ..., state of the loss scale
    results  loss, what the network returns ..., new values; `updates` says which result is which parameter.

    The loss Cell takes the network's result and the last input; without one the network returns the loss
    itself, alone or in front of other results. Gradients are those of the loss times `loss_scale`, divided by
    it before they are used: with a DynamicLossScale only if all of them are finite. With `clip_norm` they are
    scaled so that the norm of all of them together is at most that. The network computes as in training, and
    the Parameters that it assigns are renewed in every step. Formulas of the network, the loss and
    the optimiser become the operators that they are: those of `compositions`, or all.

    Raises:
        DavinciError: a part is none, or the parts make no step together.
    """
    check_training(net, loss, optimizer, inputs)
    check_numbers(loss_scale, clip_norm)
    net.rename_parameters()
    step = _Step(net, loss, optimizer, loss_scale, clip_norm, chosen(compositions))
    with _mode(net, True):
        return run(compose(step.func(inputs), step.compositions & UPDATES), OPTIMIZE)


def inference_step(
    net: Cell, *inputs: TensorType, compositions: str | frozenset[str] = "all", frozen: bool = False
) -> Func:
    """Return the Func of the network alone, as in use: params inputs ..., weights ...; results logits.

    `compositions` are those of `training_step`. With `frozen` the weights are constants, as they are now, and
    no params: casts of them are computed while compiling, and convolutions take in normalisations.

    Raises:
        DavinciError: a part is none; or the weights of a network that is frozen have no numbers.
    """
    check_cell("inference_step", "network", net)
    check_inputs("inference_step", inputs)
    net.rename_parameters()
    with _mode(net, False):
        traced = trace(net, [_example(each) for each in inputs], {}).without_renewals("inference_step")
    func = compose(traced.func, chosen(compositions) - UPDATES)
    return run(_frozen(func, net) if frozen else func, FLAT)


def _frozen(func: Func, net: Cell) -> Func:
    """Return the Func with the weights of its network as constants."""
    weights = initial_state(net)
    known = (
        (at, Const.of(weights[param.name])) for at, param in enumerate(func.params) if param.name in weights
    )
    return specialized(func, tuple(known))


def initial_state(
    net: Cell, optimizer: Optimizer | None = None, loss_scale: LossScale = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Return copies of all weights, and the first state of the optimiser and of the loss scale, by name."""
    net.rename_parameters()
    weights = {name: parameter.numpy() for name, parameter in net.parameters_and_names()}
    check_numbers_of(weights)
    state = {name: array.copy() for name, array in weights.items()}
    return state | (optimizer.state() if optimizer is not None else {}) | first_state(loss_scale)


@dataclass(frozen=True)
class _Step:
    """The parts of a step, from which its Func is made."""

    net: Cell
    loss: Cell | None
    optimizer: Optimizer
    scale: LossScale
    clip_norm: float | None
    compositions: frozenset[str]

    def func(self, inputs: Sequence[TensorType]) -> Func:
        """Return the Func, before any pass."""
        given = dict(zip(self._input_names(len(inputs)), inputs, strict=True))
        traced = self._forward(given)
        trained = [each.name for each in self.optimizer.params]
        wrt = [traced.func.param(name) for name in trained]
        composed = compose(traced.func, self.compositions - UPDATES)
        gradients = differentiate(composed, wrt, keep_results=True)

        builder = Builder()
        known = {name: builder.param(type_, name) for name, type_ in given.items()}
        rate = builder.param(SCALAR, LEARNING_RATE)
        state = self._state(builder, traced, trained)
        scope = builder.replay(gradients, [{**known, **state}[param.name] for param in gradients.params])
        found = [restored(scope, builder, atom) for atom in gradients.results]
        first = len(found) - len(trained)
        slopes = dict(zip(trained, found[first:], strict=True))
        own = first - len(traced.renewed)
        new = dict(zip(_names_of(traced, traced.renewed), found[own:first], strict=True))
        new |= self._updated(builder, state, slopes, rate)
        shown = found[1:own]  # the first is the loss times its scale
        updates = {len(shown) + at: name for at, name in enumerate(new)}
        return builder.finish(f"train_{name_of(self.net)}", [*shown, *new.values()], updates)

    def _input_names(self, count: int) -> list[str]:
        """Return a name for every input: those of the arguments of `construct`."""
        own = count if self.loss is None else count - 1
        names = _argument_names(self.net)[:own]
        names += [f"input{at}" for at in range(len(names), own)]
        if self.loss is not None:
            names += _argument_names(self.loss)[1:2] or ["labels"]
        return names

    def _forward(self, inputs: Mapping[str, TensorType]) -> Traced:
        """Return the Func of the scaled loss, the loss, and what else the network returns."""
        examples = {name: _example(type_) for name, type_ in inputs.items()}
        if isinstance(self.scale, DynamicLossScale):
            examples[LOSS_SCALE] = _example(SCALAR)

        def forward(**given: Any) -> Any:
            scale = given.pop(LOSS_SCALE, self.scale)
            value, others = self._loss_of(list(given.values()))
            return value if scale is None else value * scale, value, others

        return trace(forward, [], examples, weights=self.optimizer.params)

    def _loss_of(self, given: Sequence[Any]) -> tuple[Any, Any]:
        """Return the loss and what else there is to show."""
        if self.loss is not None:
            found = self.net(*given[:-1])
            return self.loss(found, given[-1]), found
        found = self.net(*given)
        return (found[0], found[1:]) if isinstance(found, (tuple, list)) else (found, ())

    def _state(self, builder: Builder, traced: Traced, trained: Sequence[str]) -> Syms:
        """Return parameters for all that the step keeps: weights, moments, numbers."""
        parameters = traced.builder.parameters
        types = {name: parameters[name].type for name in dict.fromkeys((*trained, *parameters))}
        first = {**self.optimizer.state(), **first_state(self.scale)}
        types |= {name: TensorType.of(array) for name, array in first.items()}
        return {name: builder.param(type_, name) for name, type_ in types.items()}

    def _updated(self, builder: Builder, state: Syms, slopes: Syms, rate: Sym) -> Syms:
        """Emit new values of what the optimiser and the loss scale keep, in the order of the state."""
        if not isinstance(self.scale, DynamicLossScale):
            return self._applied(builder, state, slopes, rate)
        is_finite = ops.equal(ops.float_status(*slopes.values()), 0)
        then, orelse = Builder(builder), Builder(builder)
        grown = self.scale.grown(then, state)  # first: behind updates its jumps would make them copies
        new = self._applied(then, state, slopes, rate) | grown
        old = {name: orelse.value(state[name]) for name in new} | self.scale.shrunk(orelse, state)
        found = flow.branch(
            builder,
            is_finite,
            flow.Part(then, list(new.values()), "update"),
            flow.Part(orelse, list(old.values()), "skip"),
        )
        return dict(zip(new, found, strict=True))

    def _applied(self, builder: Builder, state: Syms, slopes: Syms, rate: Sym) -> Syms:
        """Emit new weights and the new state of the optimiser."""
        optimizer = self.optimizer
        here = {name: builder.value(each) for name, each in state.items()}
        shared = optimizer.advance({name: here[name] for name in optimizer.shared})
        rate = builder.value(rate)
        weights: Syms = {}
        kept: Syms = {}
        for parameter, slope in zip(optimizer.params, self._ready(builder, slopes, state), strict=True):
            name = parameter.name
            names = optimizer.state_names(name)
            own = tuple(here[each] for each in names)
            step = Step(here[name], slope, own, shared, rate, optimizer.decays[id(parameter)])
            weights[name], *new = optimizer.update(step)
            kept |= zip(names, new, strict=True)
        ordered = {name: {**kept, **shared}[name] for name in optimizer.state()}
        return {**weights, **ordered}

    def _ready(self, builder: Builder, slopes: Syms, state: Syms) -> list[Sym]:
        """Emit the gradients as the optimiser takes them: of the weights' type, without scale, clipped."""
        found = [
            builder.value(slope).astype(each.type.dtype)
            for slope, each in zip(slopes.values(), self.optimizer.params, strict=True)
        ]
        if self.scale is not None:
            is_dynamic = isinstance(self.scale, DynamicLossScale)
            scale: Any = builder.value(state[LOSS_SCALE]) if is_dynamic else self.scale
            inverse = 1 / scale
            found = [slope * inverse for slope in found]
        if self.clip_norm is not None:
            norm = ops.global_norm(*found)
            found = [ops.clip_by_norm(slope, norm, self.clip_norm) for slope in found]
        return found


@contextmanager
def _mode(net: Cell, training: bool) -> Iterator[None]:
    """Let a network compute as in training or in use, and afterwards as before."""
    before = [(cell, cell.training) for cell in net.cells()]
    net.set_train(training)
    try:
        yield
    finally:
        for cell, mode in before:
            object.__setattr__(cell, "training", mode)


def _example(type_: TensorType) -> Tensor:
    return Tensor.wrap(np.zeros(type_.shape, dtype=type_.dtype.numpy))


def _argument_names(cell: Cell) -> list[str]:
    """Return the names of the arguments of `construct`, without those that may be any number."""
    parameters = inspect.signature(cell.construct).parameters.values()
    return [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]


def _names_of(traced: Traced, parameters: Sequence[Parameter]) -> list[str]:
    """Return the names that the Parameters have in the Func."""
    names = {id(each): name for name, each in traced.builder.parameters.items()}
    return [names[id(each)] for each in parameters]
