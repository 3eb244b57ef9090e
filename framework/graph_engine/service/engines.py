"""The engines: who may run a node, what each of them refuses and why, and what a node costs there.

The first engine that takes a node runs it. Those at the end of the table have costs: what comes to them runs
where it takes the least time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from davinci_sim.chip.collectives import collective_cycles
from davinci_sim.chip.flow import cpu_cycles, host_cycles
from davinci_sim.errors import BadShape
from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import (
    AICORE,
    AICPU,
    COLLECTIVE,
    FLOW,
    HOST,
    HOST_PART,
    RTS,
    TRANS_DATA,
    VIEW,
    Graph,
    Node,
)
from framework.graph_engine.data.operators import best_splits, conversion, operands, refusal, shape_of
from framework.ir.registry import OPERATORS
from framework.ops.lowering import Launch, NotOnDevice

VIEWS = ("reshape",)
"""Operators that only look at the same bytes in another way."""
OF_THE_CUBE = ("matmul", "conv2d", "conv2d_backward_input", "conv2d_backward_filter", "einsum")
NO_FRAMES = "the device has no frames for recursion, nor functions as values"
NO_CUBE = "it has no cube"
NO_ELEMENTS = "kernels take no tensor without elements"

Launches = tuple[Launch, ...]


class Question(NamedTuple):
    """A node of a graph, for a chip; with `few` = 1 a convolution's image is not padded."""

    graph: Graph
    node: Node
    platform: Platform
    few: int = 0


@dataclass(frozen=True)
class Engine:
    """Who may run nodes.

    Attributes:
        name: as in the table of step 2 and in the task list.
        runs: what it is for, in words.
        launches: the kernels that a node becomes, none but on the AI cores; raises NotOnDevice for a node
            that the engine refuses, with the reason.
        cycles: what a node takes; None for an engine that goes before all that have costs.
    """

    name: str
    runs: str
    launches: Callable[[Question], Launches]
    cycles: Callable[[Question], int] | None = None


def _only(ops: Sequence[str], what: str) -> Callable[[Question], Launches]:
    """Return the rule of an engine that takes these operators, which need no kernel."""

    def launches(question: Question) -> Launches:
        if question.node.op not in ops:
            raise NotOnDevice(f"{question.node.op} is no {what}")
        return ()

    return launches


def _over_links(question: Question) -> Launches:
    """Take what is computed together with other chips; nobody else can.

    Raises:
        NotOnDevice: the operator computes by itself.
        NoLinks: the chip does not reach so many others.
    """
    graph, node, platform, _ = question
    known = OPERATORS.get(node.op)
    if known is None or not known.meets:
        raise NotOnDevice(f"{node.op} meets no other rank")
    collective_cycles(platform, node.op, graph.moved_bytes(node), node.ranks)
    return ()


def _on_cores(question: Question) -> Launches:
    """Return the kernels of a node, in as many parts as are best where its kernel has the choice."""
    graph, node, platform, few = question
    if node.op == HOST_PART:
        raise NotOnDevice(NO_FRAMES)
    if node.op == TRANS_DATA:
        return _converting(question)
    lowering = OPERATORS[node.op].lowering
    if lowering is None:
        raise NotOnDevice(f"no kernel computes {node.op}")
    ins = tuple(graph.values[name].type for name in node.inputs)
    outs = tuple(graph.values[name].type for name in node.outputs)
    if not all(each.size for each in (*ins, *outs)):
        raise NotOnDevice(NO_ELEMENTS)
    cores, attrs = int(platform.ai_cores), {**node.attrs, "few": 1} if few else node.attrs
    launches = _fitting(lowering(ins, outs, attrs, cores))
    splits = best_splits(launches[0].kernel, shape_of(launches[0]), platform) if launches else None
    if splits is not None:
        launches = _fitting(lowering(ins, outs, {**attrs, "splits": splits}, cores))
    return _able(launches, platform)


def _able(launches: Launches, platform: Platform) -> Launches:
    """Return launches that the chip can run."""
    for launch in launches:
        if reason := refusal(launch, platform):
            raise NotOnDevice(reason)
    return launches


def _fitting(launches: Sequence[Launch]) -> Launches:
    """Return launches that their kernels take."""
    for launch in launches:
        try:
            operands(launch)
        except BadShape as error:
            raise NotOnDevice(", ".join(map(str.strip, str(error).split("\n")[:2]))) from None
    return tuple(launches)


def _converting(question: Question) -> Launches:
    """Return the kernel that copies a value into another format."""
    values, node = question.graph.values, question.node
    source, target = values[node.inputs[0]], values[node.outputs[0]]
    launch = conversion(source.type, source.format, target.format, question.platform)
    if launch is None:
        raise NotOnDevice(f"no kernel converts {source.type} from {source.format} to {target.format}")
    return (launch,)


def _on_cpu(question: Question) -> Launches:
    """Refuse products of the cube, which would take its scalar cores too long, and what needs frames."""
    if question.node.op == HOST_PART:
        raise NotOnDevice(NO_FRAMES)
    if question.node.op in OF_THE_CUBE:
        raise NotOnDevice(NO_CUBE)
    return ()


def _on_host(_: Question) -> Launches:
    """Take everything: the host evaluates in NumPy."""
    return ()


ENGINES = (
    Engine(
        RTS,
        "labels, jumps and copies: the task scheduler itself",
        _only([op for op in FLOW if op != HOST_PART], "jump"),
    ),
    Engine(VIEW, "another look at the same bytes: nothing runs", _only(VIEWS, "view")),
    Engine(COLLECTIVE, "what several chips compute together, over their links", _over_links),
    Engine(AICORE, "what a kernel computes", _on_cores),
    Engine(
        AICPU,
        "what no kernel computes, near its data",
        _on_cpu,
        lambda question: cpu_cycles(question.platform, question.graph.bytes_of(question.node)),
    ),
    Engine(
        HOST,
        "everything, at the far end of the link",
        _on_host,
        lambda question: host_cycles(question.platform, question.graph.bytes_of(question.node)),
    ),
)
"""All engines, in the order in which they are asked."""


def table() -> str:
    """Print the engines in their order: what each is for, and how it is chosen."""
    lines = [f"{each.name:<11} {'by cost' if each.cycles else 'first':<8} {each.runs}" for each in ENGINES]
    return "\n".join(lines) + "\n"


def placed(question: Question) -> Node:
    """Return a node on the first engine that takes it; among those with costs, where it takes least."""
    node, refusals = question.node, dict[str, str]()
    for engine in ENGINES:
        if engine.cycles is not None:
            break
        try:
            return replace(node, engine=engine.name, launches=engine.launches(question), reason="", costs="")
        except NotOnDevice as refused:
            refusals[engine.name] = str(refused)
    return weighed(question._replace(node=replace(node, reason=refusals[AICORE], launches=())))


def weighed(question: Question) -> Node:
    """Return a node that is not for the AI cores on the engine where it takes the least time.

    The costs of all that take it, and why others do not, are written at it.
    """
    offers = dict[str, int]()
    texts = []
    for engine, reason in _asked(question):
        if reason is None:
            assert engine.cycles is not None
            offers[engine.name] = engine.cycles(question)
            us = offers[engine.name] / float(question.platform.clock_hz) * 1e6
            texts.append(f"{engine.name} {us:.1f} us")
        elif reason != question.node.reason:
            texts.append(f"{engine.name}: {reason}")
    return replace(question.node, engine=min(offers, key=lambda name: offers[name]), costs=", ".join(texts))


def _asked(question: Question) -> Iterator[tuple[Engine, str | None]]:
    """Yield the engines that have costs, each with why it refuses, None if it does not."""
    for engine in ENGINES:
        if engine.cycles is None:
            continue
        try:
            engine.launches(question)
        except NotOnDevice as refused:
            yield engine, str(refused)
        else:
            yield engine, None
