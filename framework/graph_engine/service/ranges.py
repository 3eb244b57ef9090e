"""Which numbers the integers of a graph can be: intervals, followed through its jumps.

Model: integers of 64 bits are followed, the elements of a tensor as one; what nothing is known of is any of
them. Envs at labels only grow, and a switch by a comparison tells where it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from framework.graph_engine.data.graph import (
    CONSTANT,
    GOTO,
    INPUT,
    LABEL,
    MEMCPY,
    PICK,
    PUSH,
    SWITCH,
    Graph,
    Node,
)


class Interval(NamedTuple):
    """Integers from `low` to `high`, both among them."""

    low: int
    high: int

    def joined(self, other: Interval) -> Interval:
        """Return the least interval with the integers of both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))

    def is_within(self, other: Interval) -> bool:
        """Tell whether another interval has all integers of this one."""
        return other.low <= self.low and self.high <= other.high


NARROW = Interval(-(1 << 31), (1 << 31) - 1)
WIDE = Interval(-(1 << 63), (1 << 63) - 1)
Known = Mapping[str, Interval]
Rule = Callable[[Interval, Interval], Interval]


def _products(a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in a for y in b]
    return Interval(min(corners), max(corners))


def _remainders(a: Interval, b: Interval) -> Interval:
    return Interval(0, b.high - 1) if b.low > 0 else WIDE


RULES: dict[str, Rule] = {
    "add": lambda a, b: Interval(a.low + b.low, a.high + b.high),
    "sub": lambda a, b: Interval(a.low - b.high, a.high - b.low),
    "mul": _products,
    "minimum": lambda a, b: Interval(min(a.low, b.low), min(a.high, b.high)),
    "maximum": lambda a, b: Interval(max(a.low, b.low), max(a.high, b.high)),
    "mod": _remainders,
}
"""The interval of a result by those of two integers, before it wraps round."""

OPPOSITE = {
    "less": "greater_equal", "less_equal": "greater", "greater": "less_equal", "greater_equal": "less",
    "equal": "not_equal", "not_equal": "equal",
}  # fmt: skip
MIRRORED = {
    "less": "greater", "less_equal": "greater_equal", "greater": "less", "greater_equal": "less_equal",
    "equal": "equal", "not_equal": "not_equal",
}  # fmt: skip


def is_followed(graph: Graph, name: str) -> bool:
    """Tell whether a value is of integers of 64 bits; it may be the room of a loop, and is not the host's."""
    return name in graph.values and graph.values[name].type.dtype.name == "int64"


def ranges(graph: Graph) -> dict[str, Interval]:
    """Return all that each integer is at any time, if those given fit 32 bits.

    before  %i = 0; label L0; label_switch(%i, %n, less); %i = %i + 1; label_goto L0
    after   %n: -2147483648..2147483647, %i: 0..2147483647
    """
    return _Walk(graph).run()


class _Walk:
    """Follows the intervals of a graph until nothing changes; what goes on growing gets wide soon."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.hulls: dict[str, Interval] = {}
        self.at_label: dict[int, dict[str, Interval]] = {}
        self.waiting: list[int] = []
        self.places: dict[int, int] = {
            label: number
            for number, node in enumerate(graph.nodes)
            if node.op == LABEL
            for label in node.labels
        }
        self.heads = {
            label
            for number, node in enumerate(graph.nodes)
            if node.op == GOTO
            for label in node.labels
            if self.places[label] < number
        }
        """Labels that a loop comes back to."""

    def run(self) -> dict[str, Interval]:
        """Follow everything; return what was found."""
        start: dict[str, Interval] = {}
        for name, value in self.graph.values.items():
            if not is_followed(self.graph, name):
                continue
            if value.kind == CONSTANT and value.data is not None and value.data.size:
                start[name] = Interval(int(value.data.min()), int(value.data.max()))
            elif value.kind == INPUT and not value.type.shape:
                start[name] = NARROW
        self.hulls |= start
        self._straight(0, start)
        while self.waiting:
            label = self.waiting.pop()
            self._straight(self.places[label] + 1, dict(self.at_label[label]))
        return self.hulls

    def _straight(self, number: int, known: dict[str, Interval]) -> None:
        """Go on from a node to the next jump."""
        for node in self.graph.nodes[number:]:
            if node.op in (LABEL, GOTO):
                self._arrive(node.labels[0], known)
                return
            if node.op == SWITCH:
                for truth, label in enumerate(node.labels):
                    refined = _refined(node, bool(truth), known)
                    if refined is not None:
                        self._arrive(label, refined)
                return
            self._node(node, known)

    def _node(self, node: Node, known: dict[str, Interval]) -> None:
        for name in node.outputs:
            if is_followed(self.graph, name):
                found = self._result(node, known)
                if node.op == PUSH and name in known:
                    found = found.joined(known[name])
                known[name] = found
                self.hulls[name] = found.joined(self.hulls.get(name, found))

    def _result(self, node: Node, known: Known) -> Interval:
        operands = [known.get(name, WIDE) for name in node.inputs]
        if node.op in (MEMCPY, PUSH):
            return operands[0]
        if node.op == PICK:  # of a room that nothing was put into: zeros
            return known.get(node.inputs[0], Interval(0, 0)).joined(Interval(0, 0))
        rule = RULES.get(node.op)
        found = WIDE if rule is None or len(operands) != 2 else rule(*operands)
        return found if found.is_within(WIDE) else WIDE

    def _arrive(self, label: int, known: dict[str, Interval]) -> None:
        """Join what is known with what was known at a label; go on from there if that is new."""
        before = self.at_label.get(label)
        if before is None:
            self.at_label[label] = dict(known)
        else:
            # What only one way has defined is not read behind the label, or is a room without turns.
            join = _widened if label in self.heads else Interval.joined
            joined = {**before, **{name: join(before.get(name, each), each) for name, each in known.items()}}
            if joined == before:
                return
            self.at_label[label] = joined
        if label not in self.waiting:
            self.waiting.append(label)


def _widened(before: Interval, found: Interval) -> Interval:
    """Return what both have; a bound that has moved goes to the next of few, so that loops settle."""
    joined = before.joined(found)
    limit = NARROW if joined.is_within(NARROW) else WIDE
    low = joined.low if joined.low == before.low else limit.low
    high = joined.high if joined.high == before.high else limit.high
    return Interval(low, high)


def _refined(node: Node, truth: bool, known: dict[str, Interval]) -> dict[str, Interval] | None:
    """Return what is known where a switch goes on; None if it never does."""
    if "compare" not in node.attrs:
        return dict(known)
    compare = str(node.attrs["compare"])
    compare = compare if truth else OPPOSITE[compare]
    a, b = node.inputs
    refined = dict(known)
    for name, other, relation in ((a, b, compare), (b, a, MIRRORED[compare])):
        low, high = known.get(name, WIDE)
        beside = known.get(other, WIDE)
        if relation in ("less", "less_equal", "equal"):
            high = min(high, beside.high - (relation == "less"))
        if relation in ("greater", "greater_equal", "equal"):
            low = max(low, beside.low + (relation == "greater"))
        if low > high:
            return None
        refined[name] = Interval(low, high)
    return refined
