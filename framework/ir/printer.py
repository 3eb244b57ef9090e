"""IR text: what `print(func)` shows and `parse_func` reads back."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from framework.ir.control import AHEAD, BACK
from framework.ir.nodes import Atom, Attr, Binding, Const, Func, Rec
from framework.ir.recursion import Recursion
from framework.ir.types import EnvType, FnType, StackType, TensorType

INLINE_ELEMENTS = 16
"""Constants up to this many elements are printed as numbers, larger ones as base64."""

_PARTS = {key: at for at, key in enumerate(("func", AHEAD, BACK, "then", "orelse", "cond", "body"))}


def print_func(func: Func, *, sources: bool = True) -> str:
    """Return the text of a Func, after the Funcs that it calls."""
    return _Printer(func, sources).text()


def print_const(const: Const) -> str:
    """Return the text of a constant: type, then its elements, what all of them are, or their bytes.

    >>> print_const(Const.of(np.float32([1, 0.5])))
    'float32[2]{1.0, 0.5}'
    >>> print_const(Const.of(np.zeros((2, 3), np.int32)))
    'int32[2, 3]{all 0}'
    """
    flat = const.value.reshape(-1)
    item = flat.tobytes()[: const.type.dtype.itemsize_bytes]
    if flat.size > 1 and const.data == item * flat.size and not np.isnan(flat[:1].astype(np.float64)).any():
        return f"{const.type}{{all {_number(flat[0])}}}"
    if flat.size > INLINE_ELEMENTS or (const.type.dtype.is_float and np.isnan(flat.astype(np.float64)).any()):
        return f"{const.type}{{base64 {base64.b64encode(const.data).decode()}}}"
    return f"{const.type}{{{', '.join(_number(value) for value in flat)}}}"


def print_attr(value: Attr) -> str:
    """Return an attribute as a Python literal, a type as its text; infinity overflows to it.

    >>> print_attr((1, -math.inf, StackType(EnvType())))
    '(1, -1e999, stack<env>)'
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("1e999" if value > 0 else "-1e999")
    if isinstance(value, TensorType | FnType | StackType | EnvType):
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(print_attr, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _number(value: np.generic) -> str:
    if value.dtype.kind in "biu":
        return str(int(value))
    return repr(float(value))


def in_order(binding: Binding) -> list[tuple[str, Attr]]:
    """Return the attributes in the order of the text: Funcs as they run, then the others by name."""
    return sorted(binding.attrs.items(), key=lambda each: (_PARTS.get(each[0], len(_PARTS)), each[0]))


Key = tuple[Any, ...]
Around = Mapping[str, Key]


class _Printer:
    """Prints the Funcs below one, under names of their own; the outermost keeps its own.

    A Func that stands at several places is printed once, unless it means different Funcs around it there.
    """

    def __init__(self, func: Func, sources: bool) -> None:
        self.sources = sources
        self.recursion = Recursion()
        self.found: dict[Key, tuple[Func, Around]] = {}
        self.collect(func, self.key(func, {}), {})
        self.names, taken = {self.key(func, {}): func.name}, {func.name: 1}
        for key, (each, _) in list(self.found.items())[:-1]:
            count = taken.get(each.name, 0)
            taken[each.name] = count + 1
            self.names[key] = each.name if count == 0 else f"{each.name}~{count}"

    def key(self, func: Func, around: Around) -> Key:
        """Return what tells a Func at its place from all others."""
        meant = sorted(self.recursion.free(func)) if around else ()
        return (id(func), *(around[name] for name in meant if name in around))

    def collect(self, func: Func, key: Key, around: Around) -> None:
        """Enter every Func below a Func and then itself, each once, with those that its bindings stand in."""
        inside = {**around, func.name: key}
        for binding in func.bindings:
            for _, each in in_order(binding):
                if isinstance(each, Func) and self.key(each, inside) not in self.found:
                    self.collect(each, self.key(each, inside), inside)
        self.found[key] = (func, inside)

    def text(self) -> str:
        """Return the text of all Funcs."""
        return "\n".join(self.func(key, *found) for key, found in self.found.items())

    def func(self, key: Key, func: Func, inside: Around) -> str:
        """Return the text of one Func, given those that its bindings stand in."""
        params = ", ".join(f"%{param.name}: {param.type}" for param in func.params)
        updates = f" updates {dict(func.updates)!r}" if func.updates else ""
        lines = [self.binding(binding, inside) for binding in func.bindings]
        results = ", ".join(_print_atom(atom) for atom in func.results)
        head = f"func @{self.names[key]}({params}){updates} {{"
        return "\n".join([head, *lines, f"  return {results}".rstrip(), "}"])

    def binding(self, binding: Binding, around: Around) -> str:
        """Return the line of a binding."""
        outputs = ", ".join(f"%{var.name}: {var.type}" for var in binding.outputs)
        operands = [_print_atom(atom) for atom in binding.inputs]
        operands += [f"{key}={self.attr(value, around)}" for key, value in in_order(binding) if key != "func"]
        func = binding.attrs.get("func")
        target = binding.op if func is None else f"{binding.op} {self.attr(func, around)}"
        comment = f"  // {binding.source}" if self.sources and binding.source is not None else ""
        return f"  {outputs}{' = ' if outputs else ''}{target}({', '.join(operands)}){comment}"

    def attr(self, value: Attr, around: Around) -> str:
        """Return the text of an attribute: of a Func its name."""
        if isinstance(value, Func):
            return f"@{self.names[self.key(value, around)]}"
        if isinstance(value, Rec):
            return f"@{self.names[around[value.name]] if value.name in around else value.name}"
        return print_attr(value)


def _print_atom(atom: Atom) -> str:
    return print_const(atom) if isinstance(atom, Const) else f"%{atom.name}"
