"""Building blocks of kernels: functions that emit records for whoever calls them."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from davinci_sim.isa.jit import apart
from kernels.lang.rewrite import Parameter, rewrite

F = TypeVar("F", bound=Callable[..., Any])


def emits(function: F) -> F:
    """Make a function usable inside kernels.

    Records carry the line of the innermost function that is not part of this language: a kernel's own helper
    shows its lines, `alloc` or `fill` show the line that called them. Parameters annotated `int` or `float`
    are made so in every call; others are passed as they are.
    """
    mark_lines = not function.__module__.startswith(__package__ or "")
    parameters = [_parameter(each) for each in list(inspect.signature(function).parameters.values())[1:]]
    kinds = tuple(kind for _, _, kind in parameters)
    rewritten: Any = rewrite(function, mark_lines)[0]
    rewritten.__annotations__ = function.__annotations__  # part of what names its machine code
    compiled: Any = apart(rewritten, kinds, allocates=False)
    compiled.emits_parameters, compiled.touches_core = parameters, rewritten.touches_core
    compiled.annotations = [each.annotation for each in inspect.signature(function).parameters.values()][1:]
    return cast(F, compiled)


def _parameter(parameter: inspect.Parameter) -> Parameter:
    kinds: dict[Any, str] = {int: "int", float: "float", "int": "int", "float": "float"}
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    return (parameter.name, default, kinds.get(parameter.annotation, "any"))
