"""From a Python callable and its arguments to a Func."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.frontend.calls import func_builder
from framework.frontend.dispatch import (
    apply,
    find_builder,
    name_of,
    piece_of,
    place_of,
    run_closure,
    user_function,
)
from framework.frontend.functions import Again
from framework.frontend.memo import Activation, Calls, calls_of
from framework.frontend.scope import Ended, Unsettled
from framework.frontend.source import CompileError
from framework.frontend.templates import Taker, put_together
from framework.frontend.values import (
    Choice,
    Closure,
    Conflict,
    Function,
    Site,
    Text,
    is_cell,
    is_number,
    number_type,
    weak_constant,
)
from framework.ir.builder import Builder, Sym
from framework.ir.nodes import Func
from framework.ir.types import TensorType
from framework.tensor import Parameter, Tensor
from framework.tree import flatten, places, unflatten

FRAMES = 20_000
"""How deep Python may call itself while compiling: a condition or a call is some calls of Python's."""

DEEPEST_TRANSFORM = 60
ATTEMPTS = 40
"""How often a program that builds functions is compiled before their types must have settled."""


@dataclass(frozen=True)
class Traced:
    """A Func made from Python: its tensor arguments in order, and the structure that its results fill.

    `weak` says which results are numbers of Python's. Behind the results are the new values of the
    Parameters that it assigns, `renewed`.
    """

    func: Func
    leaves: Sequence[Any]
    structure: Any
    builder: Builder
    weak: Sequence[bool] = ()
    renewed: Sequence[Parameter] = ()

    def emit(self, outer: Builder, leaves: Sequence[Any] | None = None) -> Any:
        """Call the Func from an outer one; return its results in their structure."""
        given = [_operand(outer, each) for each in (self.leaves if leaves is None else leaves)]
        outputs = list(outer.call(self.func, [*given, *self.builder.parameters.values()]))
        self.renew(outer, outputs)
        for at, is_weak in enumerate(self.weak):
            outputs[at] = Sym(outer, outputs[at].atom, weak=is_weak)
        return unflatten(self.structure, outputs)

    def renew(self, outer: Builder, outputs: Sequence[Sym]) -> None:
        """Let the Parameters that the Func assigns have the values that a call has given."""
        first = len(outputs) - len(self.renewed)
        for parameter, value in zip(self.renewed, outputs[first:], strict=True):
            outer.renew(parameter, value)

    def without_renewals(self, name: str) -> Traced:
        """Return it, after a check that it assigns no Parameter.

        Raises:
            CompileError: it does, which transforms of this name do not pass on.
        """
        for parameter in self.renewed:
            raise CompileError(
                f"{name} of {self.func.name}: it assigns {parameter!r}\n"
                "  rule: jit, grad, value_and_grad, recompute and training steps take functions that assign\n"
                "  next: return the new value beside the result, and assign it outside"
            )
        return self


def _operand(builder: Builder, leaf: Any) -> Any:
    return weak_constant(builder, leaf) if is_number(leaf) else leaf


def trace(
    function: Any,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    *,
    outer: Builder | None = None,
    weights: Sequence[Parameter] = (),
) -> Traced:
    """Return the Func of a callable for these arguments.

    Tensors (also in tuples, lists, dicts, dataclasses) become parameters, and so do Python's numbers when
    there is no Func around; all else is a constant of the Func. Then follow what a nested function uses of
    the Func around, and the Parameters of Cells that are used, `weights` among them.
    """
    with _deep():
        return _traced(function, args, kwargs, outer, weights)


@contextmanager
def _deep() -> Iterator[None]:
    """Let Python call itself deeper than it does by default."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _traced(
    function: Any,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    outer: Builder | None,
    weights: Sequence[Parameter],
) -> Traced:
    leaves, structure = flatten((tuple(args), dict(kwargs)), numbers=outer is None)
    taker = Taker(True, keeps_parameters=True)
    inner = taker.take((structure, function))
    given = [*leaves, *taker.leaves]
    names = _leaf_names(function, structure) | {len(leaves) + at: path for at, path in enumerate(taker.paths)}
    sites: dict[Hashable, Site] = {}
    run = _inline
    for _ in range(ATTEMPTS):
        builder = _builder(outer, function, sites)
        params = [_param(builder, leaf, names.get(at, "")) for at, leaf in enumerate(given)]
        placed, called = put_together(inner, params[len(leaves) :])
        inner_args, inner_kwargs = unflatten(placed, params[: len(leaves)])
        try:
            result = run(builder, called, list(inner_args), inner_kwargs)
        except Again as again:
            if outer is not None:
                raise
            sites[again.key] = Site(again.key, again.arguments, again.result)
            continue
        if result is not _CALLS_ITSELF:
            return _finished(builder, function, result, given, weights)
        run = apply
    raise CompileError(
        f"{name_of(function)} builds functions from functions whose types do not settle; give all one type"
    )


def _finished(
    builder: Builder, function: Any, result: Any, given: Sequence[Any], weights: Sequence[Parameter]
) -> Traced:
    name = name_of(function)
    _refuse_functions(function, result)
    for weight in weights:
        builder.parameter(weight)
    found, structure = flatten(result)
    is_weak = [isinstance(each, Sym) and each.weak for each in found]
    renewed = [parameter for parameter, _ in builder.renewed]
    func = builder.finish(name, [*found, *(value for _, value in builder.renewed)])
    return Traced(func, given, structure, builder, is_weak, renewed)


def _builder(outer: Builder | None, function: Any, sites: dict[Hashable, Site]) -> Builder:
    if outer is None:
        builder = Builder()
        builder.calls = Calls()
        builder.calls.sites = sites
        return builder
    if outer.depth > DEEPEST_TRANSFORM:
        raise CompileError(
            f"gradients are nested more than {DEEPEST_TRANSFORM} deep at {name_of(function)}: a function "
            "that takes the gradient of itself does not end here"
        )
    builder = func_builder(outer)
    builder.calls = calls_of(outer).apart()
    return builder


def _param(builder: Builder, leaf: Any, name: str) -> Sym:
    param = builder.param(_type_of(leaf), name if name.isidentifier() else None)
    return Sym(builder, param.atom, weak=is_number(leaf) or (isinstance(leaf, Sym) and leaf.weak))


_CALLS_ITSELF = object()


def _inline(builder: Builder, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a function in the builder itself; a function that calls itself has to be a Func that is called."""
    while isinstance(function, functools.partial) or getattr(function, "is_transparent", False):
        if isinstance(function, functools.partial):
            args, kwargs = [*function.args, *args], {**function.keywords, **kwargs}
            function = function.func
        else:
            function = function.function
    brings_rule = hasattr(function, "emit_call")
    user = None if brings_rule else user_function(builder, function, args, kwargs)
    try:
        if user is None:
            return apply(builder, function, args, kwargs)
        closure, args, kwargs, name = user
        calls = calls_of(builder)
        piece = piece_of(closure, name)
        active = Activation(piece, calls.given(piece, (tuple(args), kwargs, closure)).template)
        calls.stack.append(active)
        try:
            result = run_closure(builder, closure, args, kwargs, name)
        except Unsettled:
            if not active.is_recursive:
                raise
        finally:
            calls.stack.pop()
        return _CALLS_ITSELF if active.is_recursive else result
    except Ended as ended:
        place = f"\n{ended.place}" if ended.place else ""
        raise CompileError(
            f"{name_of(function)} raises on every path, so there is nothing to compile{place}"
        ) from None


def _refuse_functions(function: Any, value: Any) -> None:
    name = name_of(function)
    if isinstance(value, (Closure, Choice, Function)):
        called = value.name if isinstance(value, Closure) else "one of several"
        raise CompileError(
            f"{name} returns a function, {called}; return what it computes{place_of(function)}"
        )
    if isinstance(value, Conflict):
        raise CompileError(value.message)
    if isinstance(value, Text):
        raise CompileError(
            f"{name} returns a text with values of run time; they can be shown by assert and raise"
            + place_of(function)
        )
    if isinstance(value, (tuple, list)):
        for each in value:
            _refuse_functions(function, each)


def _type_of(leaf: Any) -> TensorType:
    if is_number(leaf):
        return number_type(leaf)
    return leaf.type if isinstance(leaf, (Tensor, Sym)) else TensorType.of(np.asarray(leaf))


def _leaf_names(function: Any, structure: Any) -> dict[int, str]:
    """Return a readable name for every leaf of the arguments."""
    args, kwargs = structure
    positional = _argument_names(function)
    named = {
        **{positional[at] if at < len(positional) else f"arg{at}": each for at, each in enumerate(args)},
        **kwargs,
    }
    found: dict[int, str] = {}
    for name, each in named.items():
        indices = list(places(each))
        found.update(
            {index: name if len(indices) == 1 else f"{name}_{at}" for at, index in enumerate(indices)}
        )
    return found


def _argument_names(function: Any) -> list[str]:
    if hasattr(function, "emit_call") and hasattr(function, "function"):
        return _argument_names(function.function)
    if isinstance(function, functools.partial):
        return _argument_names(function.func)[len(function.args) :]
    if isinstance(function, Closure):
        return [each.arg for each in function.code.node.args.args]
    target = function.construct if is_cell(function) else function
    skip = 1 if isinstance(target, types.MethodType) else 0
    code = getattr(getattr(target, "__func__", target), "__code__", None)
    return list(code.co_varnames[skip : code.co_argcount]) if code is not None else []


__all__ = ["Traced", "apply", "find_builder", "name_of", "place_of", "trace"]
