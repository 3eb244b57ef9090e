"""Building blocks of kernels: functions that emit records for whoever calls them."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from davinci_sim.isa.jit import made_apart
from kernels.lang import rewrite
from kernels.lang.rewrite import Parameter

F = TypeVar("F", bound=Callable[..., Any])


def emits(function: F) -> F:
    """Make a function usable inside kernels.

    Records carry the line of the innermost function that is not part of this language: a kernel's own helper
    shows its lines, `alloc` or `fill` show the line that called them. Parameters annotated `int` or `float`
    are made so in every call; others are passed as they are.
    """
    given = list(inspect.signature(function).parameters.values())[1:]
    parameters = [_parameter(each) for each in given]
    rewrite.register_file(function)
    kinds = tuple(kind for _, _, kind in parameters)
    prepare = partial(_prepared, function)
    compiled = made_apart(function.__module__, function.__qualname__, prepare, kinds)
    compiled.emits_parameters = parameters
    compiled.annotations = [each.annotation for each in given]
    if not rewrite.is_of_the_kit(function):
        rewrite.plain_of(compiled)
    return cast(F, compiled)


def _prepared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that is compiled."""
    rewritten = rewrite.rewrite(function, mark_lines=not function.__module__.startswith(__package__ or ""))
    rewritten.__annotations__ = function.__annotations__  # part of what names its machine code
    return rewritten


def _parameter(parameter: inspect.Parameter) -> Parameter:
    kinds: dict[Any, str] = {int: "int", float: "float", "int": "int", "float": "float"}
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    return (parameter.name, default, kinds.get(parameter.annotation, "any"))
