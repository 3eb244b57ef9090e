"""The general fuser: neighbouring element-wise nodes become one, whose kernel is generated from what they do.

A chain grows from its readers' side: a node joins the chains that make its inputs, one after the other, as
long as one pass through UB can compute all of it (`kernels.tiling.expression` has the limits) and no way
leads out of the chain and back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import FP16, FP32
from framework.graph_engine.data.graph import AICORE, CONSTANT, Node
from framework.graph_engine.data.operators import refusal
from framework.graph_engine.service.fusion.chain import Chain, Made, number_of
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.truths import choice_of
from framework.ops.lowering import Launch
from kernels.pieces.broadcast import COLUMN, NUMBER, ROW, SAME
from kernels.tiling.expression import CODES, Argument, Source, assemble

FUSED = "fused"
TYPES = {"fp16": FP16, "fp32": FP32}


def chain_of(draft: Draft, node: Node) -> Chain | None:
    """Return a node as a chain of one step, or None where it is none."""
    if node.engine != AICORE or len(node.launches) != 1 or len(node.outputs) != 1:
        return None
    launch = node.launches[0]
    types = {launch.dtype, launch.out_dtype or launch.dtype}
    if launch.kernel not in CODES or not types <= set(TYPES) or (launch.kernel == "cast" and len(types) < 2):
        return None
    pattern = launch.axes.get("pattern", SAME)
    n, rows = launch.axes["n"], launch.axes.get("rows", 1)
    if pattern not in (SAME, NUMBER, ROW, COLUMN):
        return None
    pattern, rows = _plainest(pattern, n, rows)
    if launch.axes.get("lacks", 0) or draft.values[node.outputs[0]].type.size != n:
        return None
    arguments, sources = list[Argument](), dict[str, Source]()
    for place, reference in enumerate(launch.operands[:-1]):
        how = pattern if place == 1 else SAME
        given = _argument(draft, node, reference, how)
        arguments.append(given)
        if isinstance(given, str):
            source = Source(TYPES[launch.dtype], how)
            if sources.setdefault(given, source) != source:
                return None
    step = Made(node.outputs[0], launch.kernel, tuple(arguments), TYPES[launch.out_dtype or launch.dtype])
    flat = launch.flat or (launch.kernel == "mul" and pattern == NUMBER)
    return Chain(n, rows, (step,), sources, flat, (node,)) if sources else None


def _plainest(pattern: int, n: int, rows: int) -> tuple[int, int]:
    """Return how an operand is broadcast, and rows: one row or one column is nothing special."""
    if (pattern == ROW and rows == 1) or (pattern == COLUMN and rows == n):
        pattern = SAME
    elif (pattern == ROW and rows == n) or (pattern == COLUMN and rows == 1):
        pattern = NUMBER
    return pattern, rows if pattern in (ROW, COLUMN) else 1


def _argument(draft: Draft, node: Node, reference: str, pattern: int) -> Argument:
    """Return an operand as the name of its value, or as a number where it is known."""
    if reference.startswith("scalar:"):
        return float(reference.removeprefix("scalar:"))
    value = draft.values[node.value(reference)]
    if pattern == NUMBER and value.kind == CONSTANT and value.data is not None:
        return number_of(value)
    return value.name


def fused_node(draft: Draft, chain: Chain) -> Node | None:
    """Return the node that computes a chain in one launch, or None where a kernel cannot."""
    inside = {node.name for node in chain.nodes}
    results = tuple(name for name in chain.made if _is_seen(draft, name, inside))
    try:
        fields = assemble(chain.expression(results))
        axes = {"n": chain.n, "rows": chain.rows, **fields}
        names = tuple(f"in{i}" for i in range(len(chain.sources)))
        names += tuple(f"out{i}" for i in range(len(results)))
        launch = Launch(FUSED, axes, names, "fp16", flat=chain.flat)
        if refusal(launch, draft.platform):
            return None
    except BadShape:
        return None
    last = chain.nodes[-1]
    return Node(
        last.name, FUSED, tuple(chain.sources), results, engine=AICORE, launches=(launch,), source=last.source
    )


def _is_seen(draft: Draft, value: str, inside: set[str]) -> bool:
    """Tell whether anybody outside of a chain needs a value."""
    return value in draft.kept or any(node.name not in inside for node in draft.readers(value))


def chains(draft: Draft) -> Iterator[Change]:
    """Yield a change for every chain of nodes, none of which shares a node with another.

    Of one node alone only where it is a choice that comes to the cores with it.
    """
    found: dict[str, Chain] = {}
    work = Draft(draft.finished(), draft.platform)
    for node in list(work.nodes.values()):
        chain = chain_of(work, node) or _choice(work, node)
        if chain is not None:
            found[node.name] = chain
            _grow(work, found, node.name)
    for chain in found.values():
        if len(chain.nodes) > 1 or chain.nodes[0].engine != AICORE:
            made = fused_node(draft, chain)
            if made is not None:
                yield Change(chain.nodes, (made,))


def _choice(work: Draft, node: Node) -> Chain | None:
    """Return a choice as a chain, and let it stand in a draft as a node of the cores."""
    chain = choice_of(work, node)
    made = None if chain is None else fused_node(work, chain)
    if made is None:
        return None
    work.apply(Change((node,), (made,)))
    return chain


def _grow(work: Draft, found: dict[str, Chain], name: str) -> None:
    """Let the chain of a node take in the chains that make its inputs, where that is possible."""
    refused: set[str] = set()
    while True:
        node = work.nodes[name]
        makers = (work.maker(value) for value in node.inputs)
        near = [m for m in makers if m is not None and m.name in found and m.name not in refused]
        if not near:
            return
        other = max(near, key=work.place)
        joined = found[other.name].joined(found[name])
        made = None
        if joined is not None and not work.closes_a_cycle((other, node)):
            made = _joined_node(work, (other, node), joined)
        if joined is None or made is None:
            refused.add(other.name)
            continue
        work.apply(Change((other, node), (made,)))
        del found[other.name]
        found[name] = joined


def _joined_node(work: Draft, pair: tuple[Node, Node], chain: Chain) -> Node | None:
    """Return the node of a chain whose two parts stand in a draft as nodes."""
    return fused_node(work, replace(chain, nodes=(*pair,)))
