"""IR text: what `print(func)` shows and `parse_func` reads back."""

from __future__ import annotations

import base64
import math

import numpy as np

from framework.ir.nodes import CALL, Atom, Attr, Binding, Const, Func

INLINE_ELEMENTS = 16
"""Constants up to this many elements are printed as numbers, larger ones as base64."""


def print_func(func: Func, *, sources: bool = True) -> str:
    """Return the text of a Func, after the Funcs that it calls."""
    names = _callee_names(func)
    return "\n".join(_print_one(each, names, sources) for each in [*_callees(func), func])


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
    """Return an attribute as a Python literal; infinity becomes a literal that overflows to it."""
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    if isinstance(value, tuple):
        return f"({', '.join(map(print_attr, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _number(value: np.generic) -> str:
    if value.dtype.kind in "biu":
        return str(int(value))
    return repr(float(value))


def _callees(func: Func) -> list[Func]:
    """Return every Func reachable by calls, each once, callees before callers."""
    found: list[Func] = []
    for binding in func.bindings:
        if binding.callee is not None:
            for each in [*_callees(binding.callee), binding.callee]:
                if not any(each is known for known in found):
                    found.append(each)
    return found


def _callee_names(func: Func) -> dict[int, str]:
    """Return a distinct printed name for every Func, by identity."""
    names: dict[int, str] = {}
    taken: dict[str, int] = {}
    for each in [*_callees(func), func]:
        count = taken.get(each.name, 0)
        taken[each.name] = count + 1
        names[id(each)] = each.name if count == 0 else f"{each.name}~{count}"
    names[id(func)] = func.name
    if taken[func.name] > 1:  # the outermost keeps its name, callees of the same name are numbered from 1
        same = [each for each in _callees(func) if each.name == func.name]
        names.update({id(each): f"{each.name}~{count}" for count, each in enumerate(same, 1)})
    return names


def _print_one(func: Func, names: dict[int, str], sources: bool) -> str:
    params = ", ".join(f"%{param.name}: {param.type}" for param in func.params)
    updates = f" updates {dict(func.updates)!r}" if func.updates else ""
    lines = [_print_binding(binding, names, sources) for binding in func.bindings]
    results = ", ".join(_print_atom(atom) for atom in func.results)
    return "\n".join([f"func @{names[id(func)]}({params}){updates} {{", *lines, f"  return {results}", "}"])


def _print_binding(binding: Binding, names: dict[int, str], sources: bool) -> str:
    outputs = ", ".join(f"%{var.name}: {var.type}" for var in binding.outputs)
    operands = [_print_atom(atom) for atom in binding.inputs]
    operands += [
        f"{key}={print_attr(value)}" for key, value in sorted(binding.attrs.items()) if key != "func"
    ]
    callee = binding.callee
    target = binding.op if callee is None else f"{CALL} @{names[id(callee)]}"
    comment = f"  // {binding.source}" if sources and binding.source is not None else ""
    return f"  {outputs} = {target}({', '.join(operands)}){comment}"


def _print_atom(atom: Atom) -> str:
    return print_const(atom) if isinstance(atom, Const) else f"%{atom.name}"
