"""From a Func to Python source: a `def` for what is called, branches and loops in their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from framework.host import runtime
from framework.host.native.kinds import NotNative
from framework.host.native.loop import HotLoop
from framework.host.native.source import native_source
from framework.host.operators import expression, is_identity
from framework.host.places import ADD, UPDATE, arranged
from framework.host.rules import RULES
from framework.host.structure import Around, Recursion, Target, is_light, last_uses, resolve
from framework.host.writer import Code, Module, spelled
from framework.ir.nodes import Atom, Attr, Binding, Const, Func, Rec
from framework.ir.types import StackType, TensorType, Type

DEEPEST_BLOCK = 12
"""Blocks within blocks before a part becomes a `def`: Python takes 20 loops within loops."""


class Program:
    """The `def`s of a Func: each Func that is called, or made into a value, once per place that it means."""

    def __init__(self) -> None:
        """Start empty."""
        self.module = Module()
        self.recursion = Recursion()
        self.may_nest = False
        self.hot: list[HotLoop] = []
        self._labels: dict[Any, str] = {}
        self._waiting: list[Callable[[], None]] = []

    def write(self, func: Func) -> str:
        """Write a Func and all that it calls; return the label of its `def`."""
        label = self.label(func, {})
        while self._waiting:
            self._waiting.pop()()
        return label

    def label(self, func: Func, around: Around, captured: int | None = None) -> str:
        """Return the name of a Func's `def`, or of what makes it a value with so many captured values."""
        free = sorted(self.recursion.free(func))
        key = (id(func), captured, *((name, around[name].label) for name in free))
        if key not in self._labels:
            label = self._labels[key] = f"f{len(self._labels)}_{spelled(func.name)}"
            self._waiting.append(lambda: self._define(label, func, around, captured))
        return self._labels[key]

    def hot_loop(self, binding: Binding, around: Around) -> str | None:
        """Return the name of a loop that may become machine code, None for one that cannot."""
        try:
            source = native_source(binding)
        except NotNative:
            return None
        loop = HotLoop(f"loop{len(self.hot)}", source)
        self.hot.append(loop)
        self._waiting.append(lambda: self._define_loop(loop.label, binding, around))
        return self.module.name("L", loop.label, loop)

    def _define_loop(self, label: str, binding: Binding, around: Around) -> None:
        """Write a loop that counts its turns down, and gives up at none: see `HotLoop`."""
        writer = Writer(self, Code(binding.op), turns_left="h")
        inputs = [writer.code.fresh("p") for _ in binding.inputs]
        with writer.code.block(f"def {label}({', '.join(['h', *inputs])}):"):
            writer.code.source = binding.source
            outputs = writer.binding(binding, inputs, around)
            writer.code.write("if not h: return None")
            writer.code.write(f"return {', '.join(['h', *outputs])}")
        self.module.add(writer.code)

    def _define(self, label: str, func: Func, around: Around, captured: int | None) -> None:
        recurs = self.recursion.is_recursive(func)
        whole = self.label(func, around) if recurs else label
        self.may_nest |= recurs
        inside = {**around, func.name: Target(func, around, whole)}
        writer = Writer(self, Code(func.name))
        code = writer.code
        params = [code.fresh("p") for _ in func.params]
        if captured is None:
            with code.block(f"def {label}({', '.join(params)}):"):
                writer.returned(func, params, inside, params)
        else:
            own = params[: len(params) - captured]
            with code.block(f"def {label}({', '.join(params[len(own) :])}):"):
                with code.block(f"def {label}_({', '.join(own)}):"):
                    writer.returned(func, params, inside, own)
                code.write(f"return {label}_")
        self.module.add(code)


class Writer:
    """Writes the body of one `def`; values are known by the Python names that they have there."""

    def __init__(self, program: Program, code: Code, turns_left: str = "") -> None:
        """Write to this code; loops in it count down the turns left, if there is a name for them."""
        self.turns_left = turns_left
        self.program = program
        self.module = program.module
        self.code = code
        self.dying: set[str] = set()
        """Values that are dropped after the binding at hand, unless its rule drops them."""
        self.consumed: set[str] = set()
        """Values that nothing reads after the binding at hand."""

    def returned(self, func: Func, params: Sequence[str], around: Around, owned: Sequence[str]) -> None:
        """Write a whole body; `owned` are the parameters that it may drop."""
        results, _ = self.region(func, params, around, set(owned))
        self.code.source = None
        self.code.write(f"return {', '.join(results)}".rstrip())

    def region(
        self, func: Func, args: Sequence[str], around: Around,
        owned: set[str] | None = None, consumed: set[str] | None = None,
    ) -> tuple[list[str], set[str]]:  # fmt: skip
        """Write the bindings of a Func in place; return its results and the names that are its own.

        `consumed` are further names that nothing uses after the Func.
        """
        scope = {param.name: arg for param, arg in zip(func.params, args, strict=True)}
        owned = set() if owned is None else owned
        consumed = set() if consumed is None else consumed
        bindings = arranged(func)
        for binding, ending in zip(bindings, last_uses(bindings, func.results), strict=True):
            inputs = [self.atom(scope, each) for each in binding.inputs]
            self.code.source = binding.source or self.code.source
            ended = {scope[name] for name in ending if name in scope}
            dying = ended & owned
            self.dying = dying
            self.consumed = {name for name in ended & (owned | consumed) if inputs.count(name) == 1}
            outputs = self.binding(binding, inputs, around)
            for var, name in zip(binding.outputs, outputs, strict=True):
                scope[var.name] = name
                if not is_light(var.type):
                    owned.add(name)
            dying |= {scope[name] for name in ending if scope[name] in outputs}
            if binding.op in (ADD, UPDATE):  # what writes to it next is to find that nobody else has it
                spent = sorted(ended & consumed - dying)
                self.code.assign(spent, ["None"] * len(spent))
            self.drop(dying)
            owned -= dying
        return [self.atom(scope, each) for each in func.results], owned

    def atom(self, scope: dict[str, str], atom: Atom) -> str:
        """Return the name of a value."""
        return self.module.constant(atom) if isinstance(atom, Const) else scope[atom.name]

    def drop(self, names: set[str]) -> None:
        """Forget values."""
        if names:
            self.code.write(f"del {', '.join(sorted(names))}")

    def binding(self, binding: Binding, inputs: list[str], around: Around) -> list[str]:
        """Write a binding; return the names of its outputs."""
        rule = RULES.get(binding.op)
        if rule is not None:
            return rule(self, binding, inputs, around)
        if is_identity(binding) and is_light(binding.outputs[0].type):
            return inputs
        return self.define(binding, expression(self.module, binding, inputs))

    def define(self, binding: Binding, value: str) -> list[str]:
        """Write an assignment to the outputs of a binding."""
        outputs = [self.code.fresh() for _ in binding.outputs]
        self.code.write(f"{', '.join(outputs)} = {value}" if outputs else value)
        return outputs

    def part(
        self, attr: Attr, args: Sequence[str], around: Around, consumed: set[str] | None = None
    ) -> tuple[list[str], set[str]]:
        """Write a branch, or a part of a loop: in place if that can be, else as a call."""
        func, inside = resolve(attr, around)
        is_called = isinstance(attr, Rec) or self.program.recursion.is_recursive(func)
        if not is_called and self.code.depth < DEEPEST_BLOCK:
            return self.region(func, args, inside, consumed=consumed)
        results = [self.code.fresh() for _ in func.results]
        call = f"{self.program.label(func, inside)}({', '.join(args)})"
        self.code.write(f"{', '.join(results)} = {call}" if results else call)
        return results, {
            name for name, atom in zip(results, func.results, strict=True) if not is_light(atom.type)
        }

    def hand_over(self, targets: Sequence[str], part: tuple[list[str], set[str]]) -> None:
        """Write the results of a part into variables; the names of its own are dropped."""
        results, owned = part
        self.code.assign(targets, results)
        self.drop(owned & set(results))

    def hot(self, binding: Binding, inputs: list[str], around: Around) -> list[str] | None:
        """Write a call of a loop that may become machine code; return None if that cannot be."""
        name = None if self.turns_left else self.program.hot_loop(binding, around)
        return None if name is None else self.define(binding, f"{name}({', '.join(inputs)})")

    def count_turn(self) -> None:
        """Write that a turn is taken, and that there is none if none is left."""
        if self.turns_left:
            self.code.write(f"if not {self.turns_left}: break")
            self.code.write(f"{self.turns_left} -= 1")

    def leave(self) -> None:
        """Write, behind a loop, that the one around it ends too when no turns are left."""
        if self.turns_left and self.code.depth > 1:
            self.code.write(f"if not {self.turns_left}: break")

    def run_time(self, name: str) -> str:
        """Return the name of a function of the run time."""
        return self.module.name("R", name, getattr(runtime, name))

    def zero(self, type_: Type) -> str:
        """Return the source of the value that stands for zero."""
        if isinstance(type_, TensorType):
            return self.module.constant(runtime.zeros(type_))
        return "[]" if isinstance(type_, StackType) else "None"
