"""Streams with jumps: labels, switches and gotos that the task scheduler of the chip follows by itself.

Words of the runtime (CANN): a label marks a place in a stream; a goto goes on there; a switch reads a word of
device memory and goes on at the label with that number. The host sends the stream once, whatever it does.

Model: tasks of a stream follow each other; a task of the scheduler takes what the platform assumes for it
(`label_cycles`, `label_goto_cycles`, `label_switch_cycles`), one of the AI CPU `aicpu_start_cycles` and the
time of its bytes, one of the host the way there and back with its bytes (`cpu_cycles`, `host_cycles`).
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from davinci_sim.errors import DavinciError

if TYPE_CHECKING:
    from davinci_sim.chip.chip import Chip
    from davinci_sim.chip.task import Task
    from davinci_sim.platforms import Platform

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "equal": operator.eq, "not_equal": operator.ne, "greater": operator.gt, "greater_equal": operator.ge,
    "less": operator.lt, "less_equal": operator.le,
}  # fmt: skip
"""What a stream switch compares by."""

SPAN_DTYPE = np.dtype([("task", "i4"), ("stream", "i4"), ("start", "i8"), ("end", "i8")])


def cpu_cycles(platform: Platform, nbytes: int) -> int:
    """Return what a task of the AI CPU takes: its start, and the time of the bytes that it touches.

    >>> from davinci_sim.platforms import platform
    >>> cpu_cycles(platform("ascend910a"), 8000)
    11000
    """
    return int(platform.aicpu_start_cycles) - (-nbytes // int(platform.aicpu_bytes_per_cycle))


def host_cycles(platform: Platform, nbytes: int) -> int:
    """Return what the way to the host and back takes: its bytes go over the link, and it sends what follows.

    Model: the stream stops, a thread of the host hears of it, inputs go up and results come down one after
    the other, and the host sends the next task. What it computes meanwhile takes no time.

    >>> from davinci_sim.platforms import platform
    >>> host_cycles(platform("ascend910a"), 8000)
    30400
    """
    sent = int(platform.host_sync_cycles) + int(platform.host_launch_cycles)
    return sent + link_cycles(platform, nbytes)


def link_cycles(platform: Platform, nbytes: int) -> int:
    """Return what the link between host and chip takes for some bytes."""
    return -(-nbytes // int(platform.host_link_bytes_per_cycle))


class StreamTask(Protocol):
    """What stands in a stream."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """What it is called in a timeline."""
        ...

    def run(self, chip: Chip) -> int | None:
        """Compute its data; return the label to go on at, None for the task behind it."""
        ...

    def cycles(self, chip: Chip) -> int:
        """Return how long it takes."""
        ...


@dataclass(frozen=True)
class KernelLaunch:
    """A kernel on the cores."""

    name: str
    task: Task
    kind: ClassVar[str] = "kernel"

    def run(self, chip: Chip) -> None:
        """Compute the kernel's data."""
        chip.run(self.task)

    def cycles(self, chip: Chip) -> int:
        """Return start and run time; L2 is left as the kernel leaves it."""
        return chip.cycles(self.task)


@dataclass(frozen=True)
class Copy:
    """A copy of `nbytes` from one place in device memory to another."""

    name: str
    dst: int
    src: int
    nbytes: int
    kind: ClassVar[str] = "memcpy"

    def run(self, chip: Chip) -> None:
        """Copy the bytes."""
        chip.copy(self.dst, self.src, self.nbytes)

    def cycles(self, chip: Chip) -> int:
        """Return the time of the copy engine."""
        return chip.copy_cycles(self.nbytes)


@dataclass(frozen=True)
class CpuTask:
    """An operator on the chip's AI CPU; `compute` reads and writes `nbytes` of device memory in all."""

    name: str
    compute: Callable[[], None]
    nbytes: int
    kind: ClassVar[str] = "aicpu"

    def run(self, chip: Chip) -> None:
        """Compute its data."""
        self.compute()

    def cycles(self, chip: Chip) -> int:
        """Return the start of the task and the time of its bytes."""
        return cpu_cycles(chip.platform, self.nbytes)


@dataclass(frozen=True)
class HostTask:
    """What the host does: the stream waits until `nbytes` in all have been there and back."""

    name: str
    compute: Callable[[], None]
    nbytes: int = 0
    kind: ClassVar[str] = "host"

    def run(self, chip: Chip) -> None:
        """Let the host compute."""
        self.compute()

    def cycles(self, chip: Chip) -> int:
        """Return the time until the host has sent what follows; its own work is not simulated."""
        return host_cycles(chip.platform, self.nbytes)


@dataclass(frozen=True)
class Label:
    """A place in the stream that a goto or a switch goes on at."""

    name: str
    number: int
    kind: ClassVar[str] = "label"

    def run(self, chip: Chip) -> None:
        """Go on."""

    def cycles(self, chip: Chip) -> int:
        """Return the assumed time of the scheduler."""
        return int(chip.platform.label_cycles)


@dataclass(frozen=True)
class LabelGoto:
    """Goes on at a label."""

    name: str
    label: int
    kind: ClassVar[str] = "label_goto"

    def run(self, chip: Chip) -> int:
        """Return the label."""
        return self.label

    def cycles(self, chip: Chip) -> int:
        """Return the assumed time of the scheduler."""
        return int(chip.platform.label_goto_cycles)


@dataclass(frozen=True)
class LabelSwitch:
    """Goes on at the label whose number is in the byte of device memory at `word`.

    Raises when it runs:
        DavinciError: there is no such label.
    """

    name: str
    word: int
    labels: tuple[int, ...]
    kind: ClassVar[str] = "label_switch"

    def run(self, chip: Chip) -> int:
        """Return the label that the word chooses."""
        index = int(chip.words(self.word, 1, np.uint8)[0])
        if index >= len(self.labels):
            raise DavinciError(
                f"label switch {self.name}: the word at {self.word} is {index}\n"
                f"  rule: it must be below {len(self.labels)}, the number of labels"
            )
        return self.labels[index]

    def cycles(self, chip: Chip) -> int:
        """Return the assumed time of the scheduler."""
        return int(chip.platform.label_switch_cycles)


@dataclass(frozen=True)
class StreamSwitch:
    """Goes on at the second of two labels if two words of device memory compare as asked, else at the first.

    The runtime's stream switch compares integers of 32 or 64 bits by itself, without the AI CPU. Model: it
    activates another stream there; here it goes on at a label, as the label switch does, for the same cost.
    """

    name: str
    words: tuple[int, int]
    dtype: str
    compare: str
    labels: tuple[int, ...]
    kind: ClassVar[str] = "stream_switch"

    def run(self, chip: Chip) -> int:
        """Return the label that the comparison chooses."""
        a, b = (chip.words(word, 1, self.dtype)[0] for word in self.words)
        return self.labels[bool(COMPARISONS[self.compare](a, b))]

    def cycles(self, chip: Chip) -> int:
        """Return the assumed time of the scheduler."""
        return int(chip.platform.label_switch_cycles)


@dataclass(frozen=True, eq=False)
class Timeline:
    """When each task of a run started and ended, and on which stream: `spans` has a row per task that ran."""

    tasks: tuple[StreamTask, ...]
    spans: npt.NDArray[np.void]
    clock_hz: float

    @property
    def cycles(self) -> int:
        """The end of the last task."""
        return int(self.spans["end"].max(initial=0))

    def runs(self, kind: str) -> int:
        """Return how many tasks of a kind ran, repetitions counted."""
        return sum(self.runs_by_name(kind).values())

    def runs_by_name(self, kind: str) -> dict[str, int]:
        """Return how often each task of a kind ran, in the order in which they stand in the stream."""
        ran = np.bincount(self.spans["task"], minlength=len(self.tasks)).tolist()
        return {
            task.name: runs for task, runs in zip(self.tasks, ran, strict=True) if task.kind == kind and runs
        }

    def text(self) -> str:
        """Print a line per task that ran: from when to when, on which stream, and what."""
        rows = ((self.tasks[int(row["task"])], row) for row in self.spans)
        lines = [
            f"{row['start']:>12,} {row['end']:>12,}  s{row['stream']} {task.kind:<12} {task.name}"
            for task, row in rows
        ]
        return "\n".join(lines) + "\n"

    def events(self) -> Iterator[dict[str, object]]:
        """Yield Chrome trace events, which Perfetto opens: a track per stream, and what ran on it."""
        us = 1e6 / self.clock_hz
        for stream in np.unique(self.spans["stream"]).tolist():
            named: dict[str, object] = {"name": f"stream {stream}"}
            yield {"name": "thread_name", "ph": "M", "pid": 0, "tid": stream, "args": named}
        for row in self.spans:
            task, start, end = self.tasks[int(row["task"])], int(row["start"]), int(row["end"])
            yield {
                "name": task.name, "cat": task.kind, "ph": "X", "pid": 0, "tid": int(row["stream"]),
                "ts": start * us, "dur": (end - start) * us,
            }  # fmt: skip


class Flow:
    """The tasks of one stream, jumps among them; the scheduler follows them without the host."""

    def __init__(self, chip: Chip, tasks: Sequence[StreamTask]) -> None:
        """Find the labels.

        Raises:
            DavinciError: a label stands at two places, or a jump goes to one that stands nowhere.
        """
        self.chip, self.tasks = chip, tuple(tasks)
        self.places: dict[int, int] = {}
        for place, task in enumerate(self.tasks):
            if isinstance(task, Label):
                if task.number in self.places:
                    raise DavinciError(
                        f"label {task.number} stands at tasks {self.places[task.number]} and {place}\n"
                        "  rule: a label stands at one place"
                    )
                self.places[task.number] = place
        for task in self.tasks:
            self._check_jump(task)

    def _check_jump(self, task: StreamTask) -> None:
        goals = task.labels if isinstance(task, LabelSwitch | StreamSwitch) else ()
        goals = (task.label,) if isinstance(task, LabelGoto) else goals
        for goal in goals:
            if goal not in self.places:
                raise DavinciError(
                    f"{task.kind} {task.name} goes to label {goal}, which stands nowhere\n"
                    f"  rule: a jump goes to a label of its stream: {sorted(self.places)}"
                )

    def run(self) -> npt.NDArray[np.int32]:
        """Compute the data of all tasks in the order that the labels give; return the tasks that ran."""
        path, place = array("i"), 0
        while place < len(self.tasks):
            path.append(place)
            label = self.tasks[place].run(self.chip)
            place = place + 1 if label is None else self.places[label]
        return np.frombuffer(path, dtype=np.int32) if path else np.zeros(0, np.int32)

    def first_ways(self) -> npt.NDArray[np.int32] | None:
        """Return the tasks that run when each switch goes on at the first of its labels in the stream.

        That is the first part of each branch. None when the way leads back: a loop takes as many turns as its
        data say.
        """
        path, place = array("i"), 0
        while place < len(self.tasks):
            path.append(place)
            task, before = self.tasks[place], place
            goals = task.labels if isinstance(task, LabelSwitch | StreamSwitch) else ()
            goals = (task.label,) if isinstance(task, LabelGoto) else goals
            place = min((self.places[goal] for goal in goals), default=place + 1)
            if place <= before:
                return None
        return np.frombuffer(path, dtype=np.int32) if path else np.zeros(0, np.int32)

    def straight(self) -> npt.NDArray[np.int32]:
        """Return all tasks in their order: what runs when nothing jumps."""
        return np.arange(len(self.tasks), dtype=np.int32)

    def timeline(
        self, path: npt.NDArray[np.int32], cycles: Sequence[int] | None = None, host_cycles: int = 0
    ) -> Timeline:
        """Return when the tasks of a run start and end; without `cycles`, L2 is left as they leave it.

        A task starts when the one before it has ended and, where the host sends each by itself, `host_cycles`
        after it sent the one before.
        """
        if cycles is None:
            cycles = [self.tasks[task].cycles(self.chip) for task in path]
        took = np.array(cycles, dtype=np.int64)
        done = np.cumsum(took)  # on a device that never waits
        sent = np.arange(1, len(path) + 1) * host_cycles
        waited = np.maximum.accumulate(sent - (done - took)) if len(path) else sent
        spans = np.zeros(len(path), dtype=SPAN_DTYPE)
        spans["task"], spans["end"] = path, done + np.maximum(waited, 0)
        spans["start"] = spans["end"] - took
        return Timeline(self.tasks, spans, float(self.chip.platform.clock_hz))
