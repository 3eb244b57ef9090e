"""What passes share: going over the Funcs of a tree, each once, and keeping the objects that do not change.

A Func that stands at many places, such as a layer that is called 24 times, is one object; passes keep it one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from framework.ir.control import AHEAD, APPLY, BACK, CHECK, CLOSURE, IF, SCAN, WHILE
from framework.ir.nodes import CALL, Atom, Attr, Binding, Func, Var
from framework.ir.recursion import Recursion

WITH_PARTS = frozenset({CALL, IF, WHILE, SCAN, CLOSURE})
"""The ops whose attributes hold Funcs."""

Change = Callable[[Func], Func]


def parts(binding: Binding) -> list[Func]:
    """Return the Funcs of a binding: what it calls, its branches, the parts of a loop."""
    if binding.op not in WITH_PARTS:
        return []
    return [value for value in binding.attrs.values() if isinstance(value, Func)]


def brings_rule(binding: Binding) -> bool:
    """Tell whether a call brings its own gradient rule, which fits the Func as it is."""
    return AHEAD in binding.attrs or BACK in binding.attrs


def with_parts(binding: Binding, change: Change) -> Binding:
    """Return the binding with each of its Funcs changed: itself when none does."""
    if binding.op not in WITH_PARTS:
        return binding
    changed: dict[str, Attr] = {}
    for key, value in binding.attrs.items():
        if isinstance(value, Func):
            new = change(value)
            if new is not value:
                changed[key] = new
    if not changed:
        return binding
    attrs = {**binding.attrs, **changed}
    return Binding(binding.outputs, binding.op, binding.inputs, attrs, binding.source)


def rebuilt(func: Func, bindings: Sequence[Binding], results: tuple[Atom, ...]) -> Func:
    """Return the Func with this body: itself when the body is its own."""
    same = len(bindings) == len(func.bindings) and results == func.results
    if same and all(map(_is, bindings, func.bindings)):
        return func
    return Func(func.name, func.params, tuple(bindings), results, func.updates)


def _is(a: object, b: object) -> bool:
    return a is b


def everywhere(func: Func, change: Change, outermost: bool = True) -> Func:
    """Change every Func of a tree, each once, those inside before those around; `func` itself if wanted."""
    done: dict[int, tuple[Func, Func]] = {}

    def visit(each: Func) -> Func:
        if id(each) not in done:
            done[id(each)] = (each, change(_with_inner(each, visit)))
        return done[id(each)][1]

    return visit(func) if outermost else _with_inner(func, visit)


def _with_inner(func: Func, change: Change) -> Func:
    if not any(binding.op in WITH_PARTS for binding in func.bindings):
        return func
    return rebuilt(func, [with_parts(binding, change) for binding in func.bindings], func.results)


def fresh_names(*funcs: Func) -> Iterator[str]:
    """Return names that none of the Funcs defines, without end."""
    taken = {param.name for func in funcs for param in func.params}
    taken.update(var.name for func in funcs for binding in func.bindings for var in binding.outputs)
    return (name for name in map(str, itertools.count()) if name not in taken)


def fresh_vars(names: Iterator[str], atoms: Sequence[Atom]) -> tuple[Var, ...]:
    """Return new Vars of the types of these atoms."""
    return tuple(Var(next(names), atom.type) for atom in atoms)


def distinct(func: Func) -> list[Func]:
    """Return every Func of a tree once, those inside before those around."""
    found: dict[int, Func] = {}

    def visit(each: Func) -> None:
        for binding in each.bindings:
            for part in parts(binding):
                if id(part) not in found:
                    visit(part)
        found[id(each)] = each

    visit(func)
    return list(found.values())


class Facts(Recursion):
    """What passes ask about Funcs; each answer is worked out once."""

    def __init__(self) -> None:
        """Start with nothing known."""
        super().__init__()
        self._effects: dict[int, tuple[Func, bool]] = {}
        self._sizes: dict[int, tuple[Func, int]] = {}

    def has_effect(self, binding: Binding) -> bool:
        """Tell whether a binding does something beside giving its outputs: it may stop the program.

        What a function as a value does is done where it is applied; that may be a check, or anything.
        """
        if binding.op in (CHECK, APPLY):
            return True
        return binding.op in WITH_PARTS and binding.op != CLOSURE and any(map(self.checks, parts(binding)))

    def checks(self, func: Func) -> bool:
        """Tell whether a call of the Func may stop the program."""
        if id(func) not in self._effects:
            self._effects[id(func)] = (func, any(map(self.has_effect, func.bindings)))
        return self._effects[id(func)][1]

    def size(self, func: Func) -> int:
        """Return the number of bindings, those of branches and loops included, those of callees not."""
        if id(func) not in self._sizes:
            inner = (part for each in func.bindings if each.op != CALL for part in parts(each))
            self._sizes[id(func)] = (func, len(func.bindings) + sum(map(self.size, inner)))
        return self._sizes[id(func)][1]
