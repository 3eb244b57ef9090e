"""Check that a Func is well formed: the law that every pass is held to."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from davinci_sim.errors import DavinciError
from framework.ir.control import Signature, TypeMismatch, infer_control, is_control, signature
from framework.ir.nodes import Atom, Binding, Func, Rec, Var
from framework.ir.recursion import Recursion
from framework.ir.registry import operator
from framework.ir.types import Type

Known = Mapping[str, Signature]


class IllFormedFunc(DavinciError):
    """A Func that uses a value before its definition, or whose types do not follow from its inputs."""


def verify(func: Func) -> Func:
    """Return the Func unchanged, or raise IllFormedFunc that names the binding."""
    return Verifier().verify(func)


class Verifier:
    """Verifies Funcs, and does not repeat what it has found well formed in earlier ones.

    Funcs and bindings never change, so that the bindings that a pass has left alone need no second look.
    """

    def __init__(self) -> None:
        """Start with nothing known."""
        self._recursion = Recursion()
        self._funcs: dict[tuple[int, Hashable], Func] = {}
        self._bindings: dict[int, Binding] = {}

    def verify(self, func: Func) -> Func:
        """Return the Func unchanged, or raise IllFormedFunc that names the binding."""
        self._verify(func, {})
        return func

    def _verify(self, func: Func, around: Known) -> None:
        """Check a Func that stands inside of others, once for those around that it means."""
        key = (id(func), tuple((name, around.get(name)) for name in sorted(self._recursion.free(func))))
        if key in self._funcs:
            return
        scope: dict[str, Type] = {}
        known = {**around, func.name: signature(func)}
        _define(func, scope, func.params)
        for binding in func.bindings:
            _check_defined(func, scope, binding.inputs, binding.op)
            self._binding(func, binding, known)
            _define(func, scope, binding.outputs)
        _check_defined(func, scope, func.results, "return")
        _check_updates(func)
        self._funcs[key] = func

    def _binding(self, func: Func, binding: Binding, known: Known) -> None:
        """Check the types of a binding and its Funcs."""
        if id(binding) in self._bindings:
            return
        means_around = False
        if is_control(binding.op):
            for each in binding.attrs.values():
                if isinstance(each, Func):
                    self._verify(each, known)
                    means_around |= bool(self._recursion.free(each))
                means_around |= isinstance(each, Rec)
        _check_types(func, binding, known)
        if not means_around:
            self._bindings[id(binding)] = binding


def _define(func: Func, scope: dict[str, Type], variables: tuple[Var, ...]) -> None:
    for var in variables:
        if var.name in scope:
            raise IllFormedFunc(f"@{func.name}: %{var.name} is defined twice; every value has one name")
        scope[var.name] = var.type


def _check_defined(func: Func, scope: dict[str, Type], atoms: tuple[Atom, ...], user: str) -> None:
    for atom in atoms:
        if not isinstance(atom, Var):
            continue
        found = scope.get(atom.name)
        if found is None:
            raise IllFormedFunc(f"@{func.name}: {user} uses %{atom.name} before it is defined")
        if found is not atom.type and found != atom.type:
            raise IllFormedFunc(
                f"@{func.name}: {user} uses %{atom.name} as {atom.type}, it is defined as {found}"
            )


def _check_types(func: Func, binding: Binding, known: Known) -> None:
    types = tuple([atom.type for atom in binding.inputs])
    if is_control(binding.op):
        try:
            expected = infer_control(binding.op, types, binding.attrs, known)
        except TypeMismatch as error:
            raise IllFormedFunc(f"@{func.name}: {error}") from None
    else:
        expected = operator(binding.op).infer_types([atom.tensor for atom in binding.inputs], binding.attrs)
    found = tuple([var.type for var in binding.outputs])
    if expected != found:
        raise IllFormedFunc(
            f"@{func.name}: {binding.op} gives {_join(expected)}, its outputs say {_join(found)}"
        )


def _check_updates(func: Func) -> None:
    if not func.updates:
        return
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
