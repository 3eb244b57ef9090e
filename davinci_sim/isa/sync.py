"""Hand-offs between the pipes of one core."""

from davinci_sim.isa.fields import Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import jit

NO_DTYPE = ("int32",)
"""Hand-offs move no data; the element type of their records means nothing."""


@jit
def _one_slot(i, costs):
    """Take one issue slot of the pipe."""
    return 1


@jit
def _nothing(i):
    """Touch no memory."""
    return ()


@jit
def _no_data(i, memory):
    """Move no data."""


class _Hand_off:  # noqa: N801
    src = Size(6, low=1)
    dst = Size(6, low=1)
    event_id = Size(7)

    cycles = _one_slot
    accesses = _nothing
    execute = _no_data


@instruction("src", NO_DTYPE)
class set_flag(_Hand_off):
    """Set flag (src, dst, event_id) when everything queued earlier in pipe src has completed.

    Model: one cycle of pipe src; it never blocks src.
    Source: Ascend C SetFlag reference: queued in the source pipe, ids 0-3 on Atlas training chips.
    """


@instruction("dst", NO_DTYPE)
class wait_flag(_Hand_off):
    """Block pipe dst until flag (src, dst, event_id) is set, then clear it.

    Model: one cycle of pipe dst once the flag is set.
    Source: Ascend C WaitFlag reference: queued in the destination pipe.
    """


@instruction("barred", NO_DTYPE)
class pipe_barrier:
    """Let later instructions of `pipe` start only after earlier ones have finished; pipe 10 is all pipes.

    Model: pipes here finish one instruction before they start the next, so that a barrier of one pipe costs
    its slot only; PIPE_ALL makes the scalar unit wait until every pipe is idle.
    Source: Ascend C PipeBarrier reference.
    """

    barred = Size(10, low=1)

    cycles = _one_slot
    accesses = _nothing
    execute = _no_data
