"""A launch: programs that the task scheduler gives to the cores, and what they have to wait for."""

from collections.abc import Sequence
from dataclasses import dataclass

from davinci_sim.core.program import Program
from davinci_sim.errors import DavinciError


@dataclass(frozen=True)
class Launch:
    """One task on its way to the cores: a program per block.

    It may start when the host has sent it (`host_cycle`) and the launches numbered `after` have ended;
    `start_cycles` later its first block stands in line for a core, and another one every `block_cycles`.
    Each core runs one block at a time.
    """

    programs: tuple[Program, ...]
    start_cycles: int = 0
    block_cycles: int = 0
    after: tuple[int, ...] = ()
    host_cycle: int = 0


def check_order(launches: Sequence[Launch]) -> None:
    """Refuse a launch that waits for itself or for a later one: nothing could ever start.

    Raises:
        DavinciError: naming the launch.
    """
    for number, launch in enumerate(launches):
        for earlier in launch.after:
            if not 0 <= earlier < number:
                raise DavinciError(
                    f"launch {number} waits for launch {earlier}\n"
                    f"  rule: a launch waits for earlier ones, numbered 0 to {number - 1}\n"
                    "  next: record the event before the launch that waits for it"
                )
