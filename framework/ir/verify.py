"""Check that a Func is well formed: the law that every pass is held to."""

from __future__ import annotations

from collections.abc import Mapping

from davinci_sim.errors import DavinciError
from framework.ir.control import Signature, TypeMismatch, infer_control, is_control, signature
from framework.ir.nodes import Atom, Binding, Func, Var
from framework.ir.registry import operator
from framework.ir.types import Type


class IllFormedFunc(DavinciError):
    """A Func that uses a value before its definition, or whose types do not follow from its inputs."""


def verify(func: Func) -> Func:
    """Return the Func unchanged, or raise IllFormedFunc that names the binding."""
    _verify(func, {}, set())
    return func


def _verify(func: Func, around: Mapping[str, Signature], checked: set[tuple[int, ...]]) -> None:
    """Check a Func that stands inside of others; equal ones in equal places are checked once."""
    scope: dict[str, Type] = {}
    known = {**around, func.name: signature(func)}
    for param in func.params:
        _define(func, scope, param)
    for binding in func.bindings:
        for atom in binding.inputs:
            _check_defined(func, scope, atom, binding.op)
        for each in binding.funcs.values():
            if (id(each), *map(hash, known)) not in checked:
                checked.add((id(each), *map(hash, known)))
                _verify(each, known, checked)
        _check_types(func, binding, known)
        for output in binding.outputs:
            _define(func, scope, output)
    for atom in func.results:
        _check_defined(func, scope, atom, "return")
    _check_updates(func)


def _define(func: Func, scope: dict[str, Type], var: Var) -> None:
    if var.name in scope:
        raise IllFormedFunc(f"@{func.name}: %{var.name} is defined twice; every value has one name")
    scope[var.name] = var.type


def _check_defined(func: Func, scope: dict[str, Type], atom: Atom, user: str) -> None:
    if not isinstance(atom, Var):
        return
    if atom.name not in scope:
        raise IllFormedFunc(f"@{func.name}: {user} uses %{atom.name} before it is defined")
    if scope[atom.name] != atom.type:
        raise IllFormedFunc(
            f"@{func.name}: {user} uses %{atom.name} as {atom.type}, it is defined as {scope[atom.name]}"
        )


def _check_types(func: Func, binding: Binding, known: Mapping[str, Signature]) -> None:
    types = tuple(atom.type for atom in binding.inputs)
    if is_control(binding.op):
        try:
            expected = infer_control(binding.op, types, binding.attrs, known)
        except TypeMismatch as error:
            raise IllFormedFunc(f"@{func.name}: {error}") from None
    else:
        expected = operator(binding.op).infer_types([atom.tensor for atom in binding.inputs], binding.attrs)
    found = tuple(var.type for var in binding.outputs)
    if expected != found:
        raise IllFormedFunc(
            f"@{func.name}: {binding.op} gives {_join(expected)}, its outputs say {_join(found)}"
        )


def _check_updates(func: Func) -> None:
    params = {param.name: param.type for param in func.params}
    for index, name in func.updates.items():
        if (
            name not in params
            or not 0 <= index < len(func.results)
            or func.results[index].type != params[name]
        ):
            raise IllFormedFunc(
                f"@{func.name}: update {index} -> {name!r} does not match a result and a parameter"
            )


def _join(types: tuple[Type, ...]) -> str:
    return f"({', '.join(map(str, types))})"
