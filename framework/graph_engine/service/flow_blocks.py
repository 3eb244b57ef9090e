"""Blocks of nodes between jumps: which of them every way to another leads over, and how often they run.

The nodes of a graph stand in one line, in which branches jump forward and loops back. A value that some
copies renew is a new one behind each of them, and where ways meet that bring different ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from framework.graph_engine.data.graph import GOTO, LABEL, SWITCH, Graph, Node

ASSUMED_TURNS = 8
"""How often a loop turns (assumed: nobody knows before it has run); a branch counts as if it is taken."""


class Origin(NamedTuple):
    """Where what is read has come to be: a block, and the first node that can read it there."""

    block: int
    position: int


class Need(NamedTuple):
    """What all that read a value as it came to be in one place can share, if they need it equally often."""

    origin: Origin
    turns: int


NOTHING = Need(Origin(0, 0), 1)
"""What constants need: they are there."""


class Blocks:
    """The blocks of a graph by number, in the order of its nodes."""

    def __init__(self, graph: Graph) -> None:
        """Part the nodes at labels and behind jumps."""
        self.nodes = graph.nodes
        self.begins = list(_begins(graph.nodes))
        self._writes: dict[str, list[int]] = {}
        for position, node in enumerate(graph.nodes):
            for name in node.outputs:
                self._writes.setdefault(name, []).append(position)
        self._between: dict[int, frozenset[int]] = {}

    def at(self, position: int) -> int:
        """Return the block of a node, of the last one for what is read behind all nodes."""
        return bisect_left(self.begins, position + 1) - 1

    def end(self, block: int) -> int:
        """Return where nodes can be put that shall be the last ones of a block: in front of its jump."""
        end = self._behind(block)
        return end - 1 if end > self.begins[block] and self.nodes[end - 1].op in _JUMPS else end

    @cached_property
    def before(self) -> list[list[int]]:
        """The blocks that lead to each block."""
        labels = {
            label: self.at(position)
            for position, node in enumerate(self.nodes)
            for label in (node.labels if node.op == LABEL else ())
        }
        found: list[list[int]] = [[] for _ in self.begins]
        for block in range(len(self.begins)):
            last = self.nodes[self._behind(block) - 1] if self.nodes else None
            targets = [labels[each] for each in last.labels] if last and last.op in _JUMPS else [block + 1]
            for target in targets:
                if target < len(found):
                    found[target].append(block)
        return found

    @cached_property
    def above(self) -> list[int]:
        """The last block before each block that every way leads over; the first one is above itself."""
        found = [0] * len(self.begins)
        known = {0}
        changed = True
        while changed:
            changed = False
            for block in range(1, len(found)):
                before = [each for each in self.before[block] if each in known]
                joint = before[0]
                for each in before[1:]:
                    joint = _joint(found, joint, each)
                changed |= block not in known or found[block] != joint
                known.add(block)
                found[block] = joint
        return found

    @cached_property
    def turns(self) -> list[int]:
        """How often each block runs in a step."""
        found = [1] * len(self.begins)
        for begin, ends in enumerate(self.before):
            last = max(ends, default=-1)
            for block in range(begin, last + 1):  # a jump back: all between turns with it
                found[block] *= ASSUMED_TURNS
        return found

    def origin(self, name: str, position: int) -> Origin:
        """Return where the value has come to be that a node at a position reads under a name."""
        writes, block = self._writes.get(name, []), self.at(position)
        while True:
            newest = bisect_left(writes, position) - 1
            if newest >= 0 and writes[newest] >= self.begins[block]:
                return Origin(block, writes[newest] + 1)
            if block == 0:
                return Origin(0, 0)
            if any(self.at(each) in self._since(block) for each in writes):
                return Origin(block, self.begins[block])
            block = self.above[block]
            position = self._behind(block)

    def need(self, name: str, position: int) -> Need:
        """Return what a node at a position needs that reads something made of a value."""
        origin = self.origin(name, position)
        return Need(origin, self.turns[self.place(origin, [self.at(position)])])

    def place(self, origin: Origin, readers: Iterable[int]) -> int:
        """Return the block in which to compute something of a value once for all that read it in blocks.

        It is above all of them, where it runs least often; of several the last one, so that a branch which is
        not taken costs nothing.
        """
        first, *others = readers
        for each in others:
            first = _joint(self.above, first, each)
        best = block = first
        while block != origin.block:
            block = self.above[block]
            best = block if self.turns[block] < self.turns[best] else best
        return best

    def _behind(self, block: int) -> int:
        return self.begins[block + 1] if block + 1 < len(self.begins) else len(self.nodes)

    def _since(self, block: int) -> frozenset[int]:
        """Return the blocks that can run behind the last run of the one above, and before this one."""
        if block not in self._between:
            waiting, found = list(self.before[block]), set[int]()
            while waiting:
                each = waiting.pop()
                if each != self.above[block] and each not in found:
                    found.add(each)
                    waiting += self.before[each]
            self._between[block] = frozenset(found)
        return self._between[block]


_JUMPS = (GOTO, SWITCH)


def _begins(nodes: Iterable[Node]) -> Iterator[int]:
    yield 0
    is_behind_jump = False
    for position, node in enumerate(nodes):
        if position and (node.op == LABEL or is_behind_jump):
            yield position
        is_behind_jump = node.op in _JUMPS


def _joint(above: list[int], a: int, b: int) -> int:
    """Return the last block that every way to two blocks leads over."""
    while a != b:
        a, b = (above[a], b) if a > b else (a, above[b])
    return a
