"""What the experiment times: which steps, compiled in which ways, on which chips."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import NamedTuple

from davinci_sim.platforms import Platform
from experiments.claims.ratios import Published, read_published
from experiments.claims.recipes import Case
from experiments.claims.stages import (
    AT_ONCE,
    EVERYTHING,
    ONE_BY_ONE,
    ONE_STREAM,
    REAL_STACK,
    WITHOUT,
    Stage,
)
from experiments.claims.what_if import changed
from framework.graph_engine import Options

RESNET, BERT = "resnet50", "bert"


class Ask(NamedTuple):
    """A step to be timed; on the chip of the experiment, if on no other."""

    case: Case
    options: Options
    platform: Platform | None = None


class Plan(NamedTuple):
    """The steps that are compared, taken apart stage by stage, explained, and tried on other chips.

    `best` is how a step is compiled with everything.
    """

    cases: tuple[Case, ...]
    stages: tuple[Stage, ...]
    without: tuple[Stage, ...]
    best: Options
    explained: tuple[Case, ...]
    tried: tuple[Case, ...]

    def published(self) -> Iterator[tuple[Case, Published]]:
        """Yield the steps that were published, as they may have been: those of BERT guarded or not."""
        for each in read_published()["steps"]:
            case = Case(each.network, each.batch)
            if case in self.cases:
                yield case, each
                if case.network == BERT:
                    yield case._replace(guarded=True), each

    def asks(self, platform: Platform) -> list[Ask]:
        """Return all steps that are timed, once each, the largest first, both networks in turn."""
        found = dict.fromkeys(self._asks(platform))
        ordered = sorted(found, key=lambda ask: -ask.case.batch)
        networks = dict.fromkeys(ask.case.network for ask in ordered)
        turns = zip_longest(*([ask for ask in ordered if ask.case.network == name] for name in networks))
        return [ask for ask in chain.from_iterable(turns) if ask is not None]

    def _asks(self, platform: Platform) -> Iterator[Ask]:
        for case in self.cases:
            for stage in (*self.stages, *self.without):
                yield Ask(case, stage.options)
        for case, _ in self.published():
            yield Ask(case, REAL_STACK)
            yield Ask(case, self.best)
        for case in self.explained:
            yield Ask(case, ONE_STREAM)
        for case in self.tried:
            for chip in (None, *changed(platform).values()):
                yield Ask(case, ONE_STREAM, chip)


WHOLE = Plan(
    cases=(
        *(Case(RESNET, batch) for batch in (32, 128, 256)),
        *(Case(BERT, batch) for batch in (16, 48, 96)),
    ),
    stages=ONE_BY_ONE,
    without=WITHOUT,
    best=EVERYTHING,
    explained=(Case(RESNET, 32), Case(BERT, 96)),
    tried=(Case(RESNET, 32), Case(BERT, 96)),
)
QUICK = Plan(WHOLE.cases[:1], AT_ONCE, (), ONE_STREAM, WHOLE.explained[:1], ())
"""ResNet-50 at batch 32, not stage by stage, on one stream."""
