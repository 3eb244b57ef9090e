"""Events between streams: as few as make every order that matters certain.

Tasks of a stream run in their order. A task that touches memory which an earlier one of another stream
touches, one of them writing, waits for an event that is recorded behind that one; except where it has waited
for something later already, on whatever way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from framework.graph_engine.data.tasks import TaskSpec
from framework.graph_engine.service.dependencies import Access

WORKSPACE = "workspace"
Numbers = np.ndarray[Any, np.dtype[np.int64]]
Waits = tuple[tuple[int, ...], ...]
"""For each task, by number, the earlier ones of other streams that it waits for."""


def at_addresses(mine: Sequence[Access], offsets: Mapping[str, int]) -> tuple[Access, ...]:
    """Return accesses in the workspace by where they lie there: blocks follow each other in one place."""
    return tuple(_at_address(access, offsets) for access in mine)


def _at_address(access: Access, offsets: Mapping[str, int]) -> Access:
    if access.home not in offsets:
        return access
    at = offsets[access.home]
    return Access(WORKSPACE, at + access.begin, at + access.end, access.writes)


def waits_of(streams: Sequence[int], touched: Sequence[Sequence[Access]]) -> Waits:
    """Return what each task has to wait for and does not know to have ended by anything else.

    A task knows that those before it on its stream have ended, and all that these or what it waits for have
    known. The newest is looked at first: what it knows of need not be waited for.
    """
    count = max(streams, default=0) + 1
    if count == 1:
        return ((),) * len(streams)
    known = np.full((len(streams), count), -1, dtype=np.int64)  # [task, stream] the newest that has ended
    latest = [-1] * count
    past = _Past(touched)
    found = []
    for number, stream in enumerate(streams):
        mine = known[number]
        if latest[stream] >= 0:
            mine[:] = known[latest[stream]]
            mine[stream] = latest[stream]
        waits = []
        for earlier in past.conflicts(touched[number]):
            if earlier > mine[streams[earlier]]:
                waits.append(earlier)
                np.maximum(mine, known[earlier], out=mine)
                mine[streams[earlier]] = earlier
        latest[stream] = number
        past.add(number, touched[number])
        found.append(tuple(sorted(waits)))
    return tuple(found)


class _Past:
    """All accesses so far, by place: column by column, for one comparison of all."""

    def __init__(self, touched: Sequence[Sequence[Access]]) -> None:
        """Have room for as many as there will be."""
        homes = dict.fromkeys(access.home for mine in touched for access in mine)
        self.places = {home: place for place, home in enumerate(homes)}
        self.rows = np.zeros((5, sum(map(len, touched))), dtype=np.int64)
        self.count = 0

    def conflicts(self, mine: Sequence[Access]) -> list[int]:
        """Return the tasks that one of these accesses conflicts with, the newest first."""
        task, home, begin, end, writes = self.rows[:, : self.count]
        found: set[int] = set()
        for access in mine:
            shares = (home == self.places[access.home]) & (begin < access.end) & (access.begin < end)
            if not access.writes:
                shares &= writes == 1
            found.update(task[shares].tolist())
        return sorted(found, reverse=True)

    def add(self, number: int, mine: Sequence[Access]) -> None:
        """Note what a task touches."""
        for access in mine:
            place = self.places[access.home]
            self.rows[:, self.count] = number, place, access.begin, access.end, access.writes
            self.count += 1


def with_events(tasks: Sequence[TaskSpec], waits: Waits) -> tuple[TaskSpec, ...]:
    """Return tasks with the events that they wait for and record, numbered in the order of recording."""
    recorded = sorted({earlier for each in waits for earlier in each})
    events = {number: event for event, number in enumerate(recorded)}
    return tuple(
        replace(task, waits=tuple(events[each] for each in waits[number]), records=events.get(number))
        for number, task in enumerate(tasks)
    )


def races(tasks: Sequence[TaskSpec], touched: Sequence[Sequence[Access]]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of tasks whose accesses conflict and that streams and events leave without an order.

    Looks at every pair, and knows nothing of how the events were chosen.
    """
    recorder = {task.records: number for number, task in enumerate(tasks) if task.records is not None}
    latest: dict[int, int] = {}
    before: list[int] = []  # [task] -> bit set of the tasks that have ended when it starts
    for number, task in enumerate(tasks):
        reached = [recorder[event] for event in task.waits if event in recorder]
        reached += [latest[task.stream]] if task.stream in latest else []
        ended = 0
        for earlier in reached:
            ended |= before[earlier] | 1 << earlier
        before.append(ended)
        latest[task.stream] = number
        for earlier in range(number):
            is_ordered = ended >> earlier & 1
            if not is_ordered and any(a.conflicts(b) for a in touched[number] for b in touched[earlier]):
                yield earlier, number
