"""Where the cycles of a step go, layer by layer, in a ledger whose entries sum to the step exactly.

Model: a task's time is climbed like a ladder. Each rung is a time that the task cannot be below, or that one
of its parts is busy; what a rung lies above those before it is charged to its cause, so that work which hides
behind other work costs nothing. What is left above the highest rung is charged to starts of blocks, then to
flags, filling and draining of pipelines, and cores that wait for the slowest one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from davinci_sim.platforms import Platform
from experiments.claims.steps import Row

LAUNCH, REST = "launch", "flags, fill and drain"
RUNGS = {
    "ideal cube": "ideal",
    "ragged fractals, heads": "cube",
    "vector": "vector",
    "L1 to L0": "loads",
    "paths": "paths",
    "L2": "l2",
    "HBM": "hbm",
}
"""Causes in their order, and the number of a row that tells each."""
WAITING = "reading again, contention"
"""The pipes that move to and from memory are busy for longer than if each byte crossed once."""
BESIDE = "beside the cores"
"""Copies and jumps of the task scheduler."""
CAUSES = (*RUNGS, WAITING, LAUNCH, REST, BESIDE)
Charges = Mapping[str, int]


def charges(row: Row, platform: Platform) -> Charges:
    """Return the cycles of a task by cause; they sum to what it takes."""
    if not row.blocks:
        return {BESIDE: row.cycles}
    start = min(row.cycles, int(platform.task_start_cycles))
    found, height, top = {LAUNCH: start}, 0, row.cycles - start
    rungs = [(cause, getattr(row, column)) for cause, column in RUNGS.items()]
    for cause, rung in (*rungs, (WAITING, max(row.reads, row.writes))):
        found[cause] = max(0, min(rung, top) - height)
        height += found[cause]
    blocks = min(top - height, (row.blocks - 1) * int(platform.block_start_cycles))
    found[LAUNCH] += blocks
    found[REST] = top - height - blocks
    return found


def ledger(rows: Iterable[Row], platform: Platform) -> dict[str, Charges]:
    """Return the charges of every layer, in the order in which layers begin."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row.layer, Counter()).update(charges(row, platform))
    return dict(found)


def totals(book: Mapping[str, Charges]) -> Charges:
    """Return the charges of all layers together."""
    found: Counter[str] = Counter()
    for each in book.values():
        found.update(each)
    return found
