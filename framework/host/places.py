"""Bindings in an order, and of a form, in which parts of tensors can be written in place.

The derivative of `x[i]` is a tensor of zeros with the cotangent at its place, which is then added to those of
other turns. Adding the part alone, and reading a tensor before it is changed, not after, leaves tensors
that nobody else looks at: what writes them need not copy them (see `runtime.index_added`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import replace

from framework.ir.control import is_control
from framework.ir.nodes import Atom, Binding, Const, Func, Var

ADD, UPDATE = "index_add", "index_update"


def arranged(func: Func, zeros: Set[str] = frozenset()) -> tuple[Binding, ...]:
    """Return the bindings of a Func, arranged so that parts of tensors are written last.

    `zeros` are the parameters that are known to be zero.

    before  %a = index_update(%x, %v, %i); %b = index(%x, %i); %c = index_add(zeros, %b, %i); %d = add(%a, %c)
    after   %b = index(%x, %i); %a = index_update(%x, %v, %i); %d = index_add(%a, %b, %i)
    """
    if not any(binding.op in (ADD, UPDATE) for binding in func.bindings):
        return func.bindings
    return tuple(_reads_first(_parts_added(func, set(zeros))))


def is_zero(binding: Binding, zeros: Set[str]) -> bool:
    """Tell whether an operator gives zeros, whatever its inputs, or since those of these names are zero."""
    if binding.op == "full":
        return binding.attrs["value"] == 0
    if binding.op in ("broadcast_to", "reshape"):
        return _is_zero(binding.inputs[0], zeros)
    return binding.op == "zeros_like"


def _parts_added(func: Func, zeros: set[str]) -> list[Binding]:
    """Add parts where they belong, instead of tensors that are zero elsewhere."""
    uses = Counter(atom.name for binding in func.bindings for atom in binding.inputs if isinstance(atom, Var))
    uses.update(atom.name for atom in func.results if isinstance(atom, Var))
    parts: dict[str, list[Binding]] = {}  # by the name of a sum of parts: the bindings that make it
    found: list[Binding] = []
    for binding in func.bindings:
        if is_zero(binding, zeros):
            zeros.add(binding.outputs[0].name)
        if binding.op == ADD and _is_zero(binding.inputs[0], zeros):
            parts[binding.outputs[0].name] = [binding]
        places = _parts_of(binding, parts, uses)
        if not places:
            found.append(binding)
            continue
        added = [part for place in places for part in parts[_name(binding.inputs[place])]]
        found = [each for each in found if not any(each is part for part in added)]
        base = binding.inputs[1 - places[0]] if len(places) == 1 else added[0].inputs[0]
        chain = _chain(base, added, binding.outputs)
        found += chain
        if len(places) == 2:
            parts[binding.outputs[0].name] = chain
    return found


def _parts_of(binding: Binding, parts: dict[str, list[Binding]], uses: Counter[str]) -> list[int]:
    """Return which operands of a sum are parts that nobody else uses."""
    if binding.op != "add" or binding.inputs[0].type != binding.inputs[1].type:
        return []
    names = [_name(atom) for atom in binding.inputs]
    return [place for place, name in enumerate(names) if name in parts and uses[name] == 1]


def _chain(base: Atom, parts: list[Binding], outputs: tuple[Var, ...]) -> list[Binding]:
    """Return bindings that add one part after the other to a base."""
    chain = []
    for part in parts:
        chain.append(replace(part, inputs=(base, *part.inputs[1:])))
        base = part.outputs[0]
    chain[-1] = replace(chain[-1], outputs=outputs)
    return chain


def _name(atom: Atom) -> str:
    return atom.name if isinstance(atom, Var) else ""


def _is_zero(atom: Atom, zeros: Set[str]) -> bool:
    return not atom.value.any() if isinstance(atom, Const) else atom.name in zeros


def _reads_first(bindings: list[Binding]) -> list[Binding]:
    """Move operators that read a tensor before the binding that writes a part of it, where that can be."""
    found = list(bindings)
    for write in [binding for binding in bindings if binding.op in (ADD, UPDATE)]:
        at = next(place for place, binding in enumerate(found) if binding is write)
        x = write.inputs[0]
        later = {var for binding in found[at:] for var in binding.outputs}
        moved: list[Binding] = []
        for binding in found[at + 1 :]:
            is_free = not later.intersection(each for each in binding.inputs if isinstance(each, Var))
            if x in binding.inputs and is_free and not is_control(binding.op):
                moved.append(binding)
                later -= set(binding.outputs)
        rest = [binding for binding in found[at:] if not any(binding is each for each in moved)]
        found[at:] = [*moved, *rest]
    return found
