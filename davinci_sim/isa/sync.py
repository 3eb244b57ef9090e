"""Hand-offs between the pipes of one core."""

from typing import Any, ClassVar

from davinci_sim.isa.fields import Declaration, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs, Memory

NO_DTYPE = ("int32",)
"""Hand-offs move no data; the element type of their records means nothing."""


@inner
def _one_slot(i: Any, costs: Costs) -> int:
    """Take one issue slot of the pipe."""
    return 1


@inner
def _nothing(i: Any) -> tuple[()]:
    """Touch no memory."""
    return ()


@inner
def _no_data(i: Any, memory: Memory) -> None:
    """Move no data."""


class HandOff(Declaration):
    """Operands of the flags: from pipe `src` to pipe `dst`."""

    src = Size(6, low=1)
    dst = Size(6, low=1)
    event_id = Size(7)
    refuse: ClassVar[dict[str, str]] = {
        "src == dst": (
            "src and dst must be two pipes; within one pipe, pipe_barrier waits for what is written"
        ),
        "event_id >= state[EVENT_IDS]": (
            "event_id must be below {event_ids}, the event ids of a pipe pair here"
        ),
    }

    cycles = _one_slot
    accesses = _nothing
    execute = _no_data


@instruction("src", NO_DTYPE)
class set_flag(HandOff):
    """Set flag (src, dst, event_id) when the results of everything earlier in pipe src are there.

    Setting a flag twice without a wait between is undefined on the chip, and an error here.

    Model: one cycle of pipe src; it never holds later instructions of src back.
    Source: Ascend C SetFlag reference: queued in the source pipe; the event ids of a pipe pair are a figure
    of the platform (0 to 3 on Atlas training chips, 0 to 7 on later ones).
    """


@instruction("dst", NO_DTYPE)
class wait_flag(HandOff):
    """Hold pipe dst until flag (src, dst, event_id) is set, then clear it.

    Model: one cycle of pipe dst once the flag is set; instructions of dst that were started before go on.
    Source: Ascend C WaitFlag reference: queued in the destination pipe.
    """


@instruction("barred", NO_DTYPE)
class pipe_barrier(Declaration):
    """Hold later instructions of pipe `barred` until the results of earlier ones are there; 10 is all pipes.

    The instructions of one pipe start in order, overlap, and complete in order. So within a pipe a barrier is
    needed only where an instruction reads what an earlier one writes: on V, and on M between products that
    accumulate in fewer than ten fractals.

    Model: one cycle of the pipe once everything before it is complete; PIPE_ALL makes the scalar unit wait
    until every pipe is idle.
    Source: Ascend C PipeBarrier reference; there is no barrier of the scalar pipe.
    """

    barred = Size(10, low=2)
    refuse: ClassVar[dict[str, str]] = {
        "barred > 6 and barred != 10": (
            "barred must be V = 2, M = 3, MTE1 = 4, MTE2 = 5, MTE3 = 6 or ALL = 10"
        ),
    }

    cycles = _one_slot
    accesses = _nothing
    execute = _no_data
