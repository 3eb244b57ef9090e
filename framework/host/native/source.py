"""From a loop of scalars to source that Numba compiles: everything inside of it in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.host.native import scalars
from framework.host.native.kinds import Kind, NotNative
from framework.host.native.saved import Saved, Stack, Value, names, room
from framework.host.writer import Code
from framework.ir.control import ACCUMULATE, CHECK, IF, NOTHING, SCAN, WHILE
from framework.ir.nodes import CALL, Atom, Binding, Const, Func, Rec
from framework.ir.types import parse_type

Array = np.ndarray[Any, Any]

CHECK_FAILED, INTERRUPTED = 1, 2
TURNS_PER_LOOK = 1 << 22
MOST_BINDINGS = 3000
"""A loop with more is left to Python: Numba would compile for minutes."""


@dataclass(frozen=True)
class NativeSource:
    """A function for Numba: its text and signature, and what it is given and gives.

    First it is given the address of what tells interrupts, and those of the loops of `ufuncs`; first it gives
    whether it has failed (1: a check does not hold, 2: the user has interrupted it).
    """

    text: str
    signature: str
    ufuncs: tuple[tuple[str, str], ...]
    inputs: tuple[Kind, ...]
    outputs: tuple[Kind, ...]
    constants: tuple[Array, ...]
    """Tensors that the function is given after its inputs."""
    size: int
    """Operators in the text: a turn has about as many."""


def native_source(binding: Binding) -> NativeSource:
    """Return the source of a loop, or raise NotNative."""
    inputs = tuple(Kind.of(atom.type) for atom in binding.inputs)
    outputs = tuple(Kind.of(var.type) for var in binding.outputs)
    writer = NativeWriter(Code(binding.op))
    args = [writer.fresh(kind) for kind in inputs]
    writer.code.depth = 1
    writer.code.write("failed = ticks = 0")
    results = writer.rules[binding.op](writer, binding, args)
    given = ", ".join(
        ["signals", "loops", *(name for arg in args for name in names(arg)), *writer.constants.values()]
    )
    found = ", ".join(["failed", *(name for result in results for name in names(result))])
    lines = [f"def loop({given}):", *writer.code.lines, f"    return {found}"]
    constants = tuple(writer.constants)
    kinds = [*inputs, *(Kind.of(each.type) for each in constants)]
    types = ", ".join(["int64", "int64[:, ::1]", *(name for kind in kinds for name in kind.signature)])
    arrays = tuple(np.array(each.value) for each in constants)
    return NativeSource(
        "\n".join(lines), f"({types},)", tuple(writer.ufuncs), inputs, outputs, arrays, writer.bindings
    )


class NativeWriter:
    """Writes the body; when `failed` is set, all loops are left."""

    def __init__(self, code: Code) -> None:
        """Write to this code."""
        self.code = code
        self.ufuncs: list[tuple[str, str]] = []
        self.constants: dict[Const, str] = {}
        self.bindings = 0

    def fresh(self, kind: Kind) -> Value:
        """Return a value with new names."""
        if kind.depth == 0:
            return self.code.fresh()
        arrays = tuple(self.code.fresh("a") for _ in range(kind.depth))
        return Stack(arrays, self.code.fresh("b"), self.code.fresh("e"))

    def assign(self, targets: Sequence[Value], values: Sequence[Value]) -> None:
        """Write an assignment of all values at once."""
        to = [name for each in targets for name in names(each)]
        self.code.assign(to, [name for each in values for name in names(each)])

    def region(self, func: Func, args: Sequence[Value]) -> list[Value]:
        """Write the bindings of a Func; return its results."""
        scope: dict[str, Value] = dict(zip((param.name for param in func.params), args, strict=True))
        self.bindings += len(func.bindings)
        if self.bindings > MOST_BINDINGS:
            raise NotNative("too large")
        for binding in func.bindings:
            inputs = [self.value(scope, each) for each in binding.inputs]
            rule = self.rules.get(binding.op, _operator)
            outputs = rule(self, binding, inputs)
            scope.update(zip((var.name for var in binding.outputs), outputs, strict=True))
        return [self.value(scope, each) for each in func.results]

    def value(self, scope: dict[str, Value], atom: Atom) -> Value:
        """Return what an atom is called; tensors that are constants become arguments."""
        if not isinstance(atom, Const):
            return scope[atom.name]
        if not atom.type.shape:
            return scalars.literal(atom)
        Kind.of(atom.type)
        return self.constants.setdefault(atom, self.code.fresh("k"))

    def ufunc(self, op: str, dtype: str, inputs: Sequence[str]) -> str:
        """Return the call of a ufunc's loop."""
        if (op, dtype) not in self.ufuncs:
            self.ufuncs.append((op, dtype))
        at = self.ufuncs.index((op, dtype))
        how = "unary" if len(inputs) == 1 else "binary"
        return f"{how}(loops[{at}, 0], loops[{at}, 1], {', '.join(inputs)})"

    def empty(self, kind: Kind) -> Value:
        """Return zero, or a stack that stands for zeros."""
        if kind.ndim:
            raise NotNative("a tensor that stands for zero")
        if kind.depth == 0:
            return scalars.cast("0", kind.dtype)
        arrays = tuple(self.code.fresh("a") for _ in range(kind.depth))
        for at, array in enumerate(arrays):
            self.code.write(f"{array} = {room(kind, at, '0')}")
        return Stack(arrays, "0", "0")

    def fail(self) -> None:
        """Write that the loop fails: it runs again in Python, which tells how."""
        self.code.write(f"failed = {CHECK_FAILED}")
        self.code.write("break")

    def count_turn(self) -> None:
        """Write that every so many turns the loop looks whether it is interrupted."""
        self.code.write("ticks += 1")
        with self.code.block(f"if ticks & {TURNS_PER_LOOK - 1} == 0 and is_interrupted(signals):"):
            self.code.write(f"failed = {INTERRUPTED}")
            self.code.write("break")

    def leave(self) -> None:
        """Write the way out of the loop around when one in it has failed."""
        if self.code.depth > 1:
            self.code.write("if failed: break")

    rules: dict[str, Callable[[NativeWriter, Binding, list[Value]], list[Value]]] = {}


def _operator(writer: NativeWriter, binding: Binding, inputs: list[Value]) -> list[Value]:
    if binding.op in _OTHER_CONTROL:
        raise NotNative(binding.op)
    if any(Kind.of(each.type).ndim for each in (*binding.inputs, *binding.outputs)):
        raise NotNative("a tensor")
    plain = [each for each in inputs if isinstance(each, str)]
    value = scalars.expression(binding, plain, writer.ufunc)
    output = writer.code.fresh()
    writer.code.write(f"{output} = {value}")
    return [output]


_OTHER_CONTROL = ("closure", "apply", "env", "unenv")


def part(binding: Binding, key: str) -> Func:
    """Return a Func of a binding; one that recurs is left to Python."""
    func = binding.attrs[key]
    if isinstance(func, Rec):
        raise NotNative("recursion")
    assert isinstance(func, Func)
    return func


def _index(writer: NativeWriter, binding: Binding, inputs: list[Value]) -> list[Value]:
    """Write the choice of one element of a tensor; a place outside of an axis fails."""
    x, *given = (each for each in inputs if isinstance(each, str))
    lengths, spec = binding.inputs[0].tensor.shape, binding.attrs["spec"]
    places: list[str] = []
    if not isinstance(spec, tuple) or len(spec) != len(lengths) or binding.outputs[0].tensor.shape:
        raise NotNative("a part of a tensor")
    for item, length in zip(spec, lengths, strict=True):
        if isinstance(item, int):
            places.append(str(item))
        elif isinstance(item, tuple) and item[0] == "at" and isinstance(item[1], int):
            place = _written(writer, given[item[1]])
            with writer.code.block(f"if not {-length} <= {place} < {length}:"):
                writer.fail()
            places.append(f"{place} % {length}")
        else:
            raise NotNative("a part of a tensor")
    return [_written(writer, f"{x}[{', '.join(places)}]")]


def _call(writer: NativeWriter, binding: Binding, inputs: list[Value]) -> list[Value]:
    return writer.region(part(binding, "func"), inputs)


def _if(writer: NativeWriter, binding: Binding, inputs: list[Value]) -> list[Value]:
    outputs = [writer.fresh(Kind.of(var.type)) for var in binding.outputs]
    for head, key in ((f"if {inputs[0]}:", "then"), ("else:", "orelse")):
        with writer.code.block(head):
            writer.assign(outputs, writer.region(part(binding, key), inputs[1:]))
    return outputs


def _check(writer: NativeWriter, _: Binding, inputs: list[Value]) -> list[Value]:
    with writer.code.block(f"if not {inputs[0]}:"):
        writer.fail()
    return []


def _nothing(writer: NativeWriter, binding: Binding, _: list[Value]) -> list[Value]:
    return [writer.empty(Kind.of(parse_type(str(binding.attrs["type"]))))]


def _accumulate(writer: NativeWriter, binding: Binding, inputs: list[Value]) -> list[Value]:
    kind, (a, b) = Kind.of(binding.outputs[0].type), inputs
    if kind.ndim:
        raise NotNative("a sum of tensors")
    if isinstance(a, str):
        return [_written(writer, f"{a} + {b}")]
    if kind.depth > 1 or isinstance(b, str):
        raise NotNative("sum of stacks of stacks")
    total = Stack((writer.code.fresh("a"),), writer.code.fresh("b"), writer.code.fresh("e"))
    with writer.code.block(f"if {a.stop} == {a.start}:"):
        writer.assign([total], [b])
    with writer.code.block(f"elif {b.stop} == {b.start}:"):
        writer.assign([total], [a])
    with writer.code.block("else:"):
        added = f"summed({a.arrays[0]}, {a.start}, {a.stop}, {b.arrays[0]}, {b.start})"
        writer.assign([total], [Stack((added,), "0", f"{a.stop} - {a.start}")])
    return [total]


def _written(writer: NativeWriter, value: str) -> str:
    name = writer.code.fresh()
    writer.code.write(f"{name} = {value}")
    return name


def number(binding: Binding, key: str) -> int:
    """Return an attribute that is a number."""
    value: Any = binding.attrs[key]
    return int(value)


def _while(writer: NativeWriter, binding: Binding, inputs: list[Value]) -> list[Value]:
    state, invariants = _loop_start(writer, binding, inputs)
    turn = _written(writer, "0")
    saved = [Saved(writer.code, Kind.of(var.type), None) for var in binding.outputs[len(state) :]]
    with writer.code.block("while True:"):
        condition = writer.region(part(binding, "cond"), [*state, *invariants])[0]
        writer.code.write(f"if not {condition}: break")
        writer.count_turn()
        results = writer.region(part(binding, "body"), [*state, *invariants])
        _turn(writer, results, state, saved, turn)
        writer.code.write(f"{turn} += 1")
    writer.leave()
    return [*state, *(each.stack(turn) for each in saved)]


def _scan(writer: NativeWriter, binding: Binding, inputs: list[Value]) -> list[Value]:
    count = number(binding, "stacks")
    stacks = [each for each in inputs[:count] if isinstance(each, Stack)]
    state, invariants = _loop_start(writer, binding, inputs[count:])
    lengths = ", ".join(f"{each.stop} - {each.start}" for each in stacks)
    turns = _written(writer, lengths if count == 1 else f"max({lengths})")
    saved = [Saved(writer.code, Kind.of(var.type), turns) for var in binding.outputs[len(state) :]]
    turn = writer.code.fresh()
    over = f"range({turns} - 1, -1, -1)" if binding.attrs["reverse"] else f"range({turns})"
    with writer.code.block(f"for {turn} in {over}:"):
        writer.count_turn()
        kinds = [Kind.of(atom.type).element for atom in binding.inputs[:count]]
        elements = [
            _element(writer, kind, stack, turn, count > 1) for kind, stack in zip(kinds, stacks, strict=True)
        ]
        results = writer.region(part(binding, "body"), [*elements, *state, *invariants])
        _turn(writer, results, state, saved, turn)
    writer.leave()
    return [*state, *(each.stack(turns) for each in saved)]


def _loop_start(
    writer: NativeWriter, binding: Binding, inputs: list[Value]
) -> tuple[list[Value], list[Value]]:
    """Write the first state into variables of the loop; return them and the invariants."""
    kept = len(inputs) - number(binding, "invariants")
    state = [writer.fresh(Kind.of(var.type)) for var in binding.outputs[:kept]]
    writer.assign(state, inputs[:kept])
    return state, inputs[kept:]


def _turn(
    writer: NativeWriter, results: list[Value], state: list[Value], saved: list[Saved], turn: str
) -> None:
    """Write the end of a turn: save, and let the next state be the state."""
    for each, value in zip(saved, results[len(state) :], strict=True):
        each.save(value, turn)
    writer.assign(state, results[: len(state)])


def _element(writer: NativeWriter, kind: Kind, stack: Stack, turn: str, may_be_empty: bool) -> Value:
    """Write what lies in a stack at the place of a turn; zero if it is empty beside others."""
    at = f"{stack.start} + {turn}"
    has = f" if {stack.stop} > {stack.start} else " if may_be_empty else ""
    if kind.depth == 0:
        zero = scalars.cast("0", kind.dtype) if may_be_empty else ""
        return _written(writer, f"{stack.arrays[0]}[{at}]{has}{zero}")
    ends = [f"{stack.arrays[-1]}[{at}, {side}]{has}{'0' if may_be_empty else ''}" for side in (0, 1)]
    return Stack(stack.arrays[:-1], _written(writer, ends[0]), _written(writer, ends[1]))


NativeWriter.rules.update(
    {
        CALL: _call,
        IF: _if,
        WHILE: _while,
        SCAN: _scan,
        CHECK: _check,
        "index": _index,
        NOTHING: _nothing,
        ACCUMULATE: _accumulate,
    }
)
