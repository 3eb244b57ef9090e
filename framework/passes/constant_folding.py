"""The pass that computes while compiling what depends on constants only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from davinci_sim.errors import DavinciError
from framework.ir.control import CLOSURE, IF, is_control
from framework.ir.nodes import CALL, Atom, Binding, Const, Func, Rec
from framework.ir.registry import operator
from framework.passes.substitute import Substitution
from framework.passes.walk import WITH_PARTS, Facts, brings_rule, distinct, parts, rebuilt

LARGEST_GROWTH_BYTES = 1024
"""A result may be this much larger than its inputs; beyond it a constant costs more than computing it."""

TRUE, FALSE = Const.of(np.asarray(True)), Const.of(np.asarray(False))

Known = tuple[tuple[int, Const], ...]
"""The parameters of a Func that are known, by position."""


def constant_folding(func: Func) -> Func:
    """Replace operators on constants by their results, unless that makes the program much larger.

    before  %0 = mul(float32[]{2.0}, float32[]{3.0}); %1 = add(%x, %0)
    after   %1 = add(%x, float32[]{6.0})

    Constants that are operands move into branches, loops and functions as values, and into what is called
    if all calls agree.
    """
    return _Folder(func).fold(func, ())


def specialized(func: Func, known: Known) -> Func:
    """Return the Func without the parameters that are known."""
    return _Folder(func).fold(func, known)


class _Folder:
    """Goes over a tree from the outside; a Func is folded once for the constants that it is given."""

    def __init__(self, root: Func) -> None:
        self.facts = Facts()
        self.agreed = _agreed(root)
        self.done: dict[tuple[int, Known], tuple[Func, Func]] = {}

    def fold(self, func: Func, known: Known) -> Func:
        """Return the Func folded, without the parameters that are known."""
        key = (id(func), known)
        if key not in self.done:
            self.done[key] = (func, self._folded(func, dict(known)))
        return self.done[key][1]

    def _folded(self, func: Func, known: Mapping[int, Const]) -> Func:
        values = Substitution()
        for position, const in known.items():
            values.bind(func.params[position], const)
        bindings: list[Binding] = []
        for binding in func.bindings:
            here = values.binding(binding)
            if here.op in WITH_PARTS:
                bindings.append(self._with_constants(here, binding))
            elif not _is_foldable(here) or not _fold(here, values):
                bindings.append(here)
        new = rebuilt(func, bindings, values.atoms(func.results))
        if not known:
            return new
        params = tuple(param for at, param in enumerate(func.params) if at not in known)
        return Func(func.name, params, new.bindings, new.results)

    def _with_constants(self, binding: Binding, original: Binding) -> Binding:
        """Return the binding without the operands that are constants, which its parts have instead."""
        known = self._known(binding, original)
        attrs: dict[str, Any] = dict(binding.attrs)
        for key, part in binding.attrs.items():
            if isinstance(part, Func):
                attrs[key] = self.fold(part, _inside(binding, key, known))
        if "invariants" in attrs:
            attrs["invariants"] -= len(known)
        if not known and all(attrs[key] is value for key, value in binding.attrs.items()):
            return binding
        inputs = tuple(atom for at, atom in enumerate(binding.inputs) if at not in known)
        return Binding(binding.outputs, binding.op, inputs, attrs, binding.source)

    def _known(self, binding: Binding, original: Binding) -> dict[int, Const]:
        """Return the operands that are constants and that the parts may have, by position."""
        if brings_rule(binding) or any(isinstance(each, Rec) for each in binding.attrs.values()):
            return {}
        if any(map(self.facts.is_recursive, parts(binding))):
            return {}
        if binding.op == CALL:
            return self.agreed.get(id(original.attrs["func"]), {})
        first = {IF: 1, CLOSURE: 0}.get(binding.op)
        if first is None:
            attrs: Any = binding.attrs
            first = len(binding.inputs) - attrs["invariants"]
        operands = enumerate(binding.inputs[first:], first)
        condition = binding.inputs[0] if binding.op == IF else None
        return {
            at: TRUE if atom == condition else atom for at, atom in operands if _is_known(atom, condition)
        }


def _is_known(atom: Atom, condition: Atom | None) -> TypeGuard[Const]:
    """Tell whether an operand is a constant, or the condition itself, which each branch knows."""
    return isinstance(atom, Const) or atom == condition


def _inside(binding: Binding, key: str, known: dict[int, Const]) -> Known:
    """Return what a part knows of its parameters: the condition is false in the second branch."""
    shift = _shift(binding)
    return tuple(
        (at + shift, FALSE if key == "orelse" and binding.inputs[at] == binding.inputs[0] else const)
        for at, const in known.items()
    )


def _shift(binding: Binding) -> int:
    """Return by how much the position of a parameter of a part is beyond that of the operand."""
    if binding.op == CLOSURE:
        func: Any = binding.attrs["func"]
        return len(func.params) - len(binding.inputs) if isinstance(func, Func) else 0
    return -1 if binding.op == IF else 0


def _agreed(root: Func) -> dict[int, dict[int, Const]]:
    """Return the arguments of every Func that is called that are one constant at all calls."""
    found: dict[int, dict[int, Const]] = {}
    for func in distinct(root):
        for binding in func.bindings:
            if binding.op != CALL:
                continue
            given = {at: atom for at, atom in enumerate(binding.inputs) if isinstance(atom, Const)}
            before = found.setdefault(id(binding.attrs["func"]), given)
            if before is not given:
                found[id(binding.attrs["func"])] = {
                    at: const for at, const in before.items() if given.get(at) == const
                }
    return found


def _is_foldable(binding: Binding) -> bool:
    for atom in binding.inputs:
        if not isinstance(atom, Const):
            return False
    if is_control(binding.op) or operator(binding.op).meets:
        return False
    before = sum(atom.tensor.size_bytes for atom in binding.inputs)
    after = sum(var.tensor.size_bytes for var in binding.outputs)
    return after <= before + LARGEST_GROWTH_BYTES


def _fold(binding: Binding, values: Substitution) -> bool:
    """Enter the results of a binding of constants; what fails is left to the run, if it comes there."""
    arrays = [atom.value for atom in binding.inputs if isinstance(atom, Const)]
    try:
        results = operator(binding.op).run(arrays, binding.attrs)
    except (ArithmeticError, LookupError, ValueError, DavinciError):
        return False
    for var, array in zip(binding.outputs, results, strict=True):
        values.replace(var, Const.of(array))
    return True
