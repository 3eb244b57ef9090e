"""Step 2, splitting: which engine runs each node, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import AICORE, AICPU, FLOW, HOST, Graph, Node
from framework.graph_engine.service.engines import Question, placed, weighed


def split(graph: Graph, platform: Platform) -> Graph:
    """Give every node its engine: the AI cores where a kernel takes it, else the AI CPU or the host, and why.

    Labels, jumps and copies are the task scheduler's, collectives go over the links.

    Raises:
        NoLinks: the chip has no links for a collective, which nobody else can compute.
    """
    return graph.with_nodes(tuple(place(graph, node, platform) for node in graph.nodes))


def place(graph: Graph, node: Node, platform: Platform, few: int = 0) -> Node:
    """Return a node with its engine and its kernels; with `few` = 1 a convolution's image is not padded."""
    return placed(Question(graph, node, platform, few))


def weighed_anew(graph: Graph, platform: Platform) -> Graph:
    """Return the graph with what is not for the AI cores where it costs least as its values lie now."""
    nodes = (
        weighed(Question(graph, node, platform))
        if node.engine in (AICPU, HOST) and node.op not in FLOW
        else node
        for node in graph.nodes
    )
    return graph.with_nodes(tuple(nodes))


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
    """Print what runs where, and why and at which cost anything is not on the AI cores."""
    lines = []
    for part, subgraph in enumerate(subgraphs(graph)):
        lines.append(f"subgraph {part} on {subgraph.engine}: {len(subgraph.nodes)} nodes")
        lines += [f"  {n.name:<32} {n.engine:<7} {_why(n)}".rstrip() for n in subgraph.nodes]
    return "\n".join(lines) + "\n"


def _why(node: Node) -> str:
    return node.why or node.company or "+".join(launch.kernel for launch in node.launches)
