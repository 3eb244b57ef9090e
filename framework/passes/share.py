"""The pass that lets equal Funcs be one."""

from __future__ import annotations

from collections.abc import Hashable

from framework.ir.control import CHECK
from framework.ir.nodes import Atom, Attr, Binding, Func, Rec, Var
from framework.passes.cse import attrs_key
from framework.passes.walk import WITH_PARTS, everywhere


def share(func: Func) -> Func:
    """Let Funcs that differ in names only be one object, which later passes go over once.

    before  %0 = call @f(%x); %1 = call @g(%0), where @f and @g differ in names only
    after   %0 = call @f(%x); %1 = call @f(%0)

    Funcs that check something are one only if they stand at one place of the source, which messages name.
    """
    if not any(binding.op in WITH_PARTS for binding in func.bindings):
        return func
    known: dict[Hashable, Func] = {}
    return everywhere(func, lambda each: known.setdefault(_key(each), each), outermost=False)


def _key(func: Func) -> Hashable:
    """Return what equal Funcs have in common: values by number of definition, Funcs inside by identity."""
    numbers: dict[str, int] = {}
    lines: list[Hashable] = [_defined(numbers, func.params)]
    for binding in func.bindings:
        inputs = tuple([_atom(numbers, atom) for atom in binding.inputs])
        attrs = _attrs(binding, func.name)
        place = str(binding.source) if binding.op == CHECK else None
        lines.append((binding.op, inputs, attrs, _defined(numbers, binding.outputs), place))
    lines.append(tuple([_atom(numbers, atom) for atom in func.results]))
    lines.append(tuple(sorted(func.updates.items())))
    return tuple(lines)


def _attrs(binding: Binding, name: str) -> Hashable:
    """Return the key of the attributes, in which the Func's own name does not matter."""
    own: dict[str, Attr] = {key: value for key, value in binding.attrs.items() if value != Rec(name)}
    recursive = tuple(sorted(key for key in binding.attrs if key not in own))
    return attrs_key(own), recursive


def _defined(numbers: dict[str, int], variables: tuple[Var, ...]) -> Hashable:
    for var in variables:
        numbers[var.name] = len(numbers)
    return tuple([var.type for var in variables])


def _atom(numbers: dict[str, int], atom: Atom) -> Hashable:
    return numbers[atom.name] if isinstance(atom, Var) else atom
