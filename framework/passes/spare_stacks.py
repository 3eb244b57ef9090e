"""The pass that hands to a scan as it is what a loop had saved in every turn alike."""

from __future__ import annotations

from typing import Any

from framework.ir.control import SCAN, WHILE
from framework.ir.nodes import Atom, Binding, Const, Func, Var
from framework.passes.walk import everywhere, rebuilt


def spare_stacks(func: Func) -> Func:
    """Let a scan have as an invariant what is the same in all elements of a stack.

    before  %s, %t = while(%x, %w, body={ ...; return %next, %x, %w }, saves=2, ...); scan(%s, %t, ...)
    after   %s, %t = while(%x, %w, body={ ...; return %next, %x, %w }, saves=2, ...); scan(%s, ..., %w, ...)

    One stack stays, which tells how many turns there are; dead code drops what nobody reads then.
    """
    return everywhere(func, _spared)


def _spared(func: Func) -> Func:
    if not any(binding.op == SCAN for binding in func.bindings):
        return func
    alike: dict[str, Atom] = {}
    full = full_stacks(func)
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = binding
        if here.op == SCAN and isinstance(here.attrs["body"], Func):
            here = _without_alike(here, alike, full)
        if here.op in (WHILE, SCAN):
            alike.update(_saved_alike(here))
        bindings.append(here)
    return rebuilt(func, bindings, func.results)


def full_stacks(func: Func) -> set[str]:
    """Return the names of the stacks that surely have an element per turn: what loops of this Func saved."""
    full: set[str] = set()
    for binding in func.bindings:
        if binding.op in (WHILE, SCAN):
            attrs: Any = binding.attrs
            stacks = binding.inputs[: attrs.get("stacks", 0)]
            if binding.op == WHILE or any(isinstance(each, Var) and each.name in full for each in stacks):
                full.update(var.name for var in binding.outputs[len(binding.outputs) - attrs["saves"] :])
    return full


def _saved_alike(loop: Binding) -> dict[str, Atom]:
    """Return the stacks whose elements are all one value of the Func around."""
    attrs: Any = loop.attrs
    body = attrs["body"]
    if not isinstance(body, Func):
        return {}
    first = len(loop.inputs) - attrs["invariants"]
    outside = {param.name: atom for param, atom in zip(body.params[first:], loop.inputs[first:], strict=True)}
    kept = len(loop.outputs) - attrs["saves"]
    found: dict[str, Atom] = {}
    for var, result in zip(loop.outputs[kept:], body.results[kept:], strict=True):
        atom = result if isinstance(result, Const) else outside.get(result.name)
        if atom is not None:
            found[var.name] = atom
    return found


def _without_alike(scan: Binding, alike: dict[str, Atom], full: set[str]) -> Binding:
    """Return the scan with invariants in the place of stacks that are alike in all turns."""
    attrs: Any = scan.attrs
    names = [atom.name for atom in scan.inputs[: attrs["stacks"]] if isinstance(atom, Var)]
    spared = [at for at, name in enumerate(names) if name in alike]
    if not _tells_turns(names, spared, full):
        spared = spared[1:]  # the first does
    if not spared or not _tells_turns(names, spared, full):
        return scan
    order = [at for at in range(len(scan.inputs)) if at not in spared]
    body = attrs["body"]
    params = tuple(body.params[at] for at in (*order, *spared))
    inputs = (*(scan.inputs[at] for at in order), *(alike[names[at]] for at in spared))
    changed = {
        **attrs,
        "body": Func(body.name, params, body.bindings, body.results),
        "stacks": attrs["stacks"] - len(spared),
        "invariants": attrs["invariants"] + len(spared),
    }
    return Binding(scan.outputs, SCAN, inputs, changed, scan.source)


def _tells_turns(names: list[str], spared: list[int], full: set[str]) -> bool:
    """Tell whether a stack that stays has surely an element per turn."""
    return any(name in full for at, name in enumerate(names) if at not in spared)
