"""What is switched on, one after the other, from single operators to the whole optimised graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.claims.recipes import Case
from experiments.claims.steps import Steps, Timed, host_us
from framework.graph_engine import Options

NOTHING = Options(fusion=False, formats=False, counters=False, reuse=False, streams=False, blocks=False)
EVERYTHING = Options()


@dataclass(frozen=True)
class Stage:
    """A way to run a step: how it is compiled, and whether the host sends each task by itself."""

    name: str
    options: Options
    is_dispatched: bool = False


_FORMATS = replace(NOTHING, formats=True, counters=True)
_REAL = replace(_FORMATS, fusion=True, fusions="real")
_ALL = replace(_REAL, fusions="all")
_REUSE = replace(_ALL, reuse=True, blocks=True)
ONE_BY_ONE = (
    Stage("op by op", NOTHING, is_dispatched=True),
    Stage("whole graph", NOTHING),
    Stage("formats", _FORMATS),
    Stage("fusions of 2020", _REAL),
    Stage("all fusions", _ALL),
    Stage("memory reuse", _REUSE),
    Stage("streams", EVERYTHING),
)
"""Each is the one before it with one thing more."""
WITHOUT = (
    Stage("whole graph", replace(EVERYTHING, streams=False), is_dispatched=True),
    Stage("formats", replace(EVERYTHING, formats=False)),
    Stage("fusions", replace(EVERYTHING, fusion=False)),
    Stage("memory reuse", replace(EVERYTHING, reuse=False, blocks=False)),
    Stage("streams", _REUSE),
)
"""Everything but one; tasks that the host sends one by one have no streams either."""
REAL_STACK = replace(_REAL, reuse=True)
"""What the real stack of 2020 did: formats, its fusions, reuse of memory, on one stream."""
ONE_STREAM = _REUSE
"""Everything, but one task after the other: what a ledger explains."""
AT_ONCE = (
    *ONE_BY_ONE[:2], Stage("optimised as in 2020", REAL_STACK), Stage("all but streams", ONE_STREAM)
)  # fmt: skip
"""The short way from nothing to everything, but for streams: what pays there takes minutes to find out."""


@dataclass(frozen=True)
class Bar:
    """A stage with its time."""

    stage: Stage
    ms: float
    timed: Timed


@dataclass(frozen=True)
class Waterfall:
    """A step from nothing to everything, and from everything to all but one."""

    case: Case
    one_by_one: tuple[Bar, ...]
    without: tuple[Bar, ...]

    @property
    def whole(self) -> Bar:
        """Everything."""
        return self.one_by_one[-1]

    @property
    def saved(self) -> float:
        """The part of the time that everything together spares."""
        return 1 - self.whole.ms / self.one_by_one[0].ms


def waterfall(
    case: Case, steps: Steps, stages: Sequence[Stage] = ONE_BY_ONE, without: Sequence[Stage] = WITHOUT
) -> Waterfall:
    """Return the step with one thing more each time, and with everything but one."""
    bars, fewer = ([bar(case, steps, stage) for stage in each] for each in (stages, without))
    return Waterfall(case, tuple(bars), tuple(fewer))


def bar(case: Case, steps: Steps, stage: Stage) -> Bar:
    """Return a step as a stage has it."""
    found = steps.timed(case, stage.options)
    ms = found.dispatched_ms(host_us(steps.platform)) if stage.is_dispatched else found.ms
    return Bar(stage, ms, found)


def saving(wall: Waterfall, us: float) -> float:
    """Return the part of the time that is spared where the host takes so many microseconds for a task."""
    return 1 - wall.whole.ms / wall.one_by_one[0].timed.dispatched_ms(us)
