"""What to do about the losses of a launch: a sentence for each; a tiling that it names was simulated."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kernels.lang.shapes import Tiling
from kernels.profile.findings import LEAST_SHARE, Finding, findings
from kernels.profile.profile import Profile
from kernels.profile.trials import DEEPER, LONGER, SHORTER, WIDER, Trial, Trials
from kernels.profile.what_if import WhatIf

MOST_ADVICE = 5
NEARLY_ALL = 0.9
LEAST_GAIN = 0.005
"""Of the time; a tiling that saves less is not called faster."""
_MAY_HELP = {
    "buffer_full": (DEEPER, SHORTER), "fill": (SHORTER,), "drain": (SHORTER,),
    "imbalance": (WIDER, SHORTER), "no_block": (WIDER, SHORTER), "block_start": (LONGER,),
    "transfer_head": (LONGER,), "short_bursts": (LONGER,), "hbm_share": (LONGER,), "l2_share": (LONGER,),
    "dispatch": (LONGER,), "queue_full": (LONGER,), "barrier": (LONGER,), "ragged_fractals": (SHORTER,),
}  # fmt: skip
_LIMIT = {  # what of the machine a cause comes from; see kernels.profile.what_if
    "transfer_head": "no transfer heads", "hbm_share": "device memory without end",
    "l2_miss": "device memory without end", "write_back": "device memory without end",
    "l2_share": "L2 without end", "short_bursts": "no slow addresses", "bank_conflict": "no bank conflicts",
    "barrier": "results at once", "queue_full": "long queues", "block_start": "blocks at once",
}  # fmt: skip
_HINTS = {
    "bank_conflict": "allocate what an instruction reads together one after the other",
    "barrier": "put independent work between an instruction and the one that reads its result",
    "queue_full": "use fewer and longer instructions there, or emit what others need before them",
    "dispatch": "use fewer and longer instructions (repeats)",
    "scalar_wait": "let flags between two pipes take the place of barriers of all pipes",
    "short_bursts": "let rows begin at multiples of 512 bytes, and be multiples of 256 bytes long",
    "hbm_share": "only fewer bytes help: narrower types, or steps fused with their neighbours",
    "l2_miss": "only fewer bytes help: narrower types, or steps fused with their neighbours",
    "l2_share": "keep more on chip between its uses",
}


@dataclass(frozen=True)
class Advice:
    """A loss, and what helps against it.

    Attributes:
        text: the whole sentence.
        pipe: whose loss it is.
        cause: what it is lost to.
        share: the part of the time that is lost, 0 to 1.
        tiling: one that was simulated and is faster, if any.
        cycles: what it takes; without one, what the launch takes as it is.
        worth: the part of the time that a machine without that limit would save, if that was simulated.
    """

    text: str
    pipe: str
    cause: str
    share: float
    tiling: Tiling | None
    cycles: int
    worth: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return keys `text`, `pipe`, `cause`, `share`, `tiling` (or null), `cycles`, `worth` (or null)."""
        changed = None if self.tiling is None else dataclasses.asdict(self.tiling)
        return {
            "text": self.text, "pipe": self.pipe, "cause": self.cause, "share": self.share,
            "tiling": changed, "cycles": self.cycles, "worth": self.worth,
        }  # fmt: skip


def advise(found: Profile, limits: Sequence[WhatIf] = ()) -> tuple[Advice, ...]:
    """Return what helps, the greatest gain first, then the greatest losses without a remedy.

    With `limits` (see what_ifs) a loss to one of them says what it is worth at most, and counts as that.
    """
    trials, given = Trials(found), list[Advice]()
    worth = {limit.name: limit.saved for limit in limits}
    for loss in findings(found):
        most = worth.get(_LIMIT.get(loss.cause, ""))
        given.append(_advice(found, loss, trials, most, {each.tiling for each in given}))
    given += _full(found)
    given = given or [_nothing_great(found)]
    return tuple(sorted(given, key=_order)[:MOST_ADVICE])


def _order(given: Advice) -> tuple[bool, int, float]:
    """Return what advice is sorted by: faster tilings, then what a loss is worth."""
    return given.tiling is None, given.cycles, -(given.share if given.worth is None else given.worth)


def _full(found: Profile) -> Iterator[Advice]:
    """Yield that a part of the chip works nearly all the time: little is left to gain there."""
    for part, share in found.use.items():
        if share >= NEARLY_ALL:
            text = f"{part} works {100 * share:.0f} % of the time: only less work for it helps"
            yield Advice(text, found.limiting_pipe, "busy", share, None, found.cycles)


def _nothing_great(found: Profile) -> Advice:
    """Say that there is no loss worth a sentence of its own."""
    pipe, book = found.limiting_pipe, found.ledger
    share = book.work_cycles(pipe, book.critical_core) / max(1, found.cycles)
    text = f"{pipe} works {100 * share:.0f} % of the time, and no loss takes {100 * LEAST_SHARE:.0f} % of it"
    return Advice(text, pipe, "busy", share, None, found.cycles)


def _advice(
    found: Profile, loss: Finding, trials: Trials, worth: float | None, named: set[Tiling | None]
) -> Advice:
    """Return the sentence for a loss, with the best tiling tried against it, unless it was `named` before."""
    tried = list(trials.toward(_MAY_HELP.get(loss.cause, ())))
    ran = [(trial.cycles, trial) for trial in tried if trial.cycles is not None]
    cycles, best = min(ran, key=lambda each: each[0], default=(found.cycles, None))
    saved = 1 - cycles / max(1, found.cycles)
    if best is not None and saved >= LEAST_GAIN and best.tiling not in named:
        tiling, remedy = (
            best.tiling,
            f"{best.change} {_fits(best)} and saves {100 * saved:.1f} % ({cycles} cycles)",
        )
    else:
        tiling, cycles, remedy = None, found.cycles, _other_remedy(found, loss, tried, best)
    most = "" if worth is None else f" (worth {100 * max(0.0, worth):.1f} % at most)"
    text = f"{loss.text}{most}{': ' if remedy else ''}{remedy}"
    return Advice(text, loss.pipe, loss.cause, loss.share, tiling, cycles, worth)


def _other_remedy(found: Profile, loss: Finding, tried: list[Trial], best: Trial | None) -> str:
    """Return what to do where no further tiling is faster: what the rule says, or what was tried."""
    if best is not None and best.cycles is not None and best.cycles < (1 - LEAST_GAIN) * found.cycles:
        return f"{best.change} helps, too"
    if loss.cause in _HINTS:
        return _HINTS[loss.cause]
    if best is not None:
        return f"{best.change} {_fits(best)}, but takes {best.cycles} cycles"
    return f"{tried[0].change} does not fit ({tried[0].refusal})" if tried else ""


def _fits(trial: Trial) -> str:
    """Return `fits`, and the on-chip memories of which more is taken."""
    return f"fits in {' and '.join(trial.grown)}" if trial.grown else "fits"
