"""The graph store: what every step of the engine takes and returns, immutable."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from framework.graph_engine.data.storage import stored_bytes
from framework.ir.nodes import SourceLine
from framework.ir.types import TensorType
from framework.ops.lowering import Launch

INPUT, VARIABLE, CONSTANT, INTERMEDIATE = "input", "variable", "constant", "intermediate"
AICORE, HOST, VIEW, AICPU, RTS = "aicore", "host", "view", "aicpu", "rts"
COLLECTIVE = "collective"
"""Where nodes run; rts is the runtime's task scheduler, which copies and jumps, collective the links."""
TRANS_DATA = "trans_data"
"""The operator that copies a value into another format; the engine inserts it."""

MEMCPY, PUSH, PICK = "memcpy", "push", "pick"
LABEL, GOTO, SWITCH = "label", "label_goto", "label_switch"
ASSERT, HOST_PART = "assert", "host_part"
TURN = np.int32
"""What counts turns of loops that keep values: the cores count, in 32 bits, and rooms have fewer places."""
FLOW = (MEMCPY, PUSH, PICK, LABEL, GOTO, SWITCH, ASSERT, HOST_PART)
"""Nodes that are no operators of the framework.

memcpy(value) -> copy. push(value, turn) -> room: writes one of the values that a loop keeps.
pick(room, turn, turns) -> value: reads one, zeros if there are no turns. label, label_goto and
label_switch(truth) have labels, by number, as attributes. assert(truth, shown ...) stops the stream.
host_part(values) -> values: a Func that the device cannot run.
"""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: its type, its format on the device, and where it comes from."""

    name: str
    type: TensorType
    kind: str = INTERMEDIATE
    format: str = "ND"
    data: np.ndarray[Any, Any] | None = field(default=None, compare=False)
    whole: str = ""
    """The value that it is a part of, if any;"""
    offset_bytes: int = 0
    """and where in it."""

    @property
    def nbytes(self) -> int:
        """Bytes on the device, padding of the format included."""
        return stored_bytes(self.type, self.format)

    @property
    def elements(self) -> int:
        """Elements on the device, padding of the format included."""
        return self.nbytes // self.type.dtype.itemsize_bytes

    def __str__(self) -> str:
        """Print as `name: type @ format`."""
        return f"%{self.name}: {self.type} @{self.format}"


@dataclass(frozen=True)
class Node:
    """An operator of the graph: where it runs and, on the AI cores, as which kernels."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    engine: str = ""
    reason: str = ""
    """Why it is not for the AI cores,"""
    costs: str = ""
    """and what it would take on each of the engines that are left."""
    launches: tuple[Launch, ...] = ()
    source: SourceLine | None = None
    fused: tuple[str, ...] = ()
    """The operators that it stands for, if they are more than its own."""

    @property
    def labels(self) -> tuple[int, ...]:
        """The numbers of a label, or of those that a jump goes to."""
        found: tuple[int, ...] = self.attrs.get("labels", ())
        return found

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators that it computes."""
        return self.fused or (self.op,)

    @property
    def why(self) -> str:
        """Say why it is not on the AI cores, and what others take for it."""
        return "; ".join(each for each in (self.reason, self.costs) if each)

    @property
    def ranks(self) -> int:
        """How many take part in a collective, 1 for what computes by itself."""
        ranks = self.attrs.get("ranks", 1)
        return ranks if isinstance(ranks, int) else 1

    @property
    def company(self) -> str:
        """Say who takes part in a collective, and what becomes of their data."""
        if self.engine != COLLECTIVE:
            return ""
        reduction = f"{self.attrs['op']} of " if "op" in self.attrs else ""
        return f"{reduction}{self.ranks} ranks"

    def value(self, reference: str) -> str:
        """Return the name of the value that `in0` or `out0` refers to."""
        if reference.startswith("in"):
            return self.inputs[int(reference[2:])]
        return self.outputs[int(reference[3:])]


@dataclass(frozen=True)
class Graph:
    """Nodes in order of execution, the values between them, and which outputs renew which variables."""

    name: str
    values: Mapping[str, Value]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    updates: Mapping[str, str]
    """Value -> the variable whose new content it is."""
    counts: tuple[str, ...] = ()
    """Inputs that must fit 32 bits in a run: what counts by them is stored so."""
    notes: tuple[str, ...] = ()
    """What the passes have to tell about their decisions."""

    def bytes_of(self, node: Node) -> int:
        """Return the bytes of what a node reads and writes in device memory."""
        names = (name for name in (*node.inputs, *node.outputs) if name in self.values)
        return sum(self.values[name].nbytes for name in names)

    def moved_bytes(self, node: Node) -> int:
        """Return what a collective is about: the larger of what it takes and gives."""
        return max(self.values[name].nbytes for name in (*node.inputs, *node.outputs))

    @property
    def is_straight(self) -> bool:
        """Tell whether every node runs once, in order."""
        return not any(node.op in FLOW for node in self.nodes)

    @cached_property
    def rooms(self) -> frozenset[str]:
        """The rooms in which loops keep values, wherever they are copied."""
        found = {name for node in self.nodes if node.op == PUSH for name in node.outputs}
        found |= {node.inputs[0] for node in self.nodes if node.op == PICK}
        copies = [{*node.inputs, *node.outputs} for node in self.nodes if node.op == MEMCPY] if found else []
        count = -1
        while count < len(found):
            count = len(found)
            found |= {name for names in copies if names & found for name in names}
        return frozenset(found)

    def of_kind(self, kind: str) -> Iterator[Value]:
        """Yield the values of a kind."""
        return (value for value in self.values.values() if value.kind == kind)

    def with_nodes(self, nodes: tuple[Node, ...], values: Mapping[str, Value] | None = None) -> Graph:
        """Return the graph with other nodes and values; values that nothing names any more are dropped."""
        table = self.values if values is None else values
        used = {name for node in nodes for name in (*node.inputs, *node.outputs)}
        used |= {*self.inputs, *self.outputs, *self.updates, *self.updates.values()}
        kept = {name: value for name, value in table.items() if name in used}
        return replace(self, nodes=nodes, values=kept)

    def with_notes(self, notes: Iterable[str]) -> Graph:
        """Return the graph with other notes."""
        return replace(self, notes=tuple(notes))

    def text(self) -> str:
        """Print the graph, one node a line, and what was decided about it."""
        lines = [f"graph {self.name}"]
        lines += [f"  {v.kind:<9} {v}" for v in self.values.values() if v.kind != INTERMEDIATE]
        lines += [f"  {_line(self, node)}" for node in self.nodes]
        lines += [f"  update    %{variable} <- %{value}" for value, variable in self.updates.items()]
        lines += [f"  return {', '.join(f'%{name}' for name in self.outputs)}"]
        return "\n".join([*lines, *(f"  note      {note}" for note in self.notes)]) + "\n"


def free_name(wanted: str, taken: Container[str]) -> str:
    """Return a name that is not taken: the wanted one, or that with a number.

    >>> free_name("x", {"x", "x.1"})
    'x.2'
    """
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}.{count}"
    return name


def _line(graph: Graph, node: Node) -> str:
    outputs = ", ".join(str(graph.values[name]) for name in node.outputs)
    inputs = ", ".join(f"%{name}" for name in node.inputs)
    kernels = "+".join(launch.kernel for launch in node.launches) or node.company
    where = f"  [{node.engine}{': ' + kernels if kernels else ''}{': ' + node.why if node.why else ''}]"
    return f"{outputs} = {node.op}({inputs}){where if node.engine else ''}"
