"""Equality and hashing of Funcs up to the names of their values."""

from __future__ import annotations

import hashlib

from framework.ir.nodes import Atom, Attr, Const, Func, Rec, Var
from framework.ir.printer import print_attr
from framework.ir.recursion import Recursion


def structural_hash(func: Func) -> str:
    """Return a SHA-256 that two Funcs share exactly when they are structurally equal."""
    return _Structure().digest(func, ())


def structurally_equal(a: Func, b: Func) -> bool:
    """Return whether two Funcs differ in nothing but names and source lines."""
    return a is b or structural_hash(a) == structural_hash(b)


class _Structure:
    """Digests of Funcs; one that stands at many places is digested once."""

    def __init__(self) -> None:
        self.recursion = Recursion()
        self.known: dict[tuple[int, tuple[int, ...]], str] = {}

    def digest(self, func: Func, around: tuple[str, ...]) -> str:
        """Return the digest of a Func; those around that it means count by how far around they are."""
        free = (around.index(name) if name in around else -1 for name in sorted(self.recursion.free(func)))
        key = (id(func), tuple(free))
        if key not in self.known:
            self.known[key] = hashlib.sha256(self.canonical(func, around).encode()).hexdigest()
        return self.known[key]

    def canonical(self, func: Func, around: tuple[str, ...]) -> str:
        """Return a text in which values are numbered in order of definition, and Funcs around from inside."""
        numbers: dict[str, int] = {}
        inside = (func.name, *around)
        lines = [", ".join(_number(numbers, param) for param in func.params)]
        for binding in func.bindings:
            inputs = ", ".join(_atom(numbers, atom) for atom in binding.inputs)
            attrs = [f"{key}={self.attr(value, inside)}" for key, value in sorted(binding.attrs.items())]
            outputs = ", ".join(_number(numbers, var) for var in binding.outputs)
            lines.append(f"{outputs} = {binding.op}({inputs}; {', '.join(attrs)})")
        lines.append("return " + ", ".join(_atom(numbers, atom) for atom in func.results))
        lines.append(repr(sorted((index, func.param(name)) for index, name in func.updates.items())))
        return "\n".join(lines)

    def attr(self, value: Attr, inside: tuple[str, ...]) -> str:
        """Return the text of an attribute."""
        if isinstance(value, Func):
            return self.digest(value, inside)
        if isinstance(value, Rec):
            return f"around {inside.index(value.name)}" if value.name in inside else f"free {value.name}"
        return print_attr(value)


def _number(numbers: dict[str, int], var: Var) -> str:
    numbers[var.name] = len(numbers)
    return f"{numbers[var.name]}: {var.type}"


def _atom(numbers: dict[str, int], atom: Atom) -> str:
    if isinstance(atom, Const):
        return f"{atom.type}{{{hashlib.sha256(atom.data).hexdigest()}}}"
    return str(numbers[atom.name])
