"""Apply fusions: of all matches the one that spares most, until none is left that the chip rewards."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import Graph
from framework.graph_engine.data.operators import lacking
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.elements import chains
from framework.graph_engine.service.fusion.gain import Gain, estimate, measured
from framework.graph_engine.service.fusion.pattern import Pattern
from framework.graph_engine.service.fusion.table import ELEMENTS, STAGES
from framework.graph_engine.service.fusion.truths import is_truth


def fuse(graph: Graph, platform: Platform, names: Collection[str]) -> Graph:
    """Return the graph with the fusions of these names; its notes tell what each has brought."""
    draft, notes = Draft(graph, platform), list(graph.notes)
    for stage in STAGES:
        _descend(draft, [pattern for pattern in stage if pattern.name in names], notes)
    if ELEMENTS in names:
        for change in list(chains(draft)):
            _try(draft, ELEMENTS, change, notes)
        _drop_truths(draft)
    return draft.finished(notes)


def _drop_truths(draft: Draft) -> None:
    """Drop comparisons that nobody reads any more."""
    for node in reversed(list(draft.sorted())):
        is_read = any(name in draft.kept or draft.readers(name) for name in node.outputs)
        if is_truth(node) and not is_read:
            draft.drop(node)


def _descend(draft: Draft, patterns: Sequence[Pattern], notes: list[str]) -> None:
    """Make the changes of some patterns, those that spare most first, until no new match comes up."""
    refused: set[tuple[str, ...]] = set()
    while True:
        matches = ((pattern.name, change) for pattern in patterns for change in pattern.matches(draft))
        found = [
            (estimate(change), name, change) for name, change in matches if _key(name, change) not in refused
        ]
        if not found:
            return
        for _, name, change in sorted(found, key=lambda each: -each[0]):
            is_current = all(draft.nodes.get(node.name) is node for node in change.old)
            if is_current and not _try(draft, name, change, notes):
                refused.add(_key(name, change))


def _key(name: str, change: Change) -> tuple[str, ...]:
    return (name, *(node.name for node in change.old))


def _try(draft: Draft, name: str, change: Change, notes: list[str]) -> bool:
    """Make a change if the chip can run it and it pays, and note the decision; return whether it was made."""
    old = " + ".join(node.name for node in change.old)
    if reason := next(filter(None, (lacking(node, draft.platform) for node in change.new)), ""):
        notes.append(f"{name}: {old}: {reason}, not made")
        return False
    splits = len(change.new) > len(change.old)
    gain = Gain(0) if splits else measured(draft, change)
    made = splits or gain.pays
    if made:
        draft.apply(change)
    if not splits:
        notes.append(f"{name}: {old}: {gain.text()}")
    return made
