"""What has to be alive at once whatever is fused: a bound of the memory of a graph, before it is optimised.

Three things no optimisation can change. Inputs are all fetched before anything runs. Results are all there
before the first one is put. And what a kernel reads that nothing is fused in front of, as those of the cube,
lies in memory then. So at such a kernel there is all that is made before it, on some way to it, and that it
reads itself or such a kernel behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from framework.graph_engine.data.graph import AICORE, INPUT, INTERMEDIATE, VARIABLE, Graph, Node
from framework.graph_engine.service.adjacent import JOIN, PART
from framework.graph_engine.service.engines import VIEWS
from framework.graph_engine.service.fusion.pattern import called
from framework.graph_engine.service.fusion.table import FUSED_BEHIND
from kernels.tiling.expression import CODES

MOVING = (JOIN, PART, "transpose")
"""Operators that may become views, or turn into others with those around them."""
COUNTER_BYTES = 4
"""What a 64-bit integer takes at the least: counters that fit are stored in 32 bits."""


class Needed(NamedTuple):
    """Tensors that have to be alive at once, by name, with their bytes without any padding."""

    what: str
    nbytes: Mapping[str, int]

    @property
    def total(self) -> int:
        """The bytes of all."""
        return sum(self.nbytes.values())


def held(graph: Graph) -> Needed:
    """Return the variables that some result depends on or renews."""
    used = {*graph.updates.values(), *_read(_needed(graph))}
    return _needed_bytes(graph, "variables", (v.name for v in graph.of_kind(VARIABLE) if v.name in used))


def alive_together(graph: Graph) -> Needed:
    """Return the most that is alive at once beside variables; with jumps only inputs and results count."""
    needed = _needed(graph)
    read = _read(needed)
    root, is_own = _roots(graph), _owners(graph)
    results = dict.fromkeys(name for name in map(root, graph.outputs) if is_own(name))
    found = [
        _needed_bytes(graph, "inputs", (name for name in graph.inputs if name in read)),
        _needed_bytes(graph, "results", results),
    ]
    if graph.is_straight:
        found += _at_kernels(graph, needed)
    return max(found, key=lambda each: each.total)


def _needed(graph: Graph) -> list[Node]:
    """Return the nodes that some result depends on; where there are jumps, all."""
    if not graph.is_straight:
        return list(graph.nodes)
    wanted, found = {*graph.outputs, *graph.updates}, list[Node]()
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            found.append(node)
    return found[::-1]


def _read(nodes: Sequence[Node]) -> set[str]:
    return {name for node in nodes for name in node.inputs}


def _needed_bytes(graph: Graph, what: str, names: Iterable[str]) -> Needed:
    values = (graph.values[name] for name in names)
    return Needed(
        what,
        {
            each.name: each.type.size * COUNTER_BYTES if each.type.dtype.name == "int64" else each.nbytes
            for each in values
        },
    )


def _roots(graph: Graph) -> Callable[[str], str]:
    """Return what tells what a value looks at, itself if it is no view."""
    views = {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.op in VIEWS}

    def root(name: str) -> str:
        while name in views:
            name = views[name]
        return name

    return root


def _owners(graph: Graph) -> Callable[[str], bool]:
    """Return what tells whether a value has memory of its own: no variable's, and that of no whole."""
    shared = {name for node in graph.nodes if node.op in (JOIN, PART) for name in node.outputs}
    shared |= graph.updates.keys()
    return lambda name: graph.values[name].kind == INTERMEDIATE and name not in shared


def _reads_memory(node: Node) -> bool:
    """Tell whether nothing is fused in front of a node, neither by a pattern nor by the general fuser."""
    if node.engine != AICORE or node.op in MOVING or called(node) in FUSED_BEHIND:
        return False
    return not any(launch.kernel in CODES for launch in node.launches)


def _at_kernels(graph: Graph, needed: Sequence[Node]) -> Iterator[Needed]:
    """Yield what is alive at the kernel where that is most; sets of values are bits of integers."""
    root, is_own = _roots(graph), _owners(graph)
    reads = {node.name: {*map(root, node.inputs)} for node in needed if _reads_memory(node)}
    names = [
        name
        for name in dict.fromkeys(name for each in reads.values() for name in sorted(each))
        if is_own(name) or graph.values[name].kind == INPUT
    ]
    if not names:
        return
    bits = {name: 1 << place for place, name in enumerate(names)}
    before, behind = _made_before(graph, needed, bits), _read_behind(needed, reads, bits)
    weights = np.array([*_needed_bytes(graph, "", names).nbytes.values()])
    alive = {name: _unpacked(before[name] & behind[name], len(names)) for name in reads}
    most = max(alive, key=lambda name: int(alive[name] @ weights))
    at_once = (name for name, is_alive in zip(names, alive[most], strict=True) if is_alive)
    yield _needed_bytes(graph, f"alive at {most} whatever is fused", at_once)


def _unpacked(bits: int, count: int) -> np.ndarray:
    stored = np.frombuffer(bits.to_bytes(-(-count // 8), "little"), dtype=np.uint8)
    return np.unpackbits(stored, count=count, bitorder="little").astype(np.int64)


def _made_before(graph: Graph, nodes: Sequence[Node], bits: Mapping[str, int]) -> dict[str, int]:
    """Return for each node what is made on some way to it, and all inputs."""
    inputs = sum(bits.get(name, 0) for name in graph.inputs)
    there: dict[str, int] = {}
    found = {}
    for node in nodes:
        made = inputs
        for name in node.inputs:
            made |= there.get(name, 0)
        found[node.name] = made
        for name in node.outputs:
            there[name] = made | bits.get(name, 0)
    return found


def _read_behind(
    nodes: Sequence[Node], reads: Mapping[str, Iterable[str]], bits: Mapping[str, int]
) -> dict[str, int]:
    """Return for each node what it reads from memory, or another one on some way from it."""
    wanted: dict[str, int] = {}
    found = {}
    for node in reversed(nodes):
        own = 0
        for name in node.outputs:
            own |= wanted.get(name, 0)
        for name in reads.get(node.name, ()):
            own |= bits.get(name, 0)
        found[node.name] = own
        for name in node.inputs:
            wanted[name] = wanted.get(name, 0) | own
    return found
