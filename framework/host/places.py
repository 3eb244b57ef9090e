"""Bindings in an order in which parts of tensors can be written in place.

A tensor is read before a part of it is changed, not after: then nobody else looks at it when it is changed,
and what writes the part need not copy the whole (see `runtime.index_added`). That parts are added where they
belong, and not to zeros first, is what the pass `add_parts` sees to.
"""

from __future__ import annotations

from framework.ir.control import is_control
from framework.ir.nodes import Binding, Func, Var

ADD, UPDATE = "index_add", "index_update"


def arranged(func: Func) -> tuple[Binding, ...]:
    """Return the bindings of a Func, arranged so that parts of tensors are written last.

    before  %a = index_update(%x, %v, %i); %b = index(%x, %i)
    after   %b = index(%x, %i); %a = index_update(%x, %v, %i)
    """
    if not any(binding.op in (ADD, UPDATE) for binding in func.bindings):
        return func.bindings
    return tuple(_reads_first(func.bindings))


def _reads_first(bindings: tuple[Binding, ...]) -> list[Binding]:
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
