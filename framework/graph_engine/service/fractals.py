"""Heads of attention are parted and joined as whole fractals, without a way through ND."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import AICORE, FLOW, TRANS_DATA, Graph, Node
from framework.graph_engine.data.operators import CONVERTIBLE, lacking
from framework.ops.lowering import Launch, device_dtype

EDGE = 16
SWAPPED = (0, 2, 1, 3)
TRANSPOSE, RESHAPE = "transpose", "reshape"
PERM = 2
"""The number that the kernel knows the order 0, 2, 1, 3 by."""


@dataclass(frozen=True)
class Heads:
    """x[batch * length, heads * depth] on one side, x[batch, heads, length, depth] on the other."""

    batch: int
    heads: int
    length: int
    depth: int

    @property
    def are_whole(self) -> bool:
        """Tell whether every head is whole fractals, so that they move as they are."""
        return self.length % EDGE == 0 == self.depth % EDGE

    def launch(self, dtype: str, joins: bool) -> Launch:
        """Return the launch that swaps columns of fractals and matrices of the batch.

        In NZ the joined matrix is [columns of fractals, batch, fractals of a matrix] and the parted one
        [batch, columns of fractals, fractals of a matrix].
        """
        columns, strip = self.heads * self.depth // EDGE, self.length * EDGE
        first, second = (self.batch, columns) if joins else (columns, self.batch)
        axes = {"a": 1, "b": first, "c": second, "d": strip, "perm": PERM}
        return Launch("transpose", axes, ("in0", "out0"), dtype)


def transpose_fractals(graph: Graph, platform: Platform) -> Graph:
    """Swap fractals where a product is parted into heads, or heads are joined for one.

    before  %a = trans_data(%x: NZ); %b = reshape(%a); %c = transpose(%b); %y: NZ = trans_data(%c)
    after   %y: NZ = transpose(%x: NZ)
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    renewed = {name for node in graph.nodes if node.op in FLOW for name in node.outputs}
    swapped = [(node, _swapped(graph, node, makers, renewed)) for node in graph.nodes]
    nodes = (node if new is None or lacking(new, platform) else new for node, new in swapped)
    return swept(graph.with_nodes(tuple(nodes)))


def swept(graph: Graph) -> Graph:
    """Leave out what computes what nobody reads; the next turn of a loop may read what is copied."""
    needed = {*graph.outputs, *graph.updates}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if not node.outputs or node.op in FLOW or needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return graph.with_nodes(tuple(reversed(kept)))


def _swapped(graph: Graph, node: Node, makers: Mapping[str, Node], renewed: Set[str]) -> Node | None:
    """Return the node that gives what a conversion gives, straight from fractals; None if it cannot.

    What copies renew may be another value by then.
    """
    if not _converts(node, "ND", "NZ"):
        return None
    for ops, joins in (((TRANSPOSE, RESHAPE), False), ((RESHAPE, TRANSPOSE), True)):
        origin = makers.get(_made_by(makers, node.inputs[0], ops))
        if origin is None or origin.inputs[0] in renewed or not _converts(origin, "NZ", "ND"):
            continue
        heads = _heads(graph, origin.inputs[0], node.outputs[0], joins)
        type_ = graph.values[node.outputs[0]].type
        if heads is not None and heads.are_whole and type_.dtype.name in CONVERTIBLE:
            launch = heads.launch(device_dtype(type_), joins)
            name = f"{TRANSPOSE}.{node.outputs[0]}"
            attrs = {"perm": SWAPPED}
            return Node(name, TRANSPOSE, origin.inputs, node.outputs, attrs, AICORE, launches=(launch,))
    return None


def _converts(node: Node, source: str, target: str) -> bool:
    is_conversion = node.op == TRANS_DATA and node.engine == AICORE
    return is_conversion and (node.attrs["src_format"], node.attrs["dst_format"]) == (source, target)


def _made_by(makers: Mapping[str, Node], name: str, ops: Sequence[str]) -> str:
    """Return the value from which these operators make another, the last one first; empty if others do."""
    for op in ops:
        node = makers.get(name)
        if node is None or node.op != op or (op == TRANSPOSE and node.attrs["perm"] != SWAPPED):
            return ""
        name = node.inputs[0]
    return name


def _heads(graph: Graph, source: str, target: str, joins: bool) -> Heads | None:
    """Return how heads are joined or parted, None where the shapes are of something else."""
    names = (target, source) if joins else (source, target)
    whole, parted = (graph.values[name].type.shape for name in names)
    if len(whole) != 2 or len(parted) != 4:
        return None
    batch, heads, length, depth = parted
    return Heads(batch, heads, length, depth) if whole == (batch * length, heads * depth) else None
