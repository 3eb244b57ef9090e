"""The pass that computes equal expressions once."""

from __future__ import annotations

from collections.abc import Hashable

from framework.ir.nodes import Atom, Attr, Attrs, Binding, Func, Rec, Var
from framework.passes.substitute import Substitution
from framework.passes.walk import everywhere, rebuilt


def cse(func: Func) -> Func:
    """Compute each distinct (op, inputs, attributes) once, in every branch and loop for itself.

    before  %0 = mul(%a, %b); %1 = mul(%a, %b); %2 = add(%0, %1)
    after   %0 = mul(%a, %b); %2 = add(%0, %0)

    Calls, branches, loops and checks are expressions, too: of two equal ones the second ends as the first.
    """
    return everywhere(func, _cse)


def _cse(func: Func) -> Func:
    known: dict[Hashable, tuple[Var, ...]] = {}
    seen = Substitution()
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = seen.binding(binding)
        key = (here.op, tuple(map(_atom_key, here.inputs)), attrs_key(here.attrs))
        if key not in known:
            known[key] = here.outputs
            bindings.append(here)
            continue
        for var, same in zip(here.outputs, known[key], strict=True):
            seen.replace(var, same)
    return rebuilt(func, bindings, seen.atoms(func.results))


def attrs_key(attrs: Attrs) -> Hashable:
    """Return what attributes that mean the same have in common; a Func means itself."""
    return tuple([(name, _attr_key(attrs[name])) for name in sorted(attrs)]) if attrs else ()


def _attr_key(value: Attr) -> Hashable:
    """Return a key that tells 1 from True and 1.0, and 0.0 from -0.0, which Python finds equal."""
    if isinstance(value, Func):
        return id(value)
    if isinstance(value, tuple):
        return tuple(map(_attr_key, value))
    if isinstance(value, str | Rec):
        return value
    return (type(value).__name__, repr(value))


def _atom_key(atom: Atom) -> Hashable:
    return atom.name if isinstance(atom, Var) else atom
