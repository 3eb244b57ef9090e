"""The pass that computes while compiling what depends on constants only."""

from __future__ import annotations

from framework.ir.control import is_control
from framework.ir.nodes import Binding, Const, Func
from framework.ir.registry import operator
from framework.passes.substitute import Substitution

LARGEST_GROWTH_BYTES = 1024
"""A result may be this much larger than its inputs; beyond it a constant costs more than computing it."""


def constant_folding(func: Func) -> Func:
    """Replace operators on constants by their results, unless that makes the program much larger.

    before  %0 = mul(float32[]{2.0}, float32[]{3.0}); %1 = add(%x, %0)
    after   %1 = add(%x, float32[]{6.0})
    """
    folded = Substitution()
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = folded.binding(binding)
        if not _is_foldable(here):
            bindings.append(here)
            continue
        arrays = [atom.value for atom in here.inputs if isinstance(atom, Const)]
        for var, array in zip(here.outputs, operator(here.op).run(arrays, here.attrs), strict=True):
            folded.replace(var, Const.of(array))
    return func.with_body(tuple(bindings), folded.atoms(func.results))


def _is_foldable(binding: Binding) -> bool:
    if is_control(binding.op) or not all(isinstance(atom, Const) for atom in binding.inputs):
        return False
    before = sum(atom.tensor.size_bytes for atom in binding.inputs)
    after = sum(var.tensor.size_bytes for var in binding.outputs)
    return after <= before + LARGEST_GROWTH_BYTES
