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
    """What the stream had to get done when the event was recorded: tasks of a batch, by number."""

    batch: int
    after: tuple[int, ...]


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
        self._event = Event(streams.batch, ())

    def launch(self, task: Task) -> None:
        """Queue a task behind those that were launched here before."""
        streams, number = self._streams, len(self._streams.queued)
        host_cycle = (number + 1) * streams.host_launch_cycles
        streams.queued.append((task, self.record().after, host_cycle))
        self._event = Event(streams.batch, (number,))

    def record(self) -> Event:
        """Return the event that all that was launched here so far, or waited for, has ended."""
        if self._event.batch != self._streams.batch:  # those ran to their ends
            self._event = Event(self._streams.batch, ())
        return self._event

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
        if event.batch == self._streams.batch:
            self._event = Event(event.batch, tuple(sorted({*self.record().after, *event.after})))

    def __repr__(self) -> str:
        """Print the number."""
        return f"Stream({self.number})"
