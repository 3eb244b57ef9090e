"""Tasks before they are bound to addresses: what runs, on which values, on which stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from framework.graph_engine.data.graph import Node
from kernels.lang.shapes import Shape, Tiling

GET, KERNEL, HOST_TASK, COPY, PUT = "get_next", "kernel", "host", "memcpy", "put_result"
CPU_TASK, COMPARING = "aicpu", "stream_switch"
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
    stream: int = 0

    def text(self) -> str:
        """Print like a line of a disassembly."""
        named = " ".join(f"{operand}=%{value}" for operand, value in self.operands.items())
        what = f"{self.kernel} <{self.shape}> [{self.tiling}] x{self.blocks}" if self.kernel else ""
        labels = self.node.attrs.get("labels", ()) if self.node is not None else ()
        goals = " ".join(f"L{label}" for label in labels)
        compare = "" if self.node is None else str(self.node.attrs.get("compare", ""))
        parts = (f"s{self.stream} {self.kind:<12} {self.name:<34}", what, compare, goals, named)
        return " ".join(part for part in parts if part).rstrip()
