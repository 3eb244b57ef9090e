"""Branches and loops as labels, jumps and copies: the nodes of a Func in one line.

The state of a loop lies in buffers of its own: copies bring the first state there, and the next one at the
end of each turn. A branch copies its results to where those of the `if` lie. What a loop keeps of its turns
goes to a room with a place per turn. What the device cannot do (recursion, functions as values) becomes parts
that the host runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from framework.graph_engine.data.graph import (
    ASSERT,
    CONSTANT,
    GOTO,
    HOST_PART,
    LABEL,
    MEMCPY,
    PICK,
    PUSH,
    SWITCH,
    TURN,
    Node,
    Value,
    free_name,
)
from framework.graph_engine.service.engines import VIEWS
from framework.graph_engine.service.host_parts import with_host_parts
from framework.ir.control import ACCUMULATE, CHECK, CHOOSE, IF, NOTHING, SCAN, WHILE
from framework.ir.nodes import CALL, Atom, Binding, Const, Func, SourceLine, Var
from framework.ir.types import StackType, TensorType, Type, parse_type

Names = tuple[str, ...]
"""Where a value of the IR lies: a tensor in one value of the graph, a stack in its height and its rooms.

All stacks of a loop share the count of its turns as their height.
"""

Join = Callable[[str, str, str], None]
"""Writes the nodes that make a tensor, the last one, of two."""

NOWHERE: Mapping[str, str] = {}

COUNT = TensorType.of(np.zeros((), TURN))


def stored_types(type_: Type, room: int) -> tuple[TensorType, ...]:
    """Return the tensors that a value of the IR lies in; stacks have room for so many turns."""
    if isinstance(type_, TensorType):
        return (type_,)
    assert isinstance(type_, StackType)  # functions are the host's
    inside = (each.with_shape((room, *each.shape)) for each in stored_types(type_.element, room))
    return (COUNT, *inside)


class Straightener:
    """Writes the nodes of a Func, the nodes of its parts among them."""

    def __init__(self, room: int) -> None:
        """Start empty; a loop that keeps values has room for so many turns."""
        self.room = room
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self._constants: dict[Const, str] = {}
        self._labels = 0
        self._root: dict[str, str] = {}
        self._empty: set[str] = set()
        """Rooms without turns, of which nothing has to be copied."""

    def write(self, func: Func) -> list[Names]:
        """Write a whole Func over its parameters; return where its results lie.

        What an `if` chooses as the new value of a parameter lies in the parameter itself: a branch that hands
        the old value on has nothing to do.
        """
        split = with_host_parts(func)
        return self.region(split, [(param.name,) for param in split.params], renewed_by_branches(split))

    def region(self, func: Func, args: Sequence[Names], targets: Mapping[str, str] = NOWHERE) -> list[Names]:
        """Write the bindings of a Func over values; return where its results lie.

        `targets` says where results of an `if` are to lie: {output: value}.
        """
        scope: dict[str, Names] = {p.name: names for p, names in zip(func.params, args, strict=True)}
        for binding in func.bindings:
            inputs = [self._names(scope, atom) for atom in binding.inputs]
            is_branch = binding.op == IF
            outputs = self.branch(binding, inputs, targets) if is_branch else self._binding(binding, inputs)
            scope.update({var.name: names for var, names in zip(binding.outputs, outputs, strict=True)})
        return [self._names(scope, atom) for atom in func.results]

    def _names(self, scope: Mapping[str, Names], atom: Atom) -> Names:
        return scope[atom.name] if isinstance(atom, Var) else (self.constant(atom),)

    def constant(self, atom: Const) -> str:
        """Return the name of a constant, entering it on its first use."""
        if atom not in self._constants:
            self._constants[atom] = name = f"const{len(self._constants)}"
            self.values[name] = Value(name, atom.type, CONSTANT, data=atom.value)
        return self._constants[atom]

    def number(self, value: int) -> str:
        """Return the name of a constant count."""
        return self.constant(Const.of(np.asarray(value, TURN)))

    def define(self, wanted: str, type_: TensorType) -> str:
        """Enter a value under a name that is free."""
        name = free_name(wanted, self.values)
        self.values[name] = Value(name, type_)
        return name

    def defined(self, var: Var) -> Names:
        """Enter the values that a value of the IR lies in."""
        types = stored_types(var.type, self.room)
        parts = [var.name, *(f"{var.name}.part{number}" for number in range(1, len(types)))]
        return tuple(self.define(part, each) for part, each in zip(parts, types, strict=True))

    def node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], attrs: Mapping[str, Any] | None = None,
        source: SourceLine | None = None,
    ) -> None:  # fmt: skip
        """Append a node."""
        name = f"{op}.{len(self.nodes)}"
        self.nodes.append(Node(name, op, tuple(inputs), tuple(outputs), dict(attrs or {}), source=source))
        if op in VIEWS:
            self._root[outputs[0]] = self._root.get(inputs[0], inputs[0])

    def _binding(self, binding: Binding, inputs: list[Names]) -> list[Names]:
        if binding.op in _CONTROL:
            found: list[Names] = _CONTROL[binding.op](self, binding, inputs)
            return found
        outputs = [self.defined(var) for var in binding.outputs]
        flat = [name for names in inputs for name in names]
        made = [name for names in outputs for name in names]
        self.node(binding.op, flat, made, binding.attrs, binding.source)
        return outputs

    def call(self, binding: Binding, inputs: list[Names]) -> list[Names]:
        """Write the body in the place of a call."""
        return self.region(_func(binding, "func"), inputs)

    def host_part(self, binding: Binding, inputs: list[Names]) -> list[Names]:
        """Write a part that the host runs."""
        outputs = [
            self.defined(var) if isinstance(var.type, TensorType) else (f"host.{var.name}",)
            for var in binding.outputs
        ]
        takes, gives = ([name for (name,) in each] for each in (inputs, outputs))
        self.node(HOST_PART, takes, gives, binding.attrs, binding.source)
        return outputs

    def branch(self, binding: Binding, inputs: list[Names], targets: Mapping[str, str]) -> list[Names]:
        """Write both branches, one behind the other, and jump over the one that is not taken."""
        outputs = [
            (targets[var.name],) if var.name in targets else self.defined(var) for var in binding.outputs
        ]
        then, orelse, end = self.labels(3)
        self.node(SWITCH, inputs[0], (), {"labels": (orelse, then)}, binding.source)
        for label, key in ((then, "then"), (orelse, "orelse")):
            self.label(label, f"{key} of {_place(binding)}")
            self.move(self.region(_func(binding, key), inputs[1:]), outputs)
            if label == then:
                self.node(GOTO, (), (), {"labels": (end,)}, binding.source)
        self.label(end, f"end of {_place(binding)}")
        return outputs

    def loop(self, binding: Binding, inputs: list[Names]) -> list[Names]:
        """Write condition and body of a `while`, and jump back."""
        kept = len(inputs) - _number(binding, "invariants")
        outputs = [self.defined(var) for var in binding.outputs]
        state, stacks, fixed = outputs[:kept], outputs[kept:], inputs[kept:]
        self.move(inputs[:kept], state)
        turn = self._counter(self.number(0)) if stacks else ""
        top, body, end = self.labels(3)
        self.label(top, f"turn of {_place(binding)}")
        ((condition,),) = self.region(_func(binding, "cond"), [*state, *fixed])
        self.node(SWITCH, (condition,), (), {"labels": (end, body)}, binding.source)
        self.label(body, f"body of {_place(binding)}")
        results = self.region(_func(binding, "body"), [*state, *fixed])
        self._push(results[kept:], stacks, turn)
        self.move(results[:kept], state)
        self._step(turn, "add")
        self.node(GOTO, (), (), {"labels": (top,)}, binding.source)
        self.label(end, f"end of {_place(binding)}")
        return [*state, *((turn, *rooms) for _, *rooms in stacks)]

    def scan(self, binding: Binding, inputs: list[Names]) -> list[Names]:
        """Write the body of a loop over what another one kept."""
        count, reverse = _number(binding, "stacks"), bool(binding.attrs["reverse"])
        last = len(inputs) - _number(binding, "invariants")
        given, fixed = inputs[:count], inputs[last:]
        outputs = [self.defined(var) for var in binding.outputs]
        state, stacks = outputs[: last - count], outputs[last - count :]
        self.move(inputs[count:last], state)
        turns = self._most([height for height, *_ in given])
        part = _func(binding, "body")
        with self._turns(turns, binding, reverse) as turn:
            taken = zip(given, part.params, strict=False)
            elements = [self._pick(each, var.type, turn) for each, var in taken]
            results = self.region(part, [*elements, *state, *fixed])
            self._push(results[len(state) :], stacks, turn)
            self.move(results[: len(state)], state)
        return [*state, *((turns, *rooms) for _, *rooms in stacks)]

    @contextmanager
    def _turns(self, turns: str, binding: Binding, reverse: bool = False) -> Iterator[str]:
        """Write what stands around the body of a loop over turns: yields the name of the turn."""
        first = self._computed("sub", turns, self.number(1)) if reverse else self.number(0)
        turn = self._counter(first)
        top, body, end = self.labels(3)
        self.label(top, f"turn of {_place(binding)}")
        inside = (turn, self.number(0)) if reverse else (turn, turns)
        condition = self._computed("greater_equal" if reverse else "less", *inside, dtype="bool")
        self.node(SWITCH, (condition,), (), {"labels": (end, body)}, binding.source)
        self.label(body, f"body of {_place(binding)}")
        yield turn
        self._step(turn, "sub" if reverse else "add")
        self.node(GOTO, (), (), {"labels": (top,)}, binding.source)
        self.label(end, f"end of {_place(binding)}")

    def nothing(self, binding: Binding, _: list[Names]) -> list[Names]:
        """Return zeros, or a stack without turns."""
        type_ = parse_type(str(binding.attrs["type"]))
        if isinstance(type_, TensorType):
            return [(self.constant(Const.of(np.zeros(type_.shape, type_.dtype.numpy))),)]
        rooms = self.defined(binding.outputs[0])[1:]
        self._empty.update(rooms)
        return [(self.number(0), *rooms)]

    def accumulate(self, binding: Binding, inputs: list[Names]) -> list[Names]:
        """Write the sum of two cotangents."""

        def add(a: str, b: str, found: str) -> None:
            self.node("add", (a, b), (found,), source=binding.source)

        return [self._joined(binding, binding.outputs[0].type, inputs, add)]

    def choose(self, binding: Binding, inputs: list[Names]) -> list[Names]:
        """Write the first of two values in the lanes of a mask, the second in the others."""
        mask = binding.inputs[0].tensor

        def select(a: str, b: str, found: str) -> None:
            type_ = self.values[found].type
            shape = (*mask.shape, *(1,) * (type_.ndim - mask.ndim))
            wide = self.define("mask", mask.with_shape(shape))
            self.node("reshape", inputs[0], (wide,), {"shape": shape}, binding.source)
            self.node("select", (wide, a, b), (found,), source=binding.source)

        return [self._joined(binding, binding.outputs[0].type, inputs[1:], select)]

    def _joined(self, binding: Binding, type_: Type, both: Sequence[Names], join: Join) -> Names:
        """Join two tensors, or two stacks turn by turn, where an empty one stands for zeros."""
        found = tuple(self.define(binding.op, each) for each in stored_types(type_, self.room))
        if isinstance(type_, TensorType):
            ((a,), (b,)) = both
            join(a, b, found[0])
            return found
        assert isinstance(type_, StackType)  # functions are the host's
        turns = self._most([height for height, *_ in both])
        with self._turns(turns, binding) as turn:
            elements = [self._pick(each, type_.element, turn) for each in both]
            self._push([self._joined(binding, type_.element, elements, join)], [found], turn)
        return (turns, *found[1:])

    def check(self, binding: Binding, inputs: list[Names]) -> list[Names]:
        """Write what stops the stream when a condition does not hold."""
        names = [name for (name,) in inputs]
        self.node(ASSERT, names, (), {"message": binding.attrs["message"]}, binding.source)
        return []

    def labels(self, count: int) -> range:
        """Return numbers for new labels."""
        self._labels += count
        return range(self._labels - count, self._labels)

    def label(self, number: int, place: str) -> None:
        """Append a label."""
        self.node(LABEL, (), (), {"labels": (number,), "place": place})

    def move(self, sources: Sequence[Names], targets: Sequence[Names]) -> None:
        """Copy values to others, all at once: what a copy would overwrite too early is saved before."""
        pairs = [
            (source, target)
            for many, others in zip(sources, targets, strict=True)
            for source, target in zip(many, others, strict=True)
            if self._root.get(source, source) != target and source not in self._empty
        ]
        written = {target for _, target in pairs}
        saved: dict[str, str] = {}
        for source, _ in pairs:
            if self._root.get(source, source) in written and source not in saved:
                saved[source] = self._saved(source)
        for source, target in pairs:
            self.node(MEMCPY, (saved.get(source, source),), (target,))

    def renewals(self, renewed: Mapping[str, str]) -> dict[str, str]:
        """Return which value becomes which variable, given the new value of each variable.

        The old value of another variable that is renewed, too, is saved in a copy, and what becomes several
        variables has one for each but the first.
        """
        changed = {
            variable: value for variable, value in renewed.items() if self._root.get(value, value) != variable
        }
        found: dict[str, str] = {}
        for variable, value in changed.items():
            new = value
            if value in found or self._root.get(value, value) in changed:
                new = self._saved(value)
            found[new] = variable
        return found

    def _saved(self, source: str) -> str:
        saved = self.define(f"{source}.saved", self.values[source].type)
        self.node(MEMCPY, (source,), (saved,))
        return saved

    def _computed(self, op: str, a: str, b: str, dtype: str = COUNT.dtype.name) -> str:
        name = self.define(op, COUNT.with_dtype(dtype))
        self.node(op, (a, b), (name,))
        return name

    def _most(self, heights: Sequence[str]) -> str:
        most = heights[0]
        for height in dict.fromkeys(heights[1:]):
            most = most if height == most else self._computed("maximum", most, height)
        return most

    def _counter(self, first: str) -> str:
        turn = self.define("turn", COUNT)
        self.node(MEMCPY, (first,), (turn,))
        return turn

    def _step(self, turn: str, op: str) -> None:
        if turn:
            self.move([(self._computed(op, turn, self.number(1)),)], [(turn,)])

    def _push(self, values: Sequence[Names], stacks: Sequence[Names], turn: str) -> None:
        for names, (_, *rooms) in zip(values, stacks, strict=True):
            for name, room in zip(names, rooms, strict=True):
                if name not in self._empty:
                    self.node(PUSH, (name, turn), (room,), {"room": self.room})

    def _pick(self, stack: Names, type_: Type, turn: str) -> Names:
        height, *rooms = stack
        found = tuple(self.define("element", each) for each in stored_types(type_, self.room))
        for room, name in zip(rooms, found, strict=True):
            self.node(PICK, (room, turn, height), (name,))
        return found


_CONTROL: dict[str, Any] = {
    CALL: Straightener.call,
    WHILE: Straightener.loop,
    SCAN: Straightener.scan,
    NOTHING: Straightener.nothing,
    ACCUMULATE: Straightener.accumulate,
    CHOOSE: Straightener.choose,
    CHECK: Straightener.check,
    HOST_PART: Straightener.host_part,
}


def renewed_by_branches(func: Func) -> dict[str, str]:
    """Return the outputs of `if`s that are new values of parameters which nothing reads any more."""
    makers = {var: at for at, each in enumerate(func.bindings) if each.op == IF for var in each.outputs}
    root: dict[str, str] = {}
    last: dict[str, int] = {}
    for at, each in enumerate(func.bindings):
        read = [root.get(atom.name, atom.name) for atom in each.inputs if isinstance(atom, Var)]
        last |= dict.fromkeys(read, at)
        if each.op in VIEWS and read:
            root[each.outputs[0].name] = read[0]
    shown = Counter(root.get(atom.name, atom.name) for atom in func.results if isinstance(atom, Var))
    return {
        atom.name: name
        for atom, name in ((func.results[at], name) for at, name in func.updates.items())
        if isinstance(atom, Var)
        and atom in makers
        and last.get(name, -1) <= makers[atom]
        and (shown[atom.name], shown[name]) == (1, 0)
    }


def _func(binding: Binding, key: str) -> Func:
    found: Any = binding.attrs[key]
    assert isinstance(found, Func)  # a Rec is in a host part
    return found


def _number(binding: Binding, key: str) -> int:
    found: Any = binding.attrs[key]
    return int(found)


def _place(binding: Binding) -> str:
    return f"{binding.op} {binding.source}" if binding.source else binding.op
