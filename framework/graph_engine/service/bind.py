"""Tasks with addresses: what the task scheduler runs for each task of a compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from davinci_sim.chip import Chip
from davinci_sim.chip.collectives import CollectiveTask
from davinci_sim.chip.flow import (
    Copy,
    CpuTask,
    HostTask,
    KernelLaunch,
    Label,
    LabelGoto,
    LabelSwitch,
    StreamSwitch,
    StreamTask,
)
from davinci_sim.chip.task import Task
from davinci_sim.errors import DavinciError
from framework.graph_engine.data.graph import (
    ASSERT,
    GOTO,
    HOST_PART,
    LABEL,
    PICK,
    PUSH,
    SWITCH,
    TRANS_DATA,
    TURN,
    Node,
)
from framework.graph_engine.data.tasks import COLLECTIVE_TASK, COPY, CPU_TASK, GET, HOST_TASK, PUT, TaskSpec
from framework.host import compile_host
from framework.ir.evaluate import CheckFailed, placed
from framework.ir.nodes import Binding
from framework.ir.registry import operator
from framework.parallel.communicator import called

if TYPE_CHECKING:
    from framework.graph_engine.service.load import LoadedGraph


class RoomFull(Exception):
    """A loop keeps values of more turns than there is room for: the graph is loaded anew with more."""


@dataclass(frozen=True)
class QueueCopy:
    """A copy from or to the queue of a value, at the place of the step."""

    name: str
    loaded: LoadedGraph
    value: str
    is_input: bool
    kind: ClassVar[str] = "memcpy"

    @property
    def nbytes(self) -> int:
        """Return the bytes of the value."""
        return self.loaded.graph.values[self.value].nbytes

    def run(self, chip: Chip) -> None:
        """Copy the value of this step."""
        slot = self.loaded.queues[self.value] + self.loaded.step * self.nbytes
        home = self.loaded.handles[self.value]
        chip.copy(*((home, slot) if self.is_input else (slot, home)), self.nbytes)

    def cycles(self, chip: Chip) -> int:
        """Return the time of the copy engine."""
        return chip.copy_cycles(self.nbytes)


@dataclass(frozen=True)
class TurnCopy:
    """A copy whose address depends on the turn of a loop: one place of a room, from or to a value.

    `turn` and `turns` are where these words lie; a room of no turns is zeros.
    """

    name: str
    place: int
    value: int
    nbytes: int
    turn: int
    turns: int | None
    room: int
    kind: ClassVar[str] = "memcpy_addr"

    def run(self, chip: Chip) -> None:
        """Copy the value of this turn.

        Raises:
            RoomFull: there is no place for it.
        """
        turn = int(chip.words(self.turn, 1, TURN)[0])
        if self.turns is None:
            if turn >= self.room:
                raise RoomFull
            chip.copy(self.place + turn * self.nbytes, self.value, self.nbytes)
        elif chip.words(self.turns, 1, TURN)[0] == 0:
            chip.words(self.value, self.nbytes, np.uint8)[:] = 0
        else:
            chip.copy(self.value, self.place + turn * self.nbytes, self.nbytes)

    def cycles(self, chip: Chip) -> int:
        """Return the time of the copy engine."""
        return chip.copy_cycles(self.nbytes)


@dataclass(frozen=True)
class Assertion:
    """Stops the stream with an error when a word is zero."""

    name: str
    word: int
    fail: Callable[[], None]
    kind: ClassVar[str] = "assert"

    def run(self, chip: Chip) -> None:
        """Look at the word."""
        if not chip.words(self.word, 1, np.uint8)[0]:
            self.fail()

    def cycles(self, chip: Chip) -> int:
        """Return the time of a task that reads one word."""
        return int(chip.platform.label_switch_cycles)


def bound(spec: TaskSpec, handles: Mapping[str, int], loaded: LoadedGraph, task: Task | None) -> StreamTask:
    """Return what runs for a task whose operands lie at these handles."""
    node = spec.node
    if task is not None:
        return KernelLaunch(spec.name, task)
    if spec.kind in (GET, PUT):
        return QueueCopy(
            spec.name, loaded, spec.operands["dst" if spec.kind == GET else "src"], spec.kind == GET
        )
    if spec.kind == COPY:
        nbytes = loaded.graph.values[spec.operands["src"]].nbytes
        return Copy(spec.name, handles["dst"], handles["src"], nbytes)
    assert node is not None
    if spec.kind == HOST_TASK:
        part = _host_part(loaded, node) if node.op == HOST_PART else _operator(loaded, node)
        return HostTask(spec.name, part, loaded.graph.bytes_of(node))
    if spec.kind == CPU_TASK:
        return CpuTask(spec.name, _operator(loaded, node), loaded.graph.bytes_of(node))
    if spec.kind == COLLECTIVE_TASK:
        nbytes = loaded.graph.moved_bytes(node)
        return CollectiveTask(spec.name, _meeting(loaded, node), node.op, nbytes, node.ranks)
    return _of_the_scheduler(spec, node, handles, loaded)


def _of_the_scheduler(
    spec: TaskSpec, node: Node, handles: Mapping[str, int], loaded: LoadedGraph
) -> StreamTask:
    """Return a label, a jump, a copy to a place of a turn, or an assertion."""
    values = loaded.graph.values
    if node.op == LABEL:
        return Label(f"{spec.name} {node.attrs['place']}", *node.labels)
    if node.op == GOTO:
        return LabelGoto(spec.name, *node.labels)
    if node.op == SWITCH:
        return _switch(spec, node, handles, loaded)
    if node.op == PUSH:
        nbytes, room = values[node.inputs[0]].nbytes, int(node.attrs["room"])
        return TurnCopy(spec.name, handles["out0"], handles["in0"], nbytes, handles["in1"], None, room)
    if node.op == PICK:
        nbytes = values[node.outputs[0]].nbytes
        return TurnCopy(spec.name, handles["in0"], handles["out0"], nbytes, handles["in1"], handles["in2"], 0)
    assert node.op == ASSERT
    return Assertion(spec.name, handles["in0"], lambda: _fail(loaded, node))


def _switch(spec: TaskSpec, node: Node, handles: Mapping[str, int], loaded: LoadedGraph) -> StreamTask:
    if "compare" not in node.attrs:
        return LabelSwitch(spec.name, handles["in0"], node.labels)
    dtype = loaded.graph.values[node.inputs[0]].type.dtype.name
    words = (handles["in0"], handles["in1"])
    return StreamSwitch(spec.name, words, dtype, str(node.attrs["compare"]), node.labels)


def _fail(loaded: LoadedGraph, node: Node) -> None:
    shown = [loaded.read(name) for name in node.inputs[1:]]
    raise CheckFailed(str(node.attrs["message"]).format(*shown) + _line(node))


def _line(node: Node) -> str:
    return placed(Binding((), node.op, (), {}, node.source))


def _operator(loaded: LoadedGraph, node: Node) -> Callable[[], None]:
    """Return what computes an operator in NumPy: reads its inputs, writes its outputs, formats undone."""
    evaluate = None if node.op == TRANS_DATA else operator(node.op)

    def compute() -> None:
        arrays = [loaded.read(name) for name in node.inputs]
        try:
            results = arrays if evaluate is None else evaluate.run(arrays, node.attrs)
        except DavinciError as error:
            raise type(error)(f"{error}{_line(node)}") from None
        for name, array in zip(node.outputs, results, strict=True):
            loaded.write(name, array)

    return compute


def _meeting(loaded: LoadedGraph, node: Node) -> Callable[[], None]:
    """Return what computes a collective: it meets that of the same node on the chips of others."""
    compute = _operator(loaded, node)

    def meet() -> None:
        with called(f" as {node.name} of {loaded.graph.name} on a device"):
            compute()

    return meet


def _host_part(loaded: LoadedGraph, node: Node) -> Callable[[], None]:
    """Return what runs a Func on the host; what is no tensor stays there until another part takes it."""
    func: Any = node.attrs["func"]
    run = compile_host(func)

    def compute() -> None:
        found = run(
            [loaded.kept.get(name) if name in loaded.kept else loaded.read(name) for name in node.inputs]
        )
        for name, each in zip(node.outputs, found, strict=True):
            if name in loaded.graph.values:
                loaded.write(name, each)
            else:
                loaded.kept[name] = each

    return compute
