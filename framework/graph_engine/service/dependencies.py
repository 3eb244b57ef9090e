"""What tasks read and write, and which of them therefore have to wait for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from framework.graph_engine.data.graph import Graph
from framework.graph_engine.data.operators import kernel
from framework.graph_engine.data.tasks import COLLECTIVE_TASK, COPY, CPU_TASK, GET, KERNEL, PUT, TaskSpec

ORDER = "order"
"""What every task reads and a jump, a label or a task of the host writes: nothing passes these."""
MOVABLE = (COLLECTIVE_TASK, COPY, CPU_TASK, GET, KERNEL, PUT)
LINKS = "links"
"""What every collective writes: they use the same links, and meet those of other ranks in one order."""
READS = ("src", "in")
"""What the operands are called that a task reads which is no kernel; it writes the others."""
Depends = tuple[frozenset[int], ...]
"""For each task, by number, the earlier ones whose end it needs."""


class Access(NamedTuple):
    """Bytes `begin` to `end` of the memory of a value, read or written."""

    home: str
    begin: int
    end: int
    writes: bool

    def conflicts(self, other: Access) -> bool:
        """Tell whether the order of two accesses matters: they share bytes, and one of them writes."""
        shares = self.home == other.home and self.begin < other.end and other.begin < self.end
        return shares and (self.writes or other.writes)


def accesses(task: TaskSpec, graph: Graph, homes: Mapping[str, str]) -> tuple[Access, ...]:
    """Return what a task touches; views and new values of variables lie in the memory of others."""
    written = _written(task)
    found = [Access(ORDER, 0, 1, task.kind not in MOVABLE)]
    if task.kind == COLLECTIVE_TASK:
        found.append(Access(LINKS, 0, 1, writes=True))
    for operand, name in task.operands.items():
        value = graph.values[name]
        begin = value.offset_bytes if value.whole else 0
        found.append(Access(homes.get(name, name), begin, begin + value.nbytes, operand in written))
    return tuple(found)


def _written(task: TaskSpec) -> frozenset[str]:
    if task.kind == KERNEL and task.shape is not None:
        return frozenset(each.name for each in kernel(task.kernel).operands(task.shape) if each.is_output)
    return frozenset(operand for operand in task.operands if not operand.startswith(READS))


def dependencies(touched: Sequence[Sequence[Access]]) -> Depends:
    """Return the direct dependencies: who wrote what a task reads, who touched what it writes.

    An access that covers an earlier one stands for it, so that the tasks found are the newest ones only.
    """
    written: dict[str, list[tuple[int, Access]]] = {}
    read: dict[str, list[tuple[int, Access]]] = {}
    found = []
    for number, mine in enumerate(touched):
        earlier = {n for a in mine for n, b in written.get(a.home, ()) if a.conflicts(b)}
        earlier |= {n for a in mine if a.writes for n, b in read.get(a.home, ()) if a.conflicts(b)}
        found.append(frozenset(earlier))
        for access, newest in ((a, newest) for a in mine if a.writes for newest in (written, read)):
            known = newest.setdefault(access.home, [])
            known[:] = [(n, each) for n, each in known if not _covers(access, each)]
        for access in mine:
            (written if access.writes else read).setdefault(access.home, []).append((number, access))
    return tuple(found)


def _covers(access: Access, older: Access) -> bool:
    """Tell whether who waits for the newer access, which writes, has waited for the older one, too."""
    return access.begin <= older.begin and older.end <= access.end
