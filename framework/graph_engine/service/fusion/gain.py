"""Whether a fusion pays: bytes and launches that it spares, then the simulated time on the chip.

The bytes are counted first and cost nothing. What spares some is timed, the nodes before against those after,
from an empty L2; equal questions are asked once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from davinci_sim.chip import Chip
from davinci_sim.platforms import Platform
from framework.graph_engine.data.decisions import decided
from framework.graph_engine.data.graph import AICORE, CONSTANT, TRANS_DATA, VIEW, Graph, Node, Value
from framework.graph_engine.data.operators import kernel, operands, shape_of
from framework.graph_engine.service.formats import LAUNCH_BYTES, assign_formats
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.ops.lowering import Launch
from kernels.lang.kernel import ALIGN_BYTES
from kernels.lang.shapes import Shape

ELSEWHERE_BYTES = 1 << 40
"""What it is worth not to leave a node to the host or the AI CPU: more than anything on the cores."""
Called = tuple[str, Shape, tuple[int, ...]]
"""A launch: kernel, shape, and a number for each of its tensors."""


@dataclass(frozen=True)
class Gain:
    """What a change spares: bytes to and from memory with its launches, and cycles before and after."""

    nbytes: int
    """Those of the tensors, and for each launch what it is worth."""
    before: int = 0
    after: int = 0
    launches: int = 0

    @property
    def pays(self) -> bool:
        """Tell whether the chip is faster with the change; without a time, whether bytes are spared."""
        return self.nbytes > 0 and (self.after < self.before or self.before == 0)

    def text(self) -> str:
        """Print the decision with its numbers."""
        if self.nbytes > ELSEWHERE_BYTES // 2:
            return "comes to the cores"
        spared = self._spared()
        if not self.before:
            return spared if self.pays else f"{spared}, not made"
        sign = "" if self.pays else ", not made"
        return f"{self.before} -> {self.after} cycles, {spared}{sign}"

    def _spared(self) -> str:
        """Print launches and the bytes of tensors; either may be more, where the other is worth it."""
        kib = (self.nbytes - self.launches * LAUNCH_BYTES) / 1024
        launches = f"{self.launches} launch{'es' * (self.launches != 1)}"
        return f"{launches} and {kib:.0f} KiB spared" if self.launches else f"{kib:.0f} KiB spared"


def estimate(change: Change) -> int:
    """Count the bytes that a change spares, with what its launches are worth."""
    return _moved_bytes(change.old) - _moved_bytes(change.new)


def measured(draft: Draft, change: Change) -> Gain:
    """Time a change on the chip, with the conversions of formats around it.

    Only bytes are counted where a node is not on the chip's cores, or where its memory is too small.
    """
    before, after = (_surroundings(draft, change, nodes) for nodes in (change.old, change.new))
    return _answered(Question(draft.platform, (before.key(), after.key()), before, after))


@dataclass(frozen=True)
class Surroundings:
    """Nodes with the neighbours whose formats theirs must meet; nodes and values of interest by name."""

    graph: Graph
    inside: frozenset[str]
    touched: frozenset[str]

    def key(self) -> Hashable:
        """Return what the choice of formats and the times depend on: all but names, which are numbered."""
        numbers: dict[str, int] = {}
        nodes = tuple(
            (
                node.op, node.engine, node.name in self.inside, tuple(map(_key_of_launch, node.launches)),
                tuple(numbers.setdefault(name, len(numbers)) for name in (*node.inputs, *node.outputs)),
            )
            for node in self.graph.nodes
        )  # fmt: skip
        values = tuple((self.graph.values[name].type, self.graph.values[name].kind) for name in numbers)
        outputs = tuple(sorted(numbers[name] for name in self.graph.outputs))
        touched = tuple(sorted(numbers[name] for name in self.touched))
        return nodes, values, outputs, touched

    def settled(self, platform: Platform) -> tuple[Node, ...]:
        """Return the nodes with their formats chosen, and the conversions that they need."""
        return tuple(
            node
            for node in assign_formats(self.graph, platform).nodes
            if node.name in self.inside or (node.op == TRANS_DATA and node.inputs[0] in self.touched)
        )


def _key_of_launch(launch: Launch) -> Hashable:
    axes, formats = tuple(sorted(launch.axes.items())), tuple(sorted(launch.formats.items()))
    return launch.kernel, axes, launch.operands, launch.dtype, launch.out_dtype, launch.flat, formats


@dataclass(frozen=True)
class Question:
    """Whether nodes are better than others; the key alone tells questions apart."""

    platform: Platform
    key: Hashable
    before: Surroundings = field(compare=False)
    after: Surroundings = field(compare=False)


@lru_cache(maxsize=4096)
def _answered(question: Question) -> Gain:
    """Return what a change spares."""
    platform = question.platform
    asked = f"gain {platform.name} {platform.digest} {question.key}"
    nodes = (*question.before.graph.nodes, *question.after.graph.nodes)
    called = {launch.kernel for node in nodes for launch in node.launches}
    return Gain(*decided(asked, called, lambda: list(dataclasses.astuple(_found(question)))))


def _found(question: Question) -> Gain:
    """Work out what a change spares."""
    before, after = (side.settled(question.platform) for side in (question.before, question.after))
    nbytes = _moved_bytes(before) - _moved_bytes(after)
    launches = _launches(before) - _launches(after)
    nodes = (*before, *after)
    is_timed = all(node.engine in (AICORE, VIEW) for node in nodes)
    if nbytes <= 0 or not is_timed or _moved_bytes(nodes) > int(question.platform.gm_bytes):
        return Gain(nbytes, launches=launches)
    earlier, later = (_cycles(question.platform, _numbered(nodes)) for nodes in (before, after))
    return Gain(nbytes, earlier, later, launches)


def _surroundings(draft: Draft, change: Change, nodes: Sequence[Node]) -> Surroundings:
    """Return the nodes of a side of a change, between the makers of what they read and their readers."""
    values = {**draft.values, **change.values}
    read = {name for node in nodes for name in node.inputs}
    made = {name for node in nodes for name in node.outputs}
    old = {node.name for node in change.old}
    makers = [draft.maker(name) for node in nodes for name in node.inputs if name not in made]
    near = {node.name: node for node in makers if node is not None}
    readers = [reader for node in nodes for name in node.outputs for reader in draft.readers(name)]
    behind = {node.name: node for node in readers if node.name not in old}
    around = (*near.values(), *behind.values())
    outputs = tuple(name for node in nodes for name in node.outputs if name in draft.kept)
    table = _neighbourhood(values, around, read | made)
    graph = Graph("", table, (*near.values(), *nodes, *behind.values()), (), outputs, {})
    return Surroundings(graph, frozenset(node.name for node in nodes), frozenset(read | made))


def _neighbourhood(
    values: Mapping[str, Value], around: Sequence[Node], own: Collection[str]
) -> dict[str, Value]:
    """Return the values of some nodes and their neighbours; what only the neighbours read costs nothing."""
    table = {name: values[name] for name in own}
    for node in around:
        for name in (*node.inputs, *node.outputs):
            if name not in table:
                table[name] = replace(values[name], kind=CONSTANT)
    return table


def _moved_bytes(nodes: Sequence[Node]) -> int:
    launches = [launch for node in nodes for launch in node.launches]
    elsewhere = sum(node.engine not in (AICORE, VIEW) for node in nodes)
    moved = sum(LAUNCH_BYTES + sum(each.nbytes for each in operands(launch)) for launch in launches)
    return moved + elsewhere * ELSEWHERE_BYTES


def _launches(nodes: Sequence[Node]) -> int:
    return sum(len(node.launches) for node in nodes)


def _numbered(nodes: Sequence[Node]) -> tuple[Called, ...]:
    """Return the launches of nodes, tensors numbered as they come up, so that equal chains are equal."""
    numbers: dict[str, int] = {}
    called = []
    for node in nodes:
        for launch in node.launches:
            names = [_tensor(node, reference) for reference in launch.operands]
            places = tuple(numbers.setdefault(name, len(numbers)) for name in names)
            called.append((launch.kernel, shape_of(launch), places))
    return tuple(called)


def _tensor(node: Node, reference: str) -> str:
    is_own = reference.startswith("tmp")
    if reference.startswith("scalar:"):
        return reference
    return f"{node.name}.{reference}" if is_own else node.value(reference)


@lru_cache(maxsize=4096)
def _cycles(platform: Platform, launches: tuple[Called, ...]) -> int:
    """Return the time of launches one after the other on a chip whose L2 is empty."""
    chip, addresses, groups = Chip(platform, data=False), dict[int, int](), []
    top = 0
    for name, shape, places in launches:
        declared = kernel(name)
        tensors = declared.operands(shape)
        for operand, place in zip(tensors, places, strict=True):
            if place not in addresses:
                addresses[place] = top
                top += -(-operand.nbytes // ALIGN_BYTES) * ALIGN_BYTES
        handles = {operand.name: addresses[place] for operand, place in zip(tensors, places, strict=True)}
        groups.append(chip.group([declared.deferred(shape, handles, platform)]))
    return sum(time.cycles for time in chip.times(groups))
