"""The pass that finds formulas and writes the operators that they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from framework.ir.nodes import Binding, Func, Var
from framework.passes.compositions.composition import Composition, Match
from framework.passes.compositions.table import COMPOSITIONS, UPDATES, chosen
from framework.passes.compositions.view import View
from framework.passes.constant_folding import constant_folding
from framework.passes.cse import cse
from framework.passes.dead_code import dead_code
from framework.passes.inline import inline
from framework.passes.tuple_elimination import tuple_elimination
from framework.passes.walk import distinct, everywhere

MOST_SWEEPS = 4


def compose(func: Func, names: str | Iterable[str] = "all") -> Func:
    """Let formulas that have an operator of their own be that operator.

    before  %0 = reduce_max(%x); %1 = sub(%x, %0); %2 = exp(%1); %3 = reduce_sum(%2); %4 = div(%2, %3)
    after   %4 = softmax(%x)

    It comes before differentiation, so that the gradients are the operator's own, too. What is called is
    opened first, since a formula may be spread over functions; steps of optimisers are not. A Func without a
    formula stays the object it is.
    """
    names = chosen(names)
    wanted = [each for name, each in COMPOSITIONS.items() if name in names]
    if func.mentions - {func.name}:  # part of a function around it, which has to be opened with it
        return func
    ops = {binding.op for each in distinct(func) for binding in each.bindings}
    if not any(each.may_be_in(ops) for each in wanted):
        return func
    opened = func if UPDATES.issuperset(names) else _opened(func)
    found = opened
    for _ in range(MOST_SWEEPS):
        before = found
        found = dead_code(everywhere(found, lambda each: _composed(each, wanted)))
        if found is before:
            break
    return func if found is dead_code(opened) else found


def _opened(func: Func) -> Func:
    """Return a Func with short functions in the place of their calls, equal values being one."""
    return cse(tuple_elimination(constant_folding(inline(func))))


def _composed(func: Func, wanted: Sequence[Composition]) -> Func:
    """Return a Func with its formulas composed, the last and longest ones first."""
    ops = {binding.op for binding in func.bindings}
    usable = [each for each in wanted if each.may_be_in(ops)]
    if not usable:
        return func
    view = View(func)
    made: dict[int, tuple[Binding, ...]] = {}
    gone: set[int] = set()
    for binding in reversed(func.bindings):
        for each in usable if id(binding) not in gone else ():
            match = each.match(view, binding) if binding.op in each.ends else None
            taken = match and _taken(view, match, gone)
            if match and taken:
                made[id(binding)] = _with_source(match, binding)
                gone |= taken
                break
    if not made:
        return func
    bindings: list[Binding] = []
    written = {var.name for each in made.values() for binding in each for var in binding.outputs}
    for binding in func.bindings:
        if id(binding) in made:
            bindings += made[id(binding)]
        elif not written.intersection(var.name for var in binding.outputs):
            bindings.append(binding)
    return func.with_body(tuple(bindings), func.results)


def _taken(view: View, match: Match, gone: set[int]) -> set[int] | None:
    """Return the bindings that a match makes superfluous; None where others need more of them than go."""
    inside = view.between(match.ends, match.inputs)
    ids = {id(each) for each in inside}
    ends = {end.name for end in match.ends if isinstance(end, Var)}
    inner = [each for each in inside if each.outputs[0].name not in ends]
    shared = [var for each in inner if view.is_read_outside(each, ids) for var in each.outputs]
    staying = {id(each) for each in view.between(shared, match.inputs)}
    return None if ids & gone or 2 * len(staying) >= len(ids) else ids - staying


def _with_source(match: Match, end: Binding) -> tuple[Binding, ...]:
    """Return the bindings of a match with the line that the formula ends on."""
    return tuple(Binding(b.outputs, b.op, b.inputs, b.attrs, end.source) for b in match.bindings)
