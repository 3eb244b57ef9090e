"""The pass that drops what no result needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from framework.ir.control import CLOSURE, IF, SCAN, WHILE
from framework.ir.nodes import CALL, Attr, Binding, Func, Rec, Var
from framework.passes.spare_stacks import full_stacks
from framework.passes.walk import WITH_PARTS, Facts, brings_rule, parts

Mask = tuple[bool, ...]


def dead_code(func: Func) -> Func:
    """Drop what nothing uses: bindings, results and operands of calls, branches and loops, state of loops.

    before  %0 = mul(%x, %x); %1 = exp(%x); return %0
    after   %0 = mul(%x, %x); return %0

    before  @f(%a, %b) { %c = exp(%b); return %a, %c }   %0, %1 = call @f(%x, %y); return %0
    after   @f(%a) { return %a }                         %0 = call @f(%x); return %0

    What checks something, at whatever depth, stays. A Func of whose results different ones are needed at
    different places becomes as many Funcs.
    """
    everything = (True,) * len(func.results), (True,) * len(func.params)
    return _Sweep().trimmed(func, *everything, {func.name: _Callee(func.name, *map(list, everything))})


@dataclass
class _Callee:
    """Which results of a recursive Func are needed, and which parameters it uses for them."""

    name: str
    wanted: list[bool]
    used: list[bool]


Around = Mapping[str, _Callee]


class _Plan(NamedTuple):
    """Which outputs of a binding stay, and which inputs they need."""

    outputs: Mask
    inputs: Mask


class _Sweep:
    """Walks Funcs backwards: once to see what they use, once more to leave the rest out."""

    def __init__(self) -> None:
        self.facts = Facts()
        self._used: dict[tuple[int, Mask], tuple[Func, Mask]] = {}
        self._callees: dict[tuple[int, Mask], tuple[Func, _Callee]] = {}
        self._trimmed: dict[tuple[int, Mask, Mask], tuple[Func, Func]] = {}

    def trimmed(self, func: Func, wanted: Mask, kept: Mask, around: Around) -> Func:
        """Return the Func with these results and parameters only."""
        key = (id(func), wanted, kept)
        if key not in self._trimmed:
            new = self._trim(func, wanted, kept, around)
            if self.facts.free(func):
                return new
            self._trimmed[key] = (func, new)
        return self._trimmed[key][1]

    def _trim(self, func: Func, wanted: Mask, kept: Mask, around: Around) -> Func:
        bindings: list[Binding] = []
        self._needed(func, wanted, around, bindings)
        bindings.reverse()
        same = len(bindings) == len(func.bindings) and all(map(_is, bindings, func.bindings))
        if same and all(wanted) and all(kept):
            return func
        places = [at for at, is_wanted in enumerate(wanted) if is_wanted]
        updates = {at: func.updates[place] for at, place in enumerate(places) if place in func.updates}
        results = tuple(func.results[place] for place in places)
        return Func(func.name, masked(func.params, kept), tuple(bindings), results, updates)

    def _needed(
        self, func: Func, wanted: Mask, around: Around, kept: list[Binding] | None = None
    ) -> set[str]:
        """Return the names of the values that are needed; append what stays, from the last, to `kept`."""
        needed = {atom.name for atom in masked(func.results, wanted) if isinstance(atom, Var)}
        full: set[str] | None = None
        for binding in reversed(func.bindings):
            if not self._stays(binding, needed):
                continue
            if binding.op in WITH_PARTS:
                if binding.op == SCAN and full is None:
                    full = full_stacks(func)
                plan = self._plan(binding, needed, around, full or set())
                inputs = masked(binding.inputs, plan.inputs)
                if kept is not None:
                    kept.append(self._restricted(binding, plan, around))
            else:
                inputs = binding.inputs
                if kept is not None:
                    kept.append(binding)
            for atom in inputs:
                if isinstance(atom, Var):
                    needed.add(atom.name)
        return needed

    def _stays(self, binding: Binding, needed: set[str]) -> bool:
        for var in binding.outputs:
            if var.name in needed:
                return True
        return self.facts.has_effect(binding)

    def _uses(self, func: Func, wanted: Mask, around: Around) -> Mask:
        """Return which parameters a Func uses for these results."""
        key = (id(func), wanted)
        if key not in self._used:
            needed = self._needed(func, wanted, around)
            used = tuple(param.name in needed for param in func.params)
            if self.facts.mentions(func):
                return used
            self._used[key] = (func, used)
        return self._used[key][1]

    def _plan(self, binding: Binding, needed: set[str], around: Around, full: set[str]) -> _Plan:
        outputs = tuple(var.name in needed for var in binding.outputs)
        if binding.op == CALL and not brings_rule(binding):
            callee = self._callee(binding, outputs, around)
            return _Plan(tuple(callee.wanted), tuple(callee.used))
        if self._is_fixed(binding, around):
            return _Plan((True,) * len(outputs), (True,) * len(binding.inputs))
        attrs: Any = binding.attrs
        if binding.op == IF:
            uses = [self._uses(attrs[key], outputs, around) for key in ("then", "orelse")]
            return _Plan(outputs, (True, *map(any, zip(*uses, strict=True))))
        if binding.op == CLOSURE:
            func = attrs["func"]
            used = self._uses(func, (True,) * len(func.results), around)
            return _Plan(outputs, used[len(func.params) - len(binding.inputs) :])
        return self._loop(binding, outputs, around, full)

    def _loop(self, binding: Binding, outputs: Mask, around: Around, full: set[str]) -> _Plan:
        """Return the plan of a loop: state is needed that is used after it, or for such state in it."""
        attrs: Any = binding.attrs
        first, kept = attrs.get("stacks", 0), len(outputs) - attrs["saves"]
        while True:
            used = self._uses(attrs["body"], outputs, around)
            if binding.op == WHILE:
                used = tuple(map(any, zip(used, self._uses(attrs["cond"], (True,), around), strict=True)))
            state = tuple(map(any, zip(outputs[:kept], used[first : first + kept], strict=True)))
            if state == outputs[:kept]:
                break
            outputs = (*state, *outputs[kept:])
        stacks = _kept_stacks(
            [atom.name in full for atom in binding.inputs[:first] if isinstance(atom, Var)], used
        )
        return _Plan(outputs, (*stacks, *state, *used[first + kept :]))

    def _callee(self, call: Binding, outputs: Mask, around: Around) -> _Callee:
        """Return what is needed of a Func that is called, by this call and by those inside of it."""
        func: Any = call.attrs["func"]
        if isinstance(func, Rec):
            if func.name not in around:  # the Func that it means is not at hand
                return _Callee(func.name, [True] * len(outputs), [True] * len(call.inputs))
            callee = around[func.name]
            callee.wanted = list(map(any, zip(callee.wanted, outputs, strict=True)))
            return callee
        if not self.facts.is_recursive(func):
            return _Callee(func.name, list(outputs), list(self._uses(func, outputs, around)))
        key = (id(func), outputs)
        if key not in self._callees:
            callee = _Callee(func.name, list(outputs), [False] * len(func.params))
            before = None
            while before != (callee.wanted, callee.used):
                before = (callee.wanted, callee.used)
                used = self._uses(func, tuple(callee.wanted), {**around, func.name: callee})
                callee.used = list(map(any, zip(callee.used, used, strict=True)))
            if self.facts.free(func):
                return callee
            self._callees[key] = (func, callee)
        return self._callees[key][1]

    def _is_fixed(self, binding: Binding, around: Around) -> bool:
        """Tell whether a part is the value of a Func around, or calls itself: then all of it stays."""
        values = binding.attrs.values()
        for each in values:
            if isinstance(each, Rec) and each.name in around:
                around[each.name].wanted = [True] * len(around[each.name].wanted)
                around[each.name].used = [True] * len(around[each.name].used)
        if brings_rule(binding) or any(isinstance(each, Rec) for each in values):
            return True
        return any(map(self.facts.is_recursive, parts(binding)))

    def _restricted(self, binding: Binding, plan: _Plan, around: Around) -> Binding:
        """Return the binding with the outputs and inputs of the plan, and parts that fit them."""
        attrs: dict[str, Any] = dict(binding.attrs)
        for key, func in binding.attrs.items():
            if isinstance(func, Func):
                attrs[key] = self._part(binding, key, func, plan, around)
        if binding.op in (WHILE, SCAN):
            first, kept = attrs.get("stacks", 0), len(plan.outputs) - attrs["saves"]
            attrs["saves"] = sum(plan.outputs[kept:])
            attrs["invariants"] = sum(plan.inputs[first + kept :])
            if binding.op == SCAN:
                attrs["stacks"] = sum(plan.inputs[:first])
        if (
            all(plan.outputs)
            and all(plan.inputs)
            and all(attrs[key] is old for key, old in binding.attrs.items())
        ):
            return binding
        outputs, inputs = masked(binding.outputs, plan.outputs), masked(binding.inputs, plan.inputs)
        return Binding(outputs, binding.op, inputs, attrs, binding.source)

    def _part(self, binding: Binding, key: str, func: Func, plan: _Plan, around: Around) -> Attr:
        everything = (True,) * len(func.results)
        if self.facts.is_recursive(func):
            callee = _Callee(func.name, list(plan.outputs), list(plan.inputs))
            if binding.op != CALL or brings_rule(binding):
                callee = _Callee(func.name, list(everything), [True] * len(func.params))
            inside = {**around, func.name: callee}
            return self.trimmed(func, tuple(callee.wanted), tuple(callee.used), inside)
        if brings_rule(binding):
            return self.trimmed(func, everything, (True,) * len(func.params), around)
        if binding.op == IF:
            return self.trimmed(func, plan.outputs, plan.inputs[1:], around)
        if binding.op == CLOSURE:
            free = len(func.params) - len(plan.inputs)
            return self.trimmed(func, everything, (True,) * free + plan.inputs, around)
        return self.trimmed(func, everything if key == "cond" else plan.outputs, plan.inputs, around)


def masked(values: tuple[Any, ...], mask: Mask) -> tuple[Any, ...]:
    """Return the values at the places that are true."""
    return (
        values if all(mask) else tuple(value for value, is_kept in zip(values, mask, strict=True) if is_kept)
    )


def _is(a: object, b: object) -> bool:
    return a is b


def _kept_stacks(full: list[bool], used: Mask) -> Mask:
    """Return which stacks of a scan stay: those used, and one that tells how many turns there are."""
    kept = list(used[: len(full)])
    if any(full):
        kept[full.index(True)] |= not any(
            is_kept and is_full for is_kept, is_full in zip(kept, full, strict=True)
        )
        return tuple(kept)
    return (True,) * len(full)
