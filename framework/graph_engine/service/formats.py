"""Formats: choose one for every value so that few bytes are converted, then insert the conversions.

Kernels of the cube and of pooling fix the formats of their tensors. Element-wise kernels take any, as long as
all their tensors have the same; variables may lie in memory as it suits their readers, and so may what goes
into branches and loops and comes out of them. These free choices are made together, so that conversions move
as few bytes as can be (`format_choice`); in loops each counts as often as it is made. An input arrives as ND;
only where no kernel can convert it does the host lay it out while it uploads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import CONSTANT, INPUT, Graph, Value
from framework.graph_engine.data.operators import conversion
from framework.graph_engine.data.storage import PLAIN, stored_bytes
from framework.graph_engine.service.adjacent import formats_of
from framework.graph_engine.service.conversions import converted
from framework.graph_engine.service.flow_blocks import Blocks, Need
from framework.graph_engine.service.format_choice import Demand, Problem, choose
from framework.graph_engine.service.wishes import Wishes, wishes_of
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


def assign_formats(graph: Graph, platform: Platform, free: bool = True) -> Graph:
    """Return the graph with a format at every value and conversion nodes where formats meet.

    Unless they are `free`, all values lie in ND, and every kernel that wants another format has it converted.
    """
    wishes, blocks = wishes_of(graph), Blocks(graph)
    problem = _problem(wishes, blocks, platform)
    choice = choose(problem) if free else dict.fromkeys(problem.candidates, PLAIN)
    return converted(wishes, blocks, choice, platform)


def _problem(wishes: Wishes, blocks: Blocks, platform: Platform) -> Problem:
    """Return what the choice of formats is about: groups, the values between them, and the host's work."""
    prices = {wishes.group[value.name]: HOST_BYTES for value in wishes.graph.of_kind(INPUT)}
    return Problem(_candidates(wishes), list(_demands(wishes, blocks, platform)), prices)


def _demands(wishes: Wishes, blocks: Blocks, platform: Platform) -> Iterator[Demand]:
    """Yield what is asked of every value as it came to be in one place, weighed by its turns."""
    graph = wishes.graph
    readers: dict[tuple[str, Need], list[str]] = {}
    for name, position, party in _reads(wishes):
        if graph.values[name].kind != CONSTANT:  # constants are laid out as their readers want
            readers.setdefault((name, blocks.need(name, position)), []).append(party)
    for (name, need), parties in readers.items():
        cost = _cost_of(graph.values[name], need.turns, platform)
        yield Demand(wishes.home(name), tuple(dict.fromkeys(parties)), cost)


def _reads(wishes: Wishes) -> Iterator[tuple[str, int, str]]:
    """Yield every value that is read, with the position of who does and the party whose format is wanted."""
    graph = wishes.graph
    for position, node in enumerate(graph.nodes):
        for name in node.inputs:
            if name in graph.values:
                yield name, position, wishes.of(node, name)
    for name in graph.outputs:
        yield name, len(graph.nodes), PLAIN
    for name, variable in graph.updates.items():  # it becomes the variable, in the format of that
        yield name, len(graph.nodes), wishes.group[variable]


def _candidates(wishes: Wishes) -> dict[str, list[str]]:
    """Return, per group, the formats that all its full-sized tensors can have."""
    legal = {group: {PLAIN} for group in wishes.group.values()}
    few = {wanted for each in wishes.wanted.values() for wanted in each.values()} & {*FEW_CHANNELS}
    tensors: dict[str, list[Value]] = {}
    for group, value in wishes.free():
        tensors.setdefault(group, []).append(value)
    legal |= {group: set.intersection(*(_legal(e, few) for e in each)) for group, each in tensors.items()}
    for node in wishes.graph.nodes:
        if in_a_row := formats_of(wishes.graph, node):
            legal[wishes.choice_of(node)] &= {PLAIN, *in_a_row}
    return {group: sorted(each) for group, each in legal.items()}


def _legal(value: Value, few: Collection[str]) -> set[str]:
    """Return the formats that a tensor of this shape can have; `few`: those of few channels in use."""
    shape = value.type.shape
    has_few = len(shape) == RANK_OF_IMAGES and shape[1] <= MOST_CHANNELS
    return {PLAIN, *FORMATS_BY_RANK.get(len(shape), ()), *(few if has_few else ())}


def _cost_of(value: Value, turns: int, platform: Platform) -> Callable[[str, str], int]:
    """Return what converting a value so often costs in bytes, from one format to another."""
    return lambda source, target: turns * _conversion_cost(value.type, source, target, platform)


@lru_cache(maxsize=1 << 14)
def _conversion_cost(type_: TensorType, source: str, target: str, platform: Platform) -> int:
    if conversion(type_, source, target, platform) is None:
        return HOST_CONVERSION_BYTES
    return LAUNCH_BYTES + stored_bytes(type_, source) + stored_bytes(type_, target)
