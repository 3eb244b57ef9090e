"""From a Python callable and its arguments to a Func."""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from framework.frontend.interpreter import Interpreter
from framework.frontend.scope import Closure, Scope, Signature, names_around, symbolic
from framework.frontend.source import CompileError, find_source
from framework.ir.builder import Builder, Sym, innermost
from framework.ir.nodes import Func
from framework.ir.types import TensorType
from framework.tensor import Parameter, Tensor
from framework.tree import flatten, places, unflatten

INTERPRETED = ("framework.nn", "framework.models")
"""Modules of ours that are compiled like user code: they hold Parameters."""

COMPILE_TIME = ("math", "numpy", "operator", "_operator")
"""Modules whose functions run while compiling when no tensor is among their arguments."""

DEEPEST_CALL = 40

BUILTINS = frozenset(
    {
        abs,
        bool,
        divmod,
        enumerate,
        float,
        getattr,
        hasattr,
        int,
        isinstance,
        len,
        list,
        max,
        min,
        pow,
        range,
        reversed,
        round,
        sorted,
        str,
        sum,
        tuple,
        type,
        zip,
    }
)


@dataclass(frozen=True)
class Traced:
    """A Func made from Python: its tensor arguments in order, and the structure that its results fill."""

    func: Func
    leaves: Sequence[Any]
    structure: Any
    builder: Builder

    def emit(self, outer: Builder) -> Any:
        """Call the Func from an outer one; return its results in their structure."""
        outputs = outer.call(self.func, [*self.leaves, *self.builder.captured])
        return unflatten(self.structure, outputs)


def trace(
    function: Any,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    *,
    outer: Builder | None = None,
    weights: Sequence[Parameter] = (),
) -> Traced:
    """Return the Func of a callable for these arguments.

    Tensors (and nested tuples of them) become parameters, all else is a constant of the Func. Parameters
    of Cells that it uses, and `weights`, become parameters after the arguments.
    """
    builder = Builder(outer)
    if builder.depth > DEEPEST_CALL:
        raise CompileError(
            f"calls are nested more than {DEEPEST_CALL} deep at {name_of(function)}: a function that calls "
            "itself does not end here; compiled code is straight-line for now"
        )
    leaves, structure = flatten((tuple(args), dict(kwargs)))
    names = _leaf_names(function, structure)
    params = [
        builder.param(_type_of(leaf), None if outer else names[index]) for index, leaf in enumerate(leaves)
    ]
    inner_args, inner_kwargs = unflatten(structure, params)
    result = run(builder, function, inner_args, inner_kwargs)
    if outer is None and isinstance(result, Closure):
        raise CompileError(f"{name_of(function)} returns a function, {result.name}; return what it computes")
    for weight in weights:
        builder.parameter(weight)
    found, out_structure = flatten(result)
    return Traced(builder.finish(name_of(function), found), leaves, out_structure, builder)


def apply(builder: Builder, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a value from compiled code: user functions become Funcs of their own that are called."""
    if isinstance(function, functools.partial):
        return apply(builder, function.func, [*function.args, *args], {**function.keywords, **kwargs})
    if hasattr(function, "emit_call"):  # grad, jit: transforms of functions
        return function.emit_call(builder, args, kwargs)
    if is_user_code(function):
        return trace(function, args, kwargs, outer=builder).emit(builder)
    return run(builder, function, args, kwargs)


def run(builder: Builder, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a callable in this builder: its source if it is user code, natively if it is ours."""
    args, kwargs = (
        symbolic(builder, list(args)),
        {key: symbolic(builder, each) for key, each in kwargs.items()},
    )
    if hasattr(function, "emit_call"):
        return function.emit_call(builder, args, kwargs)
    if isinstance(function, functools.partial):
        return run(builder, function.func, [*function.args, *args], {**function.keywords, **kwargs})
    if isinstance(function, Closure):
        return _run_closure(builder, function, args, kwargs)
    if is_cell(function):
        construct = function.construct
        return construct(*args, **kwargs) if function.is_native else run(builder, construct, args, kwargs)
    if isinstance(function, types.MethodType) and is_user_code(function):
        return run(builder, function.__func__, [function.__self__, *args], kwargs)
    if isinstance(function, types.FunctionType) and is_user_code(function):
        return _run_function(builder, function, args, kwargs)
    if _runs_natively(function, args, kwargs):
        return function(*args, **kwargs)
    raise CompileError(
        f"a call of {name_of(function)} cannot be compiled; "
        "call operators (framework.ops), Cells and plain Python functions, or compute it outside"
    )


def is_cell(value: Any) -> bool:
    """Return whether a value is a Cell; told by its construct, since Cells import the front end."""
    return hasattr(value, "construct") and hasattr(value, "is_native")


def is_user_code(function: Any) -> bool:
    """Return whether a callable is compiled from its source as a Func of its own."""
    if is_cell(function):
        return not function.is_native
    if isinstance(function, Closure):
        return True
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


def find_builder(values: Any) -> Builder | None:
    """Return the builder of the symbolic values in a structure, None when there are none."""
    return innermost(flatten(values)[0])


def _run_function(
    builder: Builder, function: types.FunctionType, args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    source, node = find_source(function)
    signature = Signature(name_of(function), node, function.__defaults__ or (), function.__kwdefaults__ or {})
    scope = Scope(source, builder, signature.bind(args, kwargs), around=names_around(function))
    return _run_body(scope, node)


def _run_closure(builder: Builder, closure: Closure, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    signature = Signature(closure.name, closure.node, closure.defaults, closure.keyword_defaults)
    scope = Scope(closure.scope.source, builder, signature.bind(args, kwargs), outer=closure.scope)
    return _run_body(scope, closure.node)


def _run_body(scope: Scope, node: ast.FunctionDef | ast.Lambda) -> Any:
    scope.names = {key: symbolic(scope.builder, value) for key, value in scope.names.items()}
    interpreter = Interpreter(scope, apply)
    if isinstance(node, ast.Lambda):
        return interpreter.evaluate(node.body)
    return interpreter.run(node.body)


def _runs_natively(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    if isinstance(function, type) and issubclass(function, (Tensor, functools.partial)):
        return find_builder((args, kwargs)) is None or not issubclass(function, Tensor)
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or type(owner).__module__ or ""
    if module.split(".", maxsplit=1)[0] in ("framework", "davinci_sim"):
        return True
    is_builtin = isinstance(function, (types.BuiltinFunctionType, type)) and function in BUILTINS
    if is_builtin or isinstance(owner, (str, tuple, list, dict, int, float)):
        return True
    return module.split(".", maxsplit=1)[0] in COMPILE_TIME and find_builder((args, kwargs)) is None


def _type_of(leaf: Any) -> TensorType:
    return leaf.type if isinstance(leaf, (Tensor, Sym)) else TensorType.of(leaf)


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
    if hasattr(function, "emit_call"):
        return _argument_names(function.function)
    if isinstance(function, functools.partial):
        return _argument_names(function.func)[len(function.args) :]
    if isinstance(function, Closure):
        return [each.arg for each in function.node.args.args]
    target = function.construct if is_cell(function) else function
    skip = 1 if isinstance(target, types.MethodType) else 0
    code = getattr(getattr(target, "__func__", target), "__code__", None)
    return list(code.co_varnames[skip : code.co_argcount]) if code is not None else []
