"""A Func to look into: who makes a value, who reads it, and what lies on the way to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from davinci_sim.errors import InternalError
from framework.ir.nodes import Atom, Attrs, Binding, Func, Var
from framework.ir.registry import OPERATORS, operator
from framework.passes.walk import fresh_names

WITHIN = 8
"""How many bindings above its last one a formula is looked for."""


class View:
    """The bindings of a Func by what they make."""

    def __init__(self, func: Func) -> None:
        """Look up who makes and who reads every value."""
        self.func = func
        self.makers: dict[str, Binding] = {}
        self.places: dict[str, int] = {}
        self.readers: dict[str, list[Binding]] = {}
        for place, binding in enumerate(func.bindings):
            for var in binding.outputs:
                self.makers[var.name], self.places[var.name] = binding, place
            for name in {atom.name for atom in binding.inputs if isinstance(atom, Var)}:
                self.readers.setdefault(name, []).append(binding)
        self.results = {atom.name for atom in func.results if isinstance(atom, Var)}

    @cached_property
    def _fresh(self) -> Iterator[str]:
        return fresh_names(self.func)

    def maker(self, atom: Atom, *ops: str) -> Binding | None:
        """Return the binding that makes a value, if it is of one of these ops."""
        found = self.makers.get(atom.name) if isinstance(atom, Var) else None
        return found if found is not None and (not ops or found.op in ops) else None

    def above(self, atom: Atom, op: str = "") -> list[Binding]:
        """Return the bindings of an op that a value is computed from, the nearest first."""
        found: dict[int, Binding] = {}
        level: list[Atom] = [atom]
        for _ in range(WITHIN):
            makers = [each for each in map(self.maker, level) if each is not None]
            level = []
            for each in makers:
                if id(each) not in found:
                    found[id(each)] = each
                    level += each.inputs
        return [each for each in found.values() if not op or each.op == op]

    def values_above(self, atom: Atom) -> list[Atom]:
        """Return a value and those that it is computed from, once each, the nearest first."""
        return list(dict.fromkeys([atom, *(each for b in self.above(atom) for each in b.inputs)]))

    def between(self, ends: Collection[Atom], starts: Collection[Atom]) -> list[Binding]:
        """Return the bindings on the ways from some values to others."""
        found: dict[int, Binding] = {}
        waiting = list(ends)
        while waiting:
            atom = waiting.pop()
            maker = None if atom in starts else self.maker(atom)
            if maker is not None and id(maker) not in found:
                found[id(maker)] = maker
                waiting += maker.inputs
        return list(found.values())

    def is_read_outside(self, binding: Binding, inside: Collection[int]) -> bool:
        """Tell whether a value of a binding is a result, or read by a binding whose id is not inside."""
        return any(
            var.name in self.results or any(id(each) not in inside for each in self.readers.get(var.name, ()))
            for var in binding.outputs
        )

    def make(
        self, op: str, inputs: Sequence[Atom], attrs: Attrs, outputs: Sequence[Atom | None] = ()
    ) -> Binding | None:
        """Return a binding whose first outputs are these values, None where their types are others."""
        if op not in OPERATORS:
            raise InternalError(f"a composition makes {op!r}, which is no operator")
        types = operator(op).infer_types([atom.tensor for atom in inputs], attrs)
        given = [*outputs, *[None] * (len(types) - len(outputs))]
        found: list[Var] = []
        for var, type_ in zip(given, types, strict=True):
            if var is not None and (not isinstance(var, Var) or var.type != type_):
                return None
            found.append(var if isinstance(var, Var) else Var(next(self._fresh), type_))
        return Binding(tuple(found), op, tuple(inputs), attrs)
