"""Hand-offs between the pipes of one core."""

from typing import Any

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

    cycles = _one_slot
    accesses = _nothing
    execute = _no_data


@instruction("src", NO_DTYPE)
class set_flag(HandOff):
    """Set flag (src, dst, event_id) when everything queued earlier in pipe src has completed.

    Model: one cycle of pipe src; it never blocks src.
    Source: Ascend C SetFlag reference: queued in the source pipe, ids 0-3 on Atlas training chips.
    """


@instruction("dst", NO_DTYPE)
class wait_flag(HandOff):
    """Block pipe dst until flag (src, dst, event_id) is set, then clear it.

    Model: one cycle of pipe dst once the flag is set.
    Source: Ascend C WaitFlag reference: queued in the destination pipe.
    """


@instruction("barred", NO_DTYPE)
class pipe_barrier(Declaration):
    """Let later instructions of `pipe` start only after earlier ones have finished; pipe 10 is all pipes.

    Model: pipes here finish one instruction before they start the next, so that a barrier of one pipe costs
    its slot only; PIPE_ALL makes the scalar unit wait until every pipe is idle.
    Source: Ascend C PipeBarrier reference.
    """

    barred = Size(10, low=1)

    cycles = _one_slot
    accesses = _nothing
    execute = _no_data
