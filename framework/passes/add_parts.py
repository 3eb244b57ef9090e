"""The pass that adds parts where they belong, instead of sums of wholes that are zero elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from framework.ir.control import NOTHING
from framework.ir.nodes import Atom, Binding, Func, Var
from framework.passes.algebraic import Producers, number_everywhere, producer
from framework.passes.walk import everywhere, fresh_names, rebuilt

PART = "index_add"


def add_parts(func: Func) -> Func:
    """Add to a value what stands alone among zeros, as the gradients of `x[i]` do, part by part.

    before  %0 = full(value=0); %1 = index_add(%0, %a, %i); %2 = index_add(%0, %b, %j);
            %3 = add(%1, %2); %4 = add(%x, %3)
    after   %5 = index_add(%x, %a, %i); %4 = index_add(%5, %b, %j)

    A loop over the rows of a tensor then touches a row in a turn and not the whole tensor.
    """
    return everywhere(func, _added)


def _added(func: Func) -> Func:
    if all(binding.op != PART for binding in func.bindings):
        return func
    names = fresh_names(func)
    producers: Producers = {}
    alone: dict[str, list[Binding]] = {}  # the parts of values that are zero elsewhere
    bindings: list[Binding] = []
    for binding in func.bindings:
        for each in _sum(binding, alone, names) if binding.op == "add" else (binding,):
            bindings.append(each)
            before = _parts(each.inputs[0], producers, alone) if each.op == PART else None
            if before is not None:
                alone[each.outputs[0].name] = [*before, each]
            producers.update({var.name: each for var in each.outputs})
    return rebuilt(func, bindings, func.results)


def _parts(whole: Atom, producers: Producers, alone: dict[str, list[Binding]]) -> list[Binding] | None:
    """Return the parts of a value that is zero elsewhere, None for one that is not."""
    if isinstance(whole, Var) and whole.name in alone:
        return alone[whole.name]
    is_zero = producer(whole, producers, NOTHING) is not None or number_everywhere(whole, producers) == 0
    return [] if is_zero else None


def _sum(binding: Binding, alone: dict[str, list[Binding]], names: Iterator[str]) -> Sequence[Binding]:
    """Return what adds the parts of one input to the other: the sum itself if neither is zero elsewhere."""
    chains = [alone.get(atom.name) if isinstance(atom, Var) else None for atom in binding.inputs]
    same_type = all(atom.type == binding.outputs[0].type for atom in binding.inputs)
    lengths = [(len(chain), at) for at, chain in enumerate(chains) if chain is not None and same_type]
    if not lengths:
        return (binding,)
    length, at = min(lengths)
    parts, total = chains[at] or [], binding.inputs[1 - at]
    written: list[Binding] = []
    for count, part in enumerate(parts, 1):
        output = binding.outputs[0] if count == length else Var(next(names), total.type)
        written.append(Binding((output,), PART, (total, *part.inputs[1:]), part.attrs, part.source))
        total = output
    return written
