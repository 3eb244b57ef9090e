"""What a call does: user functions become Funcs, operators bindings, the rest is computed while compiling."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.frontend import branches, builtin, calls, functions, memo
from framework.frontend.scope import Frame, Signature, cells_of
from framework.frontend.source import CompileError, find_source
from framework.frontend.values import Choice, Closure, Code, Function, Scope, is_cell, symbolic
from framework.ir.builder import Builder, innermost
from framework.ir.registry import OPERATORS
from framework.tensor import Tensor
from framework.tree import flatten

CHANGES = frozenset(
    [
        "append",
        "extend",
        "insert",
        "update",
        "pop",
        "popitem",
        "remove",
        "clear",
        "sort",
        "reverse",
        "setdefault",
        "add",
        "discard",
    ]
)
"""Methods that change a list, a dict or a set."""

INTERPRETED = ("framework.nn", "framework.models")
"""Modules of ours that are compiled like user code: they hold Parameters."""

COMPILE_TIME = ("math", "numpy", "operator", "_operator", "dataclasses", "functools", "itertools", "copy")
"""Modules whose functions run while compiling when no tensor is among their arguments."""


def apply(builder: Builder, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a value from compiled code."""
    args = symbolic(builder, list(args))
    kwargs = {key: symbolic(builder, each) for key, each in kwargs.items()}
    if isinstance(function, functools.partial):
        return apply(builder, function.func, [*function.args, *args], {**function.keywords, **kwargs})
    if hasattr(function, "emit_call") and not isinstance(function, type):  # grad, jit, Cells with bprop
        return function.emit_call(builder, args, kwargs)
    if isinstance(function, Choice):
        return of_choice(builder, function, lambda inner, each: apply(inner, each, args, kwargs))
    if isinstance(function, Function):
        return functions.apply_function(builder, function, args, kwargs)
    user = user_function(builder, function, args, kwargs)
    if user is not None:
        closure, args, kwargs, name = user
        return calls.call(builder, piece_of(closure, name), (tuple(args), kwargs, closure))
    if is_cell(function):
        return function.construct(*args, **kwargs)
    rule = builtin.rule_of(function, args, kwargs)
    if rule is not None:
        return rule(builder, *args, **kwargs)
    if _runs_natively(function, args, kwargs):
        return function(*args, **kwargs)
    if isinstance(function, type) and not issubclass(function, (BaseException, Tensor)):
        raise CompileError(
            f"an object of {name_of(function)} is made in compiled code; make it outside, a Cell in __init__"
        )
    raise CompileError(_uncompiled(function))


def _uncompiled(function: Any) -> str:
    """Return the message for a call of what is compiled in no way."""
    if not callable(function):
        return f"{function!r} is called, it is no function but a {type(function).__name__}"
    name = name_of(function)
    same = _SAME.get(name, name)
    is_numpy = isinstance(function, np.ufunc) or (getattr(function, "__module__", None) or "") == "numpy"
    hint = f": here ops.{same}" if is_numpy and same in OPERATORS else ""
    return (
        f"a call of {name} cannot be compiled; "
        f"call operators (framework.ops{hint}), Cells and plain Python functions, or compute it outside"
    )


_SAME = {"sum": "reduce_sum", "mean": "reduce_mean", "amax": "reduce_max", "max": "reduce_max",
    "min": "reduce_min", "amin": "reduce_min", "prod": "reduce_prod", "where": "select",
    "absolute": "abs", "power": "pow", "multiply": "mul", "subtract": "sub", "true_divide": "div",
    "divide": "div", "negative": "neg", "dot": "matmul", "concatenate": "concat"}  # fmt: skip
"""Operators that NumPy calls otherwise."""

UserCall = tuple[Closure, Sequence[Any], dict[str, Any], str]


def user_function(
    builder: Builder, function: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> UserCall | None:
    """Return the function whose source is compiled in a call, and its arguments; None when there is none."""
    name = name_of(function)
    if is_cell(function):
        if function.is_native:
            return None
        if getattr(type(function).construct, "__qualname__", "") == "Cell.construct":
            raise CompileError(f"{name} has no construct method; define construct(self, ...)")
        function = function.construct
        if isinstance(function, functools.partial):  # jit as a decorator of construct
            args, kwargs = [*function.args, *args], {**function.keywords, **kwargs}
            function = function.func
        while hasattr(function, "emit_call") and hasattr(function, "function") and function.is_transparent:
            function = function.function
    called = inspect.getattr_static(type(function), "__call__", None)
    if isinstance(called, types.FunctionType) and is_user_code(called):
        function = types.MethodType(called, function)
    if isinstance(function, types.MethodType) and is_user_code(function):
        function, args = function.__func__, [function.__self__, *args]
    if isinstance(function, Closure):
        return function, args, kwargs, name
    if isinstance(function, types.FunctionType) and is_user_code(function):
        return as_closure(builder, function), args, kwargs, name
    return None


def as_closure(builder: Builder, function: types.FunctionType) -> Closure:
    """Return a function of Python's as compiled code sees it."""
    known = memo.calls_of(builder).closures
    if id(function) not in known:
        source, node = find_source(function)
        code = Code(name_of(function), source, node, function.__globals__)
        scope = Scope(cells_of(function))
        closure = Closure(code, scope, function.__defaults__ or (), dict(function.__kwdefaults__ or {}))
        known[id(function)] = (function, closure)
    found: Closure = known[id(function)][1]
    return found


def piece_of(closure: Closure, name: str) -> memo.Piece:
    """Return the piece of source that a call of a closure compiles."""

    def body(builder: Builder, given: Any) -> Any:
        args, kwargs, inner = given
        return run_closure(builder, inner, args, kwargs, name)

    spec = closure.code.node.args
    names = [each.arg for each in (*spec.posonlyargs, *spec.args)]
    return memo.Piece(name, closure.code.node, body, names)


def run_closure(
    builder: Builder, closure: Closure, args: Sequence[Any], kwargs: dict[str, Any], name: str
) -> Any:
    """Run the source of a function in a builder."""
    from framework.frontend.interpreter import Interpreter

    node = closure.code.node
    signature = Signature(closure.name, node, closure.defaults, closure.keyword_defaults)
    try:
        names = signature.bind(args, kwargs)
    except DavinciError as error:
        raise CompileError(f"{error}\n{closure.code.source.line(node).place}") from None
    frame = Frame(closure.code, builder, names, closure.scope)
    frame.given, frame.label = tuple(names.values()), name
    run = Interpreter(frame)
    return run.evaluate(node.body) if isinstance(node, ast.Lambda) else run.run(node.body)


def of_choice(builder: Builder, choice: Choice, act: Callable[[Builder, Any], Any]) -> Any:
    """Return what an act gives for the one of several functions that a number known at run time means."""
    from framework.frontend.interpreter import Interpreter

    functions = choice.functions
    run = Interpreter(Frame(_CHOICE, builder, {}))

    def among(at: int) -> Any:
        if at == len(functions) - 1:
            return act(run.frame.builder, functions[at])
        is_this = run.frame.builder.value(choice.tag) == at
        return branches.choose(
            run, is_this, lambda: act(run.frame.builder, functions[at]), lambda: among(at + 1)
        )

    return among(0)


def is_user_code(function: Any) -> bool:
    """Return whether a callable is compiled from its source."""
    if isinstance(function, types.MethodType):
        function = function.__func__
    if not isinstance(function, types.FunctionType):
        return False
    module = function.__module__ or ""
    root = module.split(".", maxsplit=1)[0]
    return module.startswith(INTERPRETED) or root not in ("framework", "davinci_sim", *COMPILE_TIME)


def name_of(function: Any) -> str:
    """Return a name for a callable that IR text can hold."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    if is_cell(function):
        return type(function).__name__
    name = getattr(function, "name", None) or getattr(function, "__name__", None) or type(function).__name__
    return str(name).strip("<>")


def place_of(function: Any) -> str:
    """Return the line on which a function is written, for the end of a message; nothing if none is known."""
    while not isinstance(function, (Closure, types.FunctionType, types.MethodType)):
        inner = function.construct if is_cell(function) else getattr(function, "function", None)
        inner = function.func if isinstance(function, functools.partial) else inner
        if inner is None:
            return ""
        function = inner
    if isinstance(function, Closure):
        return "\n" + function.code.source.line(function.code.node).place
    if isinstance(function, types.MethodType):
        return place_of(function.__func__)
    try:
        source, node = find_source(function)
    except CompileError:
        return ""
    return "\n" + source.line(node).place


def find_builder(values: Any) -> Builder | None:
    """Return the builder of the symbolic values in a structure, None when there are none."""
    return innermost(flatten(values)[0])


def _runs_natively(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    if isinstance(function, type):
        if issubclass(function, Tensor):
            return find_builder((args, kwargs)) is None
        if dataclasses.is_dataclass(function) or issubclass(function, (functools.partial, tuple)):
            return True
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or type(owner).__module__ or ""
    root = module.split(".", maxsplit=1)[0]
    if root in ("framework", "davinci_sim"):
        return True
    if isinstance(owner, (list, dict, set)) and function.__name__ in CHANGES:
        raise DavinciError(
            f"{function.__name__} changes a {type(owner).__name__} in place; compiled code knows the "
            "statements xs.append(x), xs.extend(ys), xs.insert(i, x), d.update(e), and x[i] = y\n"
            "  next: make a new one, for example xs = xs[:-1]"
        )
    if isinstance(owner, str) and find_builder((args, kwargs)) is not None:
        raise DavinciError(
            f"the text method {function.__name__} is given a tensor, whose value is known at run time only\n"
            "  next: write an f-string in assert or raise, which shows it then"
        )
    if isinstance(owner, (str, tuple, list, dict, int, float)):
        return True
    if module.startswith("numpy.random"):
        return False
    return root in COMPILE_TIME and find_builder((args, kwargs)) is None


def _around() -> Code:
    from framework.frontend.source import Source

    source = Source("<choice>", ("",))
    node = ast.parse("lambda: None", mode="eval").body
    assert isinstance(node, ast.Lambda)
    return Code("choice", source, node, {})


_CHOICE = _around()
