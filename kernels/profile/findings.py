"""What keeps a launch from being faster, found by rules from the numbers of its profile.

The rules look at the limiting pipe: the one that works longest. What it loses within its work (conflicts,
heads, shared bandwidth, padding) and what it waits for count; where it waits for another pipe's data, the
search goes on at that pipe, since that is where the time is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from davinci_sim.isa.pipes import Pipe
from davinci_sim.trace.ledger import PIPE_NAMES
from davinci_sim.trace.ledger.causes import NAMES, WAITS
from kernels.profile.profile import Profile
from kernels.roofline import gm_bytes

LEAST_SHARE = 0.05
"""Of the time; what takes less is not worth a sentence."""
_WAITING = tuple(NAMES[number] for number in WAITS if NAMES[number] != "flag")
_LOSSES = (
    "ragged_fractals", "bank_conflict", "transfer_head", "short_bursts", "l2_share", "l2_miss", "hbm_share",
    "write_back",
)  # fmt: skip
_EDGES = ("fill", "drain", "block_start", "imbalance")
_SENTENCES = {
    "ragged_fractals": "{percent} of the cube's time goes to products of padding{line}",
    "bank_conflict": "{pipe} loses {percent} to bank conflicts{line}",
    "transfer_head": "{pipe} spends {percent} on the heads of {transfers}{line}",
    "short_bursts": "{pipe} loses {percent} to bursts that are short or begin beside 512 bytes{line}",
    "l2_share": "{pipe} waits {percent} because the cores share the bandwidth of L2{again}",
    "l2_miss": "{pipe} waits {percent} for lines that L2 lacks{line}",
    "hbm_share": "{pipe} waits {percent} because the cores share the bandwidth of device memory{again}",
    "write_back": "{pipe} waits {percent} until modified lines have left L2{line}",
    "barrier": "{pipe} waits {percent} for its own results{line}",
    "buffer_full": "{pipe} waits {percent} for free buffers{user}{line}",
    "dispatch": "{pipe} waits {percent} for the scalar unit, which has {instructions} to hand out",
    "queue_full": "{pipe} waits {percent} for the scalar unit, held by the full queue of {queue}",
    "scalar_wait": "{pipe} waits {percent} for the scalar unit, held by a barrier or a flag of its own",
    "fill": "{percent} of the time passes before the first work of {pipe}",
    "drain": "{percent} of the time passes behind the last work of {pipe}",
    "block_start": "cores wait {percent} for their blocks, which start {apart} cycles apart",
    "imbalance": "cores wait {percent} at the end for core {last}, which is done last",
}


@dataclass(frozen=True)
class Finding:
    """A loss: the pipe, its cause, the part of the time that it takes (0 to 1), and a sentence about it."""

    pipe: str
    cause: str
    share: float
    text: str


def findings(found: Profile) -> list[Finding]:
    """Return the losses of the limiting pipe and of those that it waits for, the greatest first."""
    losses = {(each.pipe, each.cause): each for each in _all(found)}
    return sorted(losses.values(), key=lambda each: (-each.share, each.pipe, each.cause))


def _all(found: Profile) -> Iterator[Finding]:
    yield from _idle_cores(found)
    limiting = found.limiting_pipe
    for pipe in _chain(found, limiting):
        for cause in (*_WAITING, *_LOSSES, *(_EDGES if pipe == limiting else ())):
            share = found.ledger.share(pipe, cause)
            if cause == "imbalance":  # cores that start first end first: that is told as block_start
                share -= found.ledger.share(pipe, "block_start")
            if share >= LEAST_SHARE:
                yield Finding(pipe, cause, share, _sentence(found, pipe, cause, share))


def _idle_cores(found: Profile) -> Iterator[Finding]:
    """Yield that cores have no block, or get none because others are done before their turn comes."""
    cores = int(found.platform.ai_cores)
    idle = cores - len(found.trace.cores)
    if idle < LEAST_SHARE * cores:
        return
    text = f"{idle} of {cores} cores have no block"
    if found.ledger.blocks > len(found.trace.cores):
        text = f"{idle} of {cores} cores get no block, since others are done before it starts"
    yield Finding(found.limiting_pipe, "no_block", idle / cores, text)


def _chain(found: Profile, pipe: str) -> Iterator[str]:
    """Yield a pipe, the pipe whose data it waits for longest, the pipe that this waits for, ..."""
    seen = set()
    while pipe and pipe not in seen:
        yield pipe
        seen.add(pipe)
        pipe = _awaited(found, pipe, "flag") if found.ledger.share(pipe, "flag") >= LEAST_SHARE else ""


def _awaited(found: Profile, pipe: str, cause: str) -> str:
    """Return the pipe whose flags a pipe waits for longest, as "flag" or as "buffer_full", or nothing."""
    cycles: Counter[str] = Counter()
    for wait in found.ledger.flags:
        if Pipe(wait.flag.dst).name == pipe and wait.cause == cause:
            cycles[Pipe(wait.flag.src).name] += wait.cycles
    return cycles.most_common(1)[0][0] if cycles else ""


def _sentence(found: Profile, pipe: str, cause: str, share: float) -> str:
    """Return the sentence for what a pipe loses."""
    text = _SENTENCES[cause]
    details = {name: detail for name, detail in _DETAILS.items() if f"{{{name}}}" in text}
    values = {name: detail(found, pipe) for name, detail in details.items()}
    return text.format(pipe=pipe, percent=f"{100 * share:.0f} %", line=_line(found, pipe, cause), **values)


def _line(found: Profile, pipe: str, cause: str) -> str:
    """Return ` at <source>` of the line that a pipe is charged most for a cause, or nothing."""
    for charge in found.ledger.lines:
        if (charge.pipe, charge.cause) == (pipe, cause) and charge.source:
            return f" at {charge.source}"
    return ""


def _user(found: Profile, pipe: str) -> str:
    user = _awaited(found, pipe, "buffer_full")
    return f" that {user} has in use" if user else ""


def _queue(found: Profile, pipe: str) -> str:
    row = found.ledger.queues[PIPE_NAMES.index(pipe)]
    place = _line(found, "S", "queue_full")
    return f"{PIPE_NAMES[int(row.argmax())]} (longest{place})"


def _transfers(found: Profile, pipe: str) -> str:
    """Return how many transfers from or to device memory a pipe has, and how long they are."""
    ours = (found.trace.records["pipe"] == int(Pipe[pipe])) & (
        found.trace.records["op"] == found.trace.op_names.index("data_move")
    )
    moved, count = gm_bytes(found.task)[pipe == "MTE3"], int(ours.sum())
    return f"{count} transfer{'s' * (count != 1)} of {moved // max(1, count)} bytes in the mean"


def _again(found: Profile, _: str) -> str:
    """Say how often operands are moved, if more than once."""
    needed = found.roofline.read_bytes + found.roofline.written_bytes
    times = sum(gm_bytes(found.task)) / max(1, needed)
    return f"; the operands' bytes are moved {times:.1f} times" if times > 1 + LEAST_SHARE else ""


_DETAILS: dict[str, Callable[[Profile, str], str]] = {
    "user": _user,
    "queue": _queue,
    "transfers": _transfers,
    "again": _again,
    "instructions": lambda found, _: f"{found.task.instructions} instructions",
    "apart": lambda found, _: str(int(found.platform.block_start_cycles)),
    "last": lambda found, _: str(found.ledger.critical_core),
}
