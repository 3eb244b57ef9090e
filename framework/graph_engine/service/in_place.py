"""Which new values are written over what they replace, so that no copy brings them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from framework.graph_engine.data.graph import CONSTANT, FLOW, INPUT, INTERMEDIATE, MEMCPY, VIEW, Graph, Node
from framework.graph_engine.data.operators import shares


def homes_of(graph: Graph) -> dict[str, str]:
    """Return in whose memory each value lies: most in their own, views and parts in that of others.

    Where in it is the offset of a value.

    before  %v = apply_sgd(%w, %g, %rate); %w = memcpy(%v)
    after   the same, with %v in the memory of %w: the copy is one onto itself, which is no task

    A new value of a variable lies in that of the variable, what a branch or a turn of a loop hands on in that
    of what it hands on to, and any other in that of a value that is read for the last time. Its kernel must
    be element-wise, and the last to read what it writes over.
    """
    overwriting = _Overwriting(graph)
    replaced = overwriting.copies() | overwriting.updates()
    homes = {name: replaced.get(name, value.whole or name) for name, value in graph.values.items()}
    dying = overwriting.dying(replaced)
    for node in graph.nodes:
        if node.engine == VIEW:
            homes[node.outputs[0]] = homes[node.inputs[0]]
        for value in node.outputs:
            if value in dying:
                homes[value] = homes[dying[value]]
    return homes


class _Overwriting:
    """Who makes and who reads each value, by the positions of nodes; views count as what they look at."""

    def __init__(self, graph: Graph) -> None:
        """Look at every node once."""
        self.graph = graph
        self.root = {name: value.whole for name, value in graph.values.items() if value.whole}
        self.inside: dict[str, set[str]] = {}
        """What is looked at -> what lies in it."""
        self.makers: dict[str, list[int]] = {}
        self.readers: dict[str, list[int]] = {}
        self.breaks = [0]
        for at, node in enumerate(graph.nodes):
            stops = node.op in FLOW and node.op != MEMCPY
            self.breaks.append(self.breaks[-1] + stops)
            if node.engine == VIEW:
                self.root[node.outputs[0]] = self.at(node.inputs[0])
                continue
            for name in node.inputs:
                self.readers.setdefault(self.at(name), []).append(at)
            for name in node.outputs:
                self.makers.setdefault(self.at(name), []).append(at)
        for name in (*graph.outputs, *graph.updates):  # read when all nodes have run
            self.readers.setdefault(self.at(name), []).append(len(graph.nodes))
        for name, root in self.root.items():
            self.inside.setdefault(root, set()).add(name)

    def at(self, name: str) -> str:
        """Return what a value looks at or is a part of, itself if it is neither."""
        return self.root.get(name, name)

    def copies(self) -> dict[str, str]:
        """Return the values that are only made to be copied, and where they are copied to."""
        found: dict[str, str] = {}
        for at, node in enumerate(self.graph.nodes):
            if node.op != MEMCPY:
                continue
            (value,), (target,) = node.inputs, node.outputs
            if self._may_lie(value, target, at) and self._is_left(value, at):
                found[value] = target
        return found

    def updates(self) -> dict[str, str]:
        """Return the new values of variables that can be written over these, which nobody reads any more."""
        updates, behind = self.graph.updates, len(self.graph.nodes) + 1
        return {
            value: variable for value, variable in updates.items() if self._may_lie(value, variable, behind)
        }

    def dying(self, replaced: Mapping[str, str]) -> dict[str, str]:
        """Return the values that are written over one that nothing needs any more, and which that is."""
        taken = {*replaced, *replaced.values()}
        found: dict[str, str] = {}
        for at, node in enumerate(self.graph.nodes):
            for value in node.outputs if node.launches else ():
                if value in replaced or self.graph.values[value].kind != INTERMEDIATE:
                    continue
                roots = dict.fromkeys(map(self.at, node.inputs))
                fitting = (root for root in roots if root not in taken and self._dies(root, value, at))
                target = next(fitting, None)
                if target is not None:
                    found[value] = target
                    taken.add(target)
        return found

    def _dies(self, target: str, value: str, at: int) -> bool:
        """Tell whether a value that a node makes fits over one that it is the last to read."""
        own, other = self.graph.values[value], self.graph.values[target]
        alike = (
            own.nbytes == other.nbytes and own.type.dtype.itemsize_bytes == other.type.dtype.itemsize_bytes
        )
        if not alike or own.whole or other.whole or other.kind != INTERMEDIATE:
            return False
        makers = self.makers.get(target, [])
        if len(makers) != 1 or len(self.makers[value]) != 1 or max(self.readers[target]) != at:
            return False
        is_straight = self.breaks[makers[0]] == self.breaks[at]
        return is_straight and self._by_element(at, value, target)

    def _may_lie(self, value: str, target: str, end: int) -> bool:
        """Tell whether a value can be made in the memory of what it replaces at the position `end`.

        It has one maker, and between that and there nothing else touches the target.
        """
        makers = self.makers.get(value, [])
        if len(makers) != 1 or not self._fits(value, target):
            return False
        (maker,) = makers
        touching = (*self.readers.get(target, ()), *self.makers.get(target, ()))
        is_free = not any(maker < each < end for each in touching)
        return is_free and self._by_element(maker, value, target)

    def _is_left(self, value: str, end: int) -> bool:
        """Tell whether a value is read for the last time at a position, with no jump since it was made."""
        (maker,) = self.makers[value]
        is_straight = self.breaks[maker] == self.breaks[end]
        return is_straight and maker < end and max(self.readers[value]) == end

    def _fits(self, value: str, target: str) -> bool:
        """Tell whether a value has the type and the format of what it replaces, and no place of its own."""
        own, other = self.graph.values[value], self.graph.values[target]
        has_place = own.whole or target in self.root
        is_fixed = other.kind in (CONSTANT, INPUT)
        return (own.type, own.format) == (other.type, other.format) and not has_place and not is_fixed

    def _by_element(self, at: int, value: str, target: str) -> bool:
        """Tell whether the node at a position may write a value over the target, of which it reads all."""
        node, names = self.graph.nodes[at], self._names_of(target)
        takes_parts = any(self.graph.values[name].whole for name in node.inputs if name in names)
        return not takes_parts and _by_element(node, value, names)

    def _names_of(self, target: str) -> Set[str]:
        """Return the values that lie where the target does, itself among them."""
        return {target} | self.inside.get(target, set())


def _by_element(node: Node, value: str, target: Set[str]) -> bool:
    """Tell whether the kernels of a node may write a value over one that they read.

    The one that writes it goes by element, or is known to bear it, and none behind it reads the target.
    """
    if not node.launches:
        return False
    written = min(_launches_of(node, "out", {value}))
    launch = node.launches[written]
    if not launch.flat and not shares(node, launch, value, target):
        return False
    return all(read <= written for read in _launches_of(node, "in", target))


def _launches_of(node: Node, prefix: str, names: Set[str]) -> Iterator[int]:
    """Yield the launches of a node that have one of these values as an operand."""
    for at, launch in enumerate(node.launches):
        if any(node.value(each) in names for each in launch.operands if each.startswith(prefix)):
            yield at
