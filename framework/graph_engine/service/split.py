"""Step 2, splitting: which engine runs each node, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from davinci_sim.errors import BadShape
from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import AICORE, AICPU, FLOW, HOST, HOST_PART, RTS, VIEW, Graph, Node
from framework.graph_engine.data.operators import best_splits, operands, shape_of
from framework.ir.registry import OPERATORS
from framework.ops.lowering import Launch, NotOnDevice

VIEWS = ("reshape",)
"""Operators that only look at the same bytes in another way."""
NO_FRAMES = "the device has no frames for recursion, nor functions as values"
OF_THE_CUBE = ("matmul", "conv2d", "conv2d_backward_input", "conv2d_backward_filter", "einsum")
MOST_CPU_BYTES = 64 << 10
"""What an operator on the AI CPU may read and write in straight code; beyond, it goes to the host."""


def split(graph: Graph, platform: Platform) -> Graph:
    """Give every node its engine: the AI cores where a kernel takes it, else the AI CPU or the host, and why.

    Labels, jumps and copies are the task scheduler's.
    """
    return graph.with_nodes(tuple(place(graph, node, platform) for node in graph.nodes))


def place(graph: Graph, node: Node, platform: Platform, few: int = 0) -> Node:
    """Return a node with its engine and its kernels; with `few` = 1 a convolution's image is not padded."""
    if node.op in FLOW:
        return (
            replace(node, engine=HOST, reason=NO_FRAMES)
            if node.op == HOST_PART
            else replace(node, engine=RTS)
        )
    if node.op in VIEWS:
        return replace(node, engine=VIEW)
    try:
        launches = _lower(graph, node, platform, few)
    except NotOnDevice as refusal:
        engine = AICPU if _fits_the_cpu(graph, node) else HOST
        return replace(node, engine=engine, reason=str(refusal))
    return replace(node, engine=AICORE, launches=launches)


def _fits_the_cpu(graph: Graph, node: Node) -> bool:
    """Tell whether the AI CPU takes a node: no product of the cube, which is too slow there, and small.

    Where the stream jumps, it takes large ones, too: a way to the host in each turn would be worse.
    """
    nbytes = sum(graph.values[name].nbytes for name in (*node.inputs, *node.outputs))
    return node.op not in OF_THE_CUBE and (nbytes <= MOST_CPU_BYTES or not graph.is_straight)


def _lower(graph: Graph, node: Node, platform: Platform, few: int) -> tuple[Launch, ...]:
    lowering = OPERATORS[node.op].lowering
    if lowering is None:
        raise NotOnDevice(f"no kernel computes {node.op}")
    ins = tuple(graph.values[name].type for name in node.inputs)
    outs = tuple(graph.values[name].type for name in node.outputs)
    cores, attrs = int(platform.ai_cores), {**node.attrs, "few": 1} if few else node.attrs
    launches = _accepted(lowering(ins, outs, attrs, cores))
    splits = best_splits(launches[0].kernel, shape_of(launches[0]), platform) if launches else None
    if splits is None:
        return launches
    return _accepted(lowering(ins, outs, {**attrs, "splits": splits}, cores))


def _accepted(launches: Sequence[Launch]) -> tuple[Launch, ...]:
    """Return launches that their kernels take."""
    for launch in launches:
        try:
            operands(launch)
        except BadShape as refusal:
            raise NotOnDevice(", ".join(map(str.strip, str(refusal).split("\n")[:2]))) from None
    return tuple(launches)


@dataclass(frozen=True)
class Subgraph:
    """Neighbouring nodes of one engine; they follow each other, so that no cycle can arise."""

    engine: str
    nodes: tuple[Node, ...]


def subgraphs(graph: Graph) -> Iterator[Subgraph]:
    """Yield the maximal runs of nodes on the device and on the host."""
    for on_host, nodes in groupby(graph.nodes, key=lambda node: node.engine == HOST):
        yield Subgraph(HOST if on_host else AICORE, tuple(nodes))


def placement(graph: Graph) -> str:
    """Print what runs where, and why anything is left to the host."""
    lines = []
    for part, subgraph in enumerate(subgraphs(graph)):
        lines.append(f"subgraph {part} on {subgraph.engine}: {len(subgraph.nodes)} nodes")
        lines += [f"  {n.name:<32} {n.engine:<7} {_why(n)}".rstrip() for n in subgraph.nodes]
    return "\n".join(lines) + "\n"


def _why(node: Node) -> str:
    return node.reason or "+".join(launch.kernel for launch in node.launches)
