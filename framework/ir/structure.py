"""Equality and hashing of Funcs up to the names of their values."""

from __future__ import annotations

import hashlib

from framework.ir.nodes import Atom, Attr, Const, Func, Rec, Var
from framework.ir.printer import print_attr


def structural_hash(func: Func) -> str:
    """Return a SHA-256 that two Funcs share exactly when they are structurally equal."""
    return hashlib.sha256(_canonical(func, ()).encode()).hexdigest()


def structurally_equal(a: Func, b: Func) -> bool:
    """Return whether two Funcs differ in nothing but names and source lines."""
    return _canonical(a, ()) == _canonical(b, ())


def _canonical(func: Func, around: tuple[str, ...]) -> str:
    """Return a text in which values are numbered in order of definition, and Funcs around from inside."""
    numbers: dict[Var, int] = {}
    inside = (func.name, *around)
    lines = [", ".join(_number(numbers, param) for param in func.params)]
    for binding in func.bindings:
        inputs = ", ".join(_atom(numbers, atom) for atom in binding.inputs)
        attrs = [f"{key}={_attr(value, inside)}" for key, value in sorted(binding.attrs.items())]
        outputs = ", ".join(_number(numbers, var) for var in binding.outputs)
        lines.append(f"{outputs} = {binding.op}({inputs}; {', '.join(attrs)})")
    lines.append("return " + ", ".join(_atom(numbers, atom) for atom in func.results))
    lines.append(repr(sorted((index, func.param(name)) for index, name in func.updates.items())))
    return "\n".join(lines)


def _attr(value: Attr, inside: tuple[str, ...]) -> str:
    if isinstance(value, Func):
        return hashlib.sha256(_canonical(value, inside).encode()).hexdigest()
    if isinstance(value, Rec):
        return f"around {inside.index(value.name)}" if value.name in inside else f"free {value.name}"
    return print_attr(value)


def _number(numbers: dict[Var, int], var: Var) -> str:
    numbers[var] = len(numbers)
    return f"{numbers[var]}: {var.type}"


def _atom(numbers: dict[Var, int], atom: Atom) -> str:
    if isinstance(atom, Const):
        return f"{atom.type}{{{hashlib.sha256(atom.data).hexdigest()}}}"
    return str(numbers[atom])
