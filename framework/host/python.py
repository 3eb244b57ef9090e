"""From a Func to Python source: a `def` for what is called, branches and loops in their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from framework.host import runtime
from framework.host.native.kinds import NotNative
from framework.host.native.loop import HotLoop
from framework.host.native.source import native_source
from framework.host.operators import evaluator_name, expression, is_identity
from framework.host.places import ADD, UPDATE, arranged, is_zero
from framework.host.structure import Around, Recursion, Target, is_light, last_uses, resolve
from framework.host.writer import Code, Module, spelled
from framework.ir.control import (
    ACCUMULATE,
    APPLY,
    CHECK,
    CLOSURE,
    ENV,
    IF,
    NOTHING,
    SCAN,
    UNENV,
    WHILE,
)  # fmt: skip
from framework.ir.nodes import CALL, Atom, Attr, Binding, Const, Func, Rec
from framework.ir.types import StackType, TensorType, Type, parse_type

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
        self.consumed: set[str] = set()
        self.zeros: set[str] = set()

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
        zeros = {name for name, arg in scope.items() if arg in self.zeros}
        bindings = arranged(func, zeros)
        for binding, ending in zip(bindings, last_uses(bindings, func.results), strict=True):
            inputs = [self.atom(scope, each) for each in binding.inputs]
            self.code.source = binding.source or self.code.source
            ended = {scope[name] for name in ending if name in scope}
            dying = ended & owned
            self.dying = dying
            self.consumed = {name for name in ended & (owned | consumed) if inputs.count(name) == 1}
            outputs = self.binding(binding, inputs, around)
            if is_zero(binding, zeros):
                zeros.add(binding.outputs[0].name)
                self.zeros.add(outputs[0])
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
        rule = _RULES.get(binding.op)
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


def _call(self: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    label = self.program.label(*resolve(binding.attrs["func"], around))
    return self.define(binding, f"{label}({', '.join(inputs)})")


def _if(self: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    outputs, consumed = [self.code.fresh() for _ in binding.outputs], self.consumed
    for head, key in ((f"if {inputs[0]}:", "then"), ("else:", "orelse")):
        with self.code.block(head):
            self.hand_over(outputs, self.part(binding.attrs[key], inputs[1:], around, consumed))
    return outputs


def _while(self: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    found = self.hot(binding, inputs, around)
    if found is not None:
        return found
    state, invariants = _loop_start(self, binding, inputs)
    stacks = _empty_stacks(self, binding)
    with self.code.block("while True:"):
        (condition,), _ = self.part(binding.attrs["cond"], [*state, *invariants], around)
        self.code.write(f"if not {condition}: break")
        self.count_turn()
        part = self.part(binding.attrs["body"], [*state, *invariants], around, set(state))
        _turn(self, part, state, stacks)
    self.leave()
    return [*state, *stacks]


def _scan(self: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    found = self.hot(binding, inputs, around)
    if found is not None:
        return found
    count = _number(binding, "stacks")
    given, rest = inputs[:count], inputs[count:]
    elements = [self.code.fresh("e") for _ in given]
    sources = _aligned(self, binding, given)
    state, invariants = _loop_start(self, binding, rest)
    stacks = _empty_stacks(self, binding)
    if binding.attrs["reverse"]:
        sources = [f"reversed({each})" for each in sources]
    over = sources[0] if count == 1 else f"zip({', '.join(sources)})"
    with self.code.block(f"for {', '.join(elements)} in {over}:"):
        self.count_turn()
        part = self.part(binding.attrs["body"], [*elements, *state, *invariants], around, set(state))
        _turn(self, part, state, stacks)
    if binding.attrs["reverse"]:
        for stack in stacks:
            self.code.write(f"{stack}.reverse()")
    self.leave()
    return [*state, *stacks]


def _aligned(self: Writer, binding: Binding, given: list[str]) -> list[str]:
    """Return stacks of one length: an empty one beside others stands for zeros."""
    if len(given) == 1:
        return given
    types: list[Any] = [atom.type for atom in binding.inputs[: len(given)]]
    zeros = ", ".join(self.zero(each.element) for each in types)
    aligned = [self.code.fresh() for _ in given]
    call = f"{self.run_time('aligned')}(({', '.join(given)}), ({zeros}))"
    self.code.write(f"{', '.join(aligned)} = {call}")
    return aligned


def _number(binding: Binding, key: str) -> int:
    value = binding.attrs[key]
    assert isinstance(value, int)
    return value


def _loop_start(self: Writer, binding: Binding, inputs: list[str]) -> tuple[list[str], list[str]]:
    """Write the first state into variables of the loop; return them and the invariants."""
    kept = len(inputs) - _number(binding, "invariants")
    invariants = inputs[kept:]
    state = [self.code.fresh("s") for _ in inputs[:kept]]
    self.code.assign(state, inputs[:kept])
    ending = self.dying & set(inputs[:kept]) - set(invariants)
    self.drop(ending)
    self.dying -= ending
    return state, invariants


def _empty_stacks(self: Writer, binding: Binding) -> list[str]:
    stacks = [self.code.fresh("t") for _ in range(_number(binding, "saves"))]
    for stack in stacks:
        self.code.write(f"{stack} = []")
    return stacks


def _turn(self: Writer, part: tuple[list[str], set[str]], state: list[str], stacks: list[str]) -> None:
    """Write the end of a turn: push what is saved, and let the next state be the state."""
    results, owned = part
    for stack, value in zip(stacks, results[len(state) :], strict=True):
        self.code.write(f"{stack}.append({value})")
    self.code.assign(state, results[: len(state)])
    self.drop(owned & set(results))


def _closure(self: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    label = self.program.label(*resolve(binding.attrs["func"], around), captured=len(inputs))
    return self.define(binding, f"{label}({', '.join(inputs)})")


def _apply(self: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    self.program.may_nest = True
    return self.define(binding, f"{inputs[0]}({', '.join(inputs[1:])})")


def _env(self: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    return self.define(binding, f"({', '.join(inputs)}{',' if inputs else ''})")


def _unenv(self: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    types: Any = binding.attrs["types"]
    zeros = ", ".join(self.zero(parse_type(each)) for each in types)
    if not types:
        return []
    outputs = [self.code.fresh() for _ in types]
    self.code.write(f"{', '.join(outputs)}, = ({zeros},) if {inputs[0]} is None else {inputs[0]}")
    return outputs


def _nothing(self: Writer, binding: Binding, _: list[str], __: Around) -> list[str]:
    return self.define(binding, self.zero(parse_type(str(binding.attrs["type"]))))


def _accumulate(self: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    if isinstance(binding.inputs[0].type, TensorType):
        return self.define(binding, f"{inputs[0]} + {inputs[1]}")
    return self.define(binding, f"{self.run_time('accumulated')}({inputs[0]}, {inputs[1]})")


def _index(self: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    key = _key(binding, inputs[1:])
    if key is None or not key:
        return self.define(binding, expression(self.module, binding, inputs))
    return self.define(binding, f"{self.run_time('chosen')}({_place(self, binding, key, inputs, 1)})")


def _write(self: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    key = _key(binding, inputs[2:])
    if key is None or inputs[0] not in self.consumed:
        return self.define(binding, expression(self.module, binding, inputs))
    how = self.run_time("index_added" if binding.op == "index_add" else "index_updated")
    return self.define(binding, f"{how}({_place(self, binding, key, inputs, 2)})")


def _key(binding: Binding, indices: Sequence[str]) -> list[str] | None:
    """Return the items of an index of whole numbers, `slice` for whole axes behind them; None for others."""
    spec: Any = binding.attrs["spec"]
    at = len(binding.inputs) - len(indices)
    if any(atom.tensor.shape for atom in binding.inputs[at:]):
        return None
    key = []
    for item in spec:
        if isinstance(item, int):
            key.append(str(item))
        elif isinstance(item, tuple) and item[0] == "at":
            key.append(indices[item[1]])
        elif item == ("slice", None, None, None):
            key.append("slice")
        else:
            return None
    return None if "slice" in key[: -key.count("slice") or None] else key


def _place(self: Writer, binding: Binding, key: list[str], inputs: list[str], values: int) -> str:
    """Return the arguments of what reads or writes a part: how to do it with care, values, place, indices."""
    items = [item for item in key if item != "slice"]
    careful = evaluator_name(self.module, binding)
    indices = inputs[values:]
    place = items[0] if len(items) == 1 else f"({', '.join(items)})"
    return ", ".join([careful, *inputs[:values], place, *indices])


def _check(self: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    what = self.module.name("C", id(binding), binding)
    self.code.write(f"if not {inputs[0]}: raise {self.run_time('failed')}({', '.join([what, *inputs[1:]])})")
    return []


_RULES: dict[str, Callable[[Writer, Binding, list[str], Around], list[str]]] = {
    CALL: _call,
    IF: _if,
    WHILE: _while,
    SCAN: _scan,
    CLOSURE: _closure,
    APPLY: _apply,
    ENV: _env,
    UNENV: _unenv,
    NOTHING: _nothing,
    ACCUMULATE: _accumulate,
    CHECK: _check,
    "index": _index,
    "index_add": _write,
    "index_update": _write,
}
