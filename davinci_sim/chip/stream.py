"""Streams and events: tasks in order within a stream, side by side across streams.

Words of the runtime (CANN): a stream is a queue of tasks, an event is a point in one stream that another
may wait for. The host sends one task after the other and does not wait for them.
"""

from dataclasses import dataclass, field

from davinci_sim.chip.task import Task
from davinci_sim.errors import DavinciError

Queued = tuple[Task, tuple[int, ...], int]


@dataclass(frozen=True)
class Event:
    """What had been launched into a stream when the event was recorded; `after` is None for nothing."""

    batch: int
    after: int | None


@dataclass
class Streams:
    """What was launched on a chip and has not run yet."""

    host_launch_cycles: int
    queued: list[Queued] = field(default_factory=list)
    batch: int = 0
    count: int = 0

    def new(self) -> "Stream":
        """Return a stream with nothing in it."""
        self.count += 1
        return Stream(self, self.count)

    def take(self) -> list[Queued]:
        """Return what is queued, and begin anew; events recorded so far have happened."""
        queued, self.queued, self.batch = self.queued, [], self.batch + 1
        return queued


class Stream:
    """A queue of tasks; `Chip.stream()` makes one, `Chip.synchronize()` runs them all."""

    def __init__(self, streams: Streams, number: int) -> None:
        """Belong to a chip's streams."""
        self._streams, self.number = streams, number
        self._last = Event(streams.batch, None)
        self._waits: set[int] = set()

    def launch(self, task: Task) -> None:
        """Queue a task behind those that were launched here before."""
        streams = self._streams
        after = set(self._waits)
        if self._last.batch == streams.batch and self._last.after is not None:
            after.add(self._last.after)
        self._last, self._waits = Event(streams.batch, len(streams.queued)), set()
        host_cycle = (len(streams.queued) + 1) * streams.host_launch_cycles
        streams.queued.append((task, tuple(sorted(after)), host_cycle))

    def record(self) -> Event:
        """Return the event that all that was launched here so far has ended."""
        return self._last

    def wait(self, event: Event) -> None:
        """Let what is launched here from now on start only after the event.

        Raises:
            DavinciError: the event lies in the future.
        """
        if event.batch > self._streams.batch:
            raise DavinciError(
                f"stream {self.number}: the event belongs to batch {event.batch}, the chip is at "
                f"{self._streams.batch}\n  rule: an event is waited for on the chip that recorded it"
            )
        if event.batch == self._streams.batch and event.after is not None:
            self._waits.add(event.after)

    def __repr__(self) -> str:
        """Print the number."""
        return f"Stream({self.number})"
