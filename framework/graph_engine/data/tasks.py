"""Tasks before they are bound to addresses: what runs, on which values, on which stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framework.graph_engine.data.graph import Node
from kernels.lang.shapes import Shape, Tiling

GET, KERNEL, HOST_TASK, COPY, PUT = "get_next", "kernel", "host", "memcpy", "put_result"
CPU_TASK, COMPARING, COLLECTIVE_TASK = "aicpu", "stream_switch", "collective"
"""Kinds of tasks; those of the task scheduler are called as their nodes."""


@dataclass(frozen=True)
class TaskSpec:
    """One task before it is bound to addresses: what runs, on which values."""

    kind: str
    name: str
    node: Node | None
    operands: Mapping[str, str]
    """Operand of the kernel (or `src`, `dst`) -> value."""
    kernel: str = ""
    shape: Shape | None = None
    tiling: Tiling | None = None
    blocks: int = 0
    group: int = 0
    """Tasks of a group run side by side; groups follow each other."""
    stream: int = 0
    waits: tuple[int, ...] = ()
    """Events of other streams that have to happen before it starts."""
    records: int | None = None
    """The event that it has ended, if somebody waits for that."""

    def lines(self, number: int) -> list[str]:
        """Print the task with its number, and what its stream waits for and records."""
        around = [[f"wait         e{event}" for event in self.waits], []]
        if self.records is not None:
            around[1].append(f"record       e{self.records}")
        before, behind = ([f"      s{self.stream} {line}" for line in lines] for lines in around)
        return [*before, f"{number:4d}  {self.text()}", *behind]

    def text(self) -> str:
        """Print like a line of a disassembly."""
        named = " ".join(f"{operand}=%{value}" for operand, value in self.operands.items())
        what = f"{self.kernel} <{self.shape}> [{self.tiling}] x{self.blocks}" if self.kernel else ""
        labels = self.node.attrs.get("labels", ()) if self.node is not None else ()
        goals = " ".join(f"L{label}" for label in labels)
        compare = "" if self.node is None else str(self.node.attrs.get("compare", ""))
        company = "" if self.node is None else self.node.company
        parts = (f"s{self.stream} {self.kind:<12} {self.name:<34}", what, company, compare, goals, named)
        return " ".join(part for part in parts if part).rstrip()


def order_within(group: Sequence[TaskSpec]) -> tuple[tuple[int, ...], ...]:
    """Return what each task of a group waits for in it, by place: its stream, and events."""
    recorder = {task.records: place for place, task in enumerate(group) if task.records is not None}
    latest: dict[int, int] = {}
    found = []
    for place, task in enumerate(group):
        waits = {recorder[event] for event in task.waits if event in recorder}
        if task.stream in latest:
            waits.add(latest[task.stream])
        latest[task.stream] = place
        found.append(tuple(sorted(waits)))
    return tuple(found)
