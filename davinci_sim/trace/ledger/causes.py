"""What a cycle of a pipe can be charged to; every cycle has exactly one cause."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A column of the ledger: its key in JSON, and what a cycle that is charged to it was."""

    name: str
    meaning: str


CAUSES = (
    Cause("busy", "work: what the instruction takes alone on the chip, its data in L2, without conflicts"),
    Cause("ragged_fractals", "cube products of padding: products done less products that the problem needs"),
    Cause("bank_conflict", "an instruction with the banks of UB or L0C as they are, less without conflicts"),
    Cause("transfer_head", "the first cycles of a transfer through device memory, before bytes flow"),
    Cause("short_bursts", "bus time of a transfer beyond its bytes: part-filled packets, slow addresses"),
    Cause("l2_share", "until the transfer has passed L2, less what it takes alone: others use L2, too"),
    Cause("l2_miss", "until alone on the chip the lines that L2 lacks would be fetched, beyond the above"),
    Cause("hbm_share", "until they were fetched, beyond the above: others use the device memory, too"),
    Cause("write_back", "until lines that the transfer before had driven out of L2 were written back"),
    Cause("hand_off", "the cycle that each set_flag, wait_flag and pipe_barrier takes"),
    Cause("barrier", "pipe_barrier waits for results of the pipe itself (S: of all pipes)"),
    Cause("flag", "wait_flag waits for data that another pipe makes"),
    Cause("buffer_full", "wait_flag waits for a buffer that another pipe has not used up"),
    Cause("dispatch", "the scalar unit, one instruction after the other, had not come to the next one"),
    Cause("queue_full", "the scalar unit was held by a full queue, of this or of another pipe"),
    Cause("scalar_wait", "the scalar unit was held by a barrier of all pipes, or by a flag of its own"),
    Cause("fill", "before the pipe's first work in a block: what it needs is not there yet"),
    Cause("drain", "behind the pipe's last work, until the block has ended"),
    Cause("unused", "the block has no work for the pipe"),
    Cause("block_start", "until the scheduler has given the core a block"),
    Cause("imbalance", "from the end of the core's last block until the launch has ended on all cores"),
    Cause("no_block", "the launch has no block for the core"),
)
NAMES = tuple(cause.name for cause in CAUSES)
(
    BUSY, RAGGED, CONFLICT, HEAD, BURSTS, L2_SHARE, L2_MISS, HBM_SHARE, WRITE_BACK, HAND_OFF, BARRIER, FLAG,
    BUFFER_FULL, DISPATCH, QUEUE_FULL, SCALAR_WAIT, FILL, DRAIN, UNUSED, BLOCK_START, IMBALANCE, NO_BLOCK,
) = range(len(CAUSES))  # fmt: skip
WORK = slice(BUSY, HAND_OFF)
"""The causes that together are the time in which a unit holds an instruction: Trace.busy_cycles."""
WAITS = (BARRIER, FLAG, BUFFER_FULL, DISPATCH, QUEUE_FULL, SCALAR_WAIT)
"""The causes for which a pipe stands still between its first and its last work."""


def cause(name: str) -> int:
    """Return the number of a cause by name.

    >>> CAUSES[cause("flag")].name
    'flag'
    """
    return NAMES.index(name)
