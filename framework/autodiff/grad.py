"""`grad` and `value_and_grad`: gradients of Python functions and Cells."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.autodiff.reverse import differentiate
from framework.frontend.trace import Traced, name_of, place_of, trace
from framework.frontend.transform import Transform
from framework.frontend.values import is_cell, weak_constant
from framework.ir.builder import Builder, Sym
from framework.ir.nodes import Func
from framework.ops.op import GradientError
from framework.passes.compositions import ALL, UPDATES, compose
from framework.passes.dead_code import dead_code
from framework.tensor import Parameter
from framework.tree import Leaf, flatten, numbered, places

Position = int | tuple[int, ...] | None
Weights = Parameter | Sequence[Parameter] | None


@dataclass(frozen=True)
class Wanted:
    """Which gradients are asked for, and what comes with them."""

    position: Position
    weights: Weights
    has_aux: bool
    with_value: bool

    @property
    def positions(self) -> tuple[int, ...]:
        """Return the positions as a tuple."""
        return as_tuple(self.position)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Return the weights as a tuple."""
        if self.weights is None:
            return ()
        return (self.weights,) if isinstance(self.weights, Parameter) else tuple(self.weights)

    def arrange(self, value: Any, by_position: tuple[Any, ...], by_weight: tuple[Any, ...]) -> Any:
        """Return value and gradients in the form that the user asked for."""
        found: list[Any] = []
        if self.position is not None:
            found.append(by_position[0] if isinstance(self.position, int) else by_position)
        if self.weights is not None:
            found.append(by_weight[0] if isinstance(self.weights, Parameter) else by_weight)
        gradients = found[0] if len(found) == 1 else tuple(found)
        if self.with_value:
            return (value, gradients)
        return (gradients, value[1:]) if self.has_aux else gradients


class Gradient(Transform):
    """The gradient of a function, itself a function."""

    def __init__(self, function: Any, wanted: Wanted, save_ir: str | Path | None = None) -> None:
        """Hold the function and which gradients are wanted."""
        super().__init__(function)
        self.save_ir = save_ir
        self.wanted = wanted

    @property
    def name(self) -> str:
        """Return the name of the gradient's Func."""
        return f"grad_{name_of(self.function)}"

    def trace(self, outer: Builder | None, args: Sequence[Any], kwargs: dict[str, Any]) -> Traced:
        """Return the Func of the gradients."""
        wanted = self.wanted
        args = list(self.prepare(args))
        self._check_weights(args, kwargs)
        for position in wanted.positions:
            if outer is not None and isinstance(args[position], float):
                args[position] = weak_constant(outer, args[position])
        traced = trace(self.function, args, kwargs, outer=outer, weights=wanted.parameters)
        self._check_result(traced)
        placed = flatten((tuple(args), dict(kwargs)), numbers=outer is None)[1][0]
        structures = [placed[position] for position in wanted.positions]
        arguments = [index for structure in structures for index in places(structure)]
        names = {id(each): name for name, each in traced.builder.parameters.items()}
        weights = [traced.func.param(names[id(each)]) for each in wanted.parameters]
        wrt = [*arguments, *weights]
        keep = wanted.with_value or wanted.has_aux
        kept = len(traced.func.results) - len(traced.renewed) if keep else 0
        composed = compose(traced.func, ALL - UPDATES)
        func = differentiate(composed, wrt, keep_results=keep or bool(traced.renewed))
        func = _renewals_last(func, kept, len(wrt), len(traced.renewed))
        traced.builder.stages.append((f"before {func.name}", composed))
        traced.builder.stages.append((func.name, func))
        weak = [*traced.weak[:kept], *(_is_weak(traced.leaves[at]) for at in arguments)]
        structure = self._structure(traced.structure, structures, kept)
        return Traced(func, traced.leaves, structure, traced.builder, weak, traced.renewed)

    def _structure(self, value: Any, arguments: list[Any], kept: int) -> Any:
        """Return the structure of value and gradients; leaves number the results of the Func."""
        numbers = itertools.count(kept)
        by_position = tuple(numbered(each, numbers) for each in arguments)
        by_weight = tuple(Leaf(next(numbers)) for _ in self.wanted.parameters)
        return self.wanted.arrange(value, by_position, by_weight)

    def prepare(self, args: Sequence[Any]) -> Sequence[Any]:
        """Check that there is something to differentiate at each position."""
        check_positions(self.function, self.wanted.positions, args)
        return args

    def _check_weights(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Refuse a Parameter that is passed: what the function does with it says nothing about the weight."""
        for leaf in flatten((tuple(args), dict(kwargs)))[0]:
            passed = leaf.parameter if isinstance(leaf, Sym) else leaf
            weight = next((each for each in self.wanted.parameters if each is passed), None)
            if weight is not None:
                raise GradientError(
                    f"grad of {name_of(self.function)}: Parameter {weight.name!r} is asked for by weights "
                    "and is an argument, too\n"
                    "  rule: weights are Parameters that the function uses without being passed them\n"
                    "  next: ask for the argument by position, or let the function use the Parameter itself"
                    + place_of(self.function)
                )

    def _check_result(self, traced: Traced) -> None:
        name, place = name_of(self.function), place_of(self.function)
        if len(traced.func.results) == len(traced.renewed):
            raise GradientError(f"grad of {name}: it returns no tensor; return a float scalar{place}")
        is_tuple = isinstance(traced.structure, (tuple, list))
        if is_tuple and not self.wanted.has_aux:
            raise GradientError(
                f"grad of {name}: it returns {len(traced.structure)} values, only one scalar has a "
                f"gradient; say has_aux=True when the others are only to be passed on{place}"
            )
        if self.wanted.has_aux and not (is_tuple and list(places(traced.structure[0])) == [0]):
            raise GradientError(
                f"grad of {name}: with has_aux=True it must return (scalar, other values ...){place}"
            )


def _renewals_last(func: Func, kept: int, gradients: int, renewed: int) -> Func:
    """Return the Func of gradients with the results wanted, the gradients, and the new values of Parameters.

    before  return value, auxiliary ..., new value ..., gradient ...
    after   return (value, auxiliary ...,) gradient ..., new value ...
    """
    if not renewed:
        return func
    first = len(func.results) - gradients
    results = (*func.results[:kept], *func.results[first:], *func.results[first - renewed : first])
    return dead_code(func.with_body(func.bindings, results))


def as_tuple(position: Position) -> tuple[int, ...]:
    """Return positions as a tuple."""
    if position is None:
        return ()
    return (position,) if isinstance(position, int) else tuple(position)


def check_positions(function: Any, positions: Sequence[int], args: Sequence[Any]) -> None:
    """Refuse positions that no argument has, or one with nothing that can be differentiated."""
    for position in positions:
        if not 0 <= position < len(args):
            raise GradientError(
                f"grad of {name_of(function)}: position {position} is asked for, "
                f"the call has {len(args)} positional arguments"
            )
        if not isinstance(args[position], float) and not flatten(args[position])[0]:
            raise GradientError(
                f"grad of {name_of(function)}: argument {position} is "
                f"{args[position]!r}, it must be a tensor or a float"
            )


def _is_weak(leaf: Any) -> bool:
    return isinstance(leaf, float) or (isinstance(leaf, Sym) and leaf.weak)


def grad(
    function: Any, position: Position = 0, weights: Weights = None, has_aux: bool = False,
    save_ir: str | Path | None = None,
) -> Gradient:  # fmt: skip
    """Return the function of the gradients of a scalar function.

    `position` chooses arguments: an int gives one gradient, a tuple a tuple, None none. `weights` (a
    Parameter or a tuple) adds gradients of Parameters: the result is (by position, by weight) when both are
    given. With `has_aux` only the first value of the function is differentiated and the others follow:
    (gradients, others). With `save_ir`, a folder, what the function becomes is written there as text, a file
    per pass.

    >>> float(grad(lambda x: x * x)(3.0))
    6.0
    """
    return Gradient(function, _wanted(position, weights, has_aux, False), save_ir)


def value_and_grad(
    function: Any, position: Position = 0, weights: Weights = None, has_aux: bool = False,
    save_ir: str | Path | None = None,
) -> Gradient:  # fmt: skip
    """Return the function that gives (value, gradients); see `grad`."""
    return Gradient(function, _wanted(position, weights, has_aux, True), save_ir)


def _wanted(position: Position, weights: Weights, has_aux: bool, with_value: bool) -> Wanted:
    numbers = position if isinstance(position, tuple) else (0 if position is None else position,)
    if not all(type(each) is int for each in numbers):
        raise GradientError(f"grad: position is {position!r}; it must be an int or a tuple of them")
    if position is None and weights is None:
        raise GradientError("grad: position and weights are both None; choose an argument or a Parameter")
    return Wanted(position, _parameters(weights), has_aux, with_value)


def _parameters(weights: Any) -> Weights:
    """Return the Parameters themselves; compiled code passes the symbols of their values."""
    if isinstance(weights, (tuple, list)):
        return tuple(_parameter(each) for each in weights)
    return None if weights is None else _parameter(weights)


def _parameter(value: Any) -> Parameter:
    found = value.parameter if isinstance(value, Sym) else value
    if not isinstance(found, Parameter):
        if isinstance(value, Sym):
            raise GradientError(
                f"grad: weights has a tensor {value.type}, an argument of the compiled function around\n"
                "  rule: weights are Parameters, which are used without being passed\n"
                "  next: pass it to the function that is differentiated, too, and ask for it by position"
            )
        is_long = len(repr(value)) > 60 or is_cell(value)
        shown = f"a {type(value).__name__}" if is_long else repr(value)
        hint = "; its Parameters are cell.trainable_params()" if is_cell(value) else ""
        raise GradientError(
            f"grad: weights must be Parameters, found {shown}{hint}; use position for arguments"
        )
    return found
