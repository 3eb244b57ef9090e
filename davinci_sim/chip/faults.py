"""What both engines say when programs cannot run to their end, in the same words."""

from collections.abc import Sequence

from davinci_sim.core.order import SET, deadlock, flag_of
from davinci_sim.core.program import Program
from davinci_sim.errors import DavinciError, IllegalInstruction


def set_twice(program: Program, record: int, cycle: int) -> DavinciError:
    """Build the error for a flag that is set while it is set."""
    return IllegalInstruction(
        f"{program.line(record)}\n"
        f"  rule: a flag must be waited for before it is set again (cycle {cycle})\n"
        "  next: wait for it in the destination pipe, or use another event id"
    )


def left_set(program: Program, flag: int, cycle: int) -> DavinciError:
    """Build the error for a flag that is still set when the program ends."""
    record = max(
        r
        for r in range(len(program))
        if int(program.words[r, 0]) & 255 == SET and flag_of(int(program.words[r, 1])) == flag
    )
    return IllegalInstruction(
        f"{program.line(record)}\n"
        f"  rule: set_flag and wait_flag must balance; nobody waits for this flag (cycle {cycle})\n"
        "  next: add the wait_flag, or close the queue at the end of the kernel"
    )


def stuck(program: Program, waiting: Sequence[int]) -> DavinciError:
    """Build the error for pipes that wait for flags that nobody sets."""
    return deadlock(program, sorted(waiting))
