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
    parameters, annotations = _parameters(function)
    rewrite.register_file(function)
    kinds = tuple(kind for _, _, kind in parameters)
    prepare = partial(_prepared, function)
    compiled = made_apart(function.__module__, function.__qualname__, prepare, kinds)
    compiled.emits_parameters = parameters
    compiled.annotations = annotations
    if not rewrite.is_of_the_kit(function):
        rewrite.plain_of(compiled)
    return cast(F, compiled)


def _prepared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that is compiled."""
    rewritten = rewrite.rewrite(function, mark_lines=not function.__module__.startswith(__package__ or ""))
    rewritten.__annotations__ = function.__annotations__  # part of what names its machine code
    return rewritten


def _parameters(function: Callable[..., Any]) -> tuple[list[Parameter], list[Any]]:
    """Return the parameters after the core, and their annotations; `inspect` would take longer to tell."""
    kinds: dict[Any, str] = {int: "int", float: "float", "int": "int", "float": "float"}
    code, defaults = function.__code__, function.__defaults__ or ()
    has_rest = bool(code.co_flags & inspect.CO_VARARGS)
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount + has_rest]
    optional = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    given = {**(function.__kwdefaults__ or {}), **dict(zip(optional, defaults, strict=True))}
    annotations = [function.__annotations__.get(name, inspect.Parameter.empty) for name in names]
    found = zip(names, annotations, strict=True)
    return [(name, given.get(name), kinds.get(kind, "any")) for name, kind in found], annotations
