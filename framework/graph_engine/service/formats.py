"""Formats: choose one for every value so that few bytes are converted, then insert the conversions.

Kernels of the cube and of pooling fix the formats of their tensors. Element-wise kernels take any, as long as
all their tensors have the same; variables may lie in memory as it suits their readers. These free choices
are made together, so that conversions move as few bytes as can be (`format_choice`). An input arrives as ND;
only where no kernel can convert it does the host lay it out while it uploads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from framework.graph_engine.data.graph import (
    AICORE,
    CONSTANT,
    HOST,
    INPUT,
    INTERMEDIATE,
    TRANS_DATA,
    VARIABLE,
    Graph,
    Node,
    Value,
)
from framework.graph_engine.data.operators import ANY, conversion, formats
from framework.graph_engine.data.storage import stored_bytes
from framework.graph_engine.service.adjacent import as_stored, formats_of
from framework.graph_engine.service.format_choice import Choice, Demand, Problem, choose
from framework.ir.types import TensorType

LAUNCH_BYTES = 1 << 20
"""What starting one more kernel is worth in bytes moved: about a microsecond at the memory's rate."""
HOST_BYTES = 1 << 32
"""What it is worth not to let the host lay out an input: more than any conversion on the device."""
HOST_CONVERSION_BYTES = 1 << 33
"""What it is worth not to let the host convert a value in the middle of a step: more than anything else."""
FORMATS_BY_RANK = {2: ("NZ",), 3: ("NZ",), 4: ("NC1HWC0", "FRACTAL_Z", "NZ")}
"""Beside ND."""
FEW_CHANNELS, MOST_CHANNELS = ("NC1HWC0_C04", "FRACTAL_Z_C04"), 4
"""Beside these, where a kernel asks for one of them and there are no more channels."""

RANK_OF_IMAGES = 4
FREE = (VARIABLE, INPUT)
"""Values whose format is chosen by itself."""


@dataclass(frozen=True)
class Wishes:
    """What every node asks of its values, and which group each free choice belongs to."""

    graph: Graph
    wanted: Mapping[str, Mapping[str, str]]
    """Node -> value -> format or ANY."""
    group: Mapping[str, str]
    """Flat node, input or variable -> its group."""

    def home(self, value: Value, choice: Choice, producer: Mapping[str, Node]) -> str:
        """Return the format in which a value comes to be; constants are laid out as their readers want."""
        if value.kind in FREE:
            return choice[self.group[value.name]]
        if value.name in producer:
            return self.at(producer[value.name], value.name, choice)
        return "ND"

    def at(self, node: Node, value: str, choice: Choice) -> str:
        """Return the format in which a node takes or gives a value."""
        wanted = self.wanted[node.name][value]
        return choice[self.group[node.name]] if wanted == ANY else wanted


def assign_formats(graph: Graph, free: bool = True) -> Graph:
    """Return the graph with a format at every value and conversion nodes where formats meet.

    Unless they are `free`, all values lie in ND, and every kernel that wants another format has it converted.
    """
    wishes = _wishes(graph)
    producer = {output: node for node in graph.nodes for output in node.outputs}
    problem = _problem(wishes)
    choice = choose(problem) if free else dict.fromkeys(problem.candidates, "ND")
    return _insert(wishes, choice, producer)


def _wishes(graph: Graph) -> Wishes:
    wanted = {node.name: _wanted(graph, node) for node in graph.nodes}
    group = {node.name: node.name for node in graph.nodes if ANY in wanted[node.name].values()}
    group |= {value.name: value.name for value in _free_values(graph)}
    producer = {output: node.name for node in graph.nodes for output in node.outputs}
    for value, variable in graph.updates.items():
        node = producer.get(value)
        if node in group:  # an update in place: the node and all its variables share one format
            joined, old = group[node], group[variable]
            group = {name: joined if at == old else at for name, at in group.items()}
    return Wishes(graph, wanted, group)


def _wanted(graph: Graph, node: Node) -> Mapping[str, str]:
    """Return the formats that a node asks for; joins and parts go by any in which parts lie in a row."""
    if formats_of(graph, node):
        return dict.fromkeys((*node.inputs, *node.outputs), ANY)
    return formats(graph, node)


def _free_values(graph: Graph) -> list[Value]:
    return [value for value in graph.values.values() if value.kind in FREE]


def _legal(value: Value, few: Collection[str]) -> set[str]:
    """Return the formats that a tensor of this shape can have; `few`: those of few channels in use."""
    shape = value.type.shape
    has_few = len(shape) == RANK_OF_IMAGES and shape[1] <= MOST_CHANNELS
    return {"ND", *FORMATS_BY_RANK.get(len(shape), ()), *(few if has_few else ())}


def _problem(wishes: Wishes) -> Problem:
    """Return what the choice of formats is about: groups, the values between them, and the host's work."""
    producer = {output: node for node in wishes.graph.nodes for output in node.outputs}
    readers: dict[str, list[str]] = {}
    for node in wishes.graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(_party(wishes, node, name))
    for name in wishes.graph.outputs:
        readers.setdefault(name, []).append("ND")
    for name, variable in wishes.graph.updates.items():  # it becomes the variable, in the format of that
        readers.setdefault(name, []).append(wishes.group[variable])
    demands = [
        Demand(_home(wishes, value, producer), tuple(dict.fromkeys(readers[name])), _cost_of(value))
        for name, value in wishes.graph.values.items()
        if name in readers and value.kind != CONSTANT
    ]
    prices = {wishes.group[value.name]: HOST_BYTES for value in wishes.graph.of_kind(INPUT)}
    return Problem(_candidates(wishes), demands, prices)


def _party(wishes: Wishes, node: Node, name: str) -> str:
    wanted = wishes.wanted[node.name][name]
    return wishes.group[node.name] if wanted == ANY else wanted


def _home(wishes: Wishes, value: Value, producer: Mapping[str, Node]) -> str:
    if value.kind in FREE:
        return wishes.group[value.name]
    return _party(wishes, producer[value.name], value.name) if value.name in producer else "ND"


def _cost_of(value: Value) -> Callable[[str, str], int]:
    """Return what converting a value costs in bytes, from one format to another."""
    return lambda source, target: _conversion_cost(value.type, source, target)


def _candidates(wishes: Wishes) -> dict[str, list[str]]:
    """Return, per group, the formats that all its full-sized tensors can have."""
    legal: dict[str, set[str]] = {}
    few = {wanted for each in wishes.wanted.values() for wanted in each.values()} & {*FEW_CHANNELS}
    for node in wishes.graph.nodes:
        own = formats_of(wishes.graph, node)
        for name, wanted in wishes.wanted[node.name].items():
            if wanted == ANY:
                group = wishes.group[node.name]
                allowed = _legal(wishes.graph.values[name], few)
                allowed &= {"ND", *own} if own else allowed
                legal[group] = legal.get(group, allowed) & allowed
    for value in _free_values(wishes.graph):
        group = wishes.group[value.name]
        legal[group] = legal.get(group, _legal(value, few)) & _legal(value, few)
    return {group: sorted(each) for group, each in legal.items()}


@lru_cache(maxsize=1 << 14)
def _conversion_cost(type_: TensorType, source: str, target: str) -> int:
    if conversion(type_, source, target) is None:
        return HOST_CONVERSION_BYTES
    return LAUNCH_BYTES + stored_bytes(type_, source) + stored_bytes(type_, target)


def _insert(wishes: Wishes, choice: Choice, producer: Mapping[str, Node]) -> Graph:
    """Return the graph with formats on its values and a conversion before the first reader that needs it."""
    graph = wishes.graph
    values = {n: replace(v, format=wishes.home(v, choice, producer)) for n, v in graph.values.items()}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(_converted(values, nodes, n, wishes.at(node, n, choice)) for n in node.inputs)
        nodes.append(_fitted(as_stored(replace(node, inputs=inputs), values), values))
    outputs = tuple(_converted(values, nodes, name, "ND") for name in graph.outputs)
    updates = {
        _converted(values, nodes, name, values[variable].format): variable
        for name, variable in graph.updates.items()
    }
    return replace(graph, outputs=outputs, updates=updates).with_nodes(tuple(nodes), values)


def _converted(values: dict[str, Value], nodes: list[Node], name: str, target: str) -> str:
    """Return the name of a value in the target format, adding the conversion if there is none yet."""
    value = values[name]
    if value.format == target:
        return name
    copy = f"{name}.{target}"
    if copy not in values:
        kind = CONSTANT if value.kind == CONSTANT else INTERMEDIATE
        values[copy] = replace(value, name=copy, format=target, kind=kind)
        if value.kind != CONSTANT:
            nodes.append(_conversion(value, values[copy]))
    return copy


def _conversion(source: Value, target: Value) -> Node:
    """Return the node that converts: a kernel where there is one, else the host, which is the last resort."""
    name = f"{TRANS_DATA}.{target.name}"
    formats = {"src_format": source.format, "dst_format": target.format}
    launch = conversion(source.type, source.format, target.format)
    if launch is None:
        reason = f"no kernel converts {source.type} from {source.format} to {target.format}"
        return Node(name, TRANS_DATA, (source.name,), (target.name,), formats, HOST, reason)
    return Node(name, TRANS_DATA, (source.name,), (target.name,), formats, AICORE, launches=(launch,))


def _fitted(node: Node, values: Mapping[str, Value]) -> Node:
    """Return a flat node with as many elements as its tensors have in their format."""
    if not any(launch.flat for launch in node.launches):
        return node
    elements = max(values[name].elements for name in (*node.inputs, *node.outputs))
    launches = tuple(replace(each, axes={**each.axes, "n": elements}) for each in node.launches)
    return replace(node, launches=launches)
