"""Where a step differs from the published one: by class of operators, against records of single ones.

Each class of operators in a step is scaled by how the kit's kernels compare with records of the same class
on a real 910A. Where a class was too quick on the records, the step is too quick by as much, if its layers
are like those of the records; what remains is not explained by operators.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from davinci_sim.chip import Chip
from experiments import operators
from experiments.claims.steps import Row, Steps, digest_of
from experiments.operators.cover import cover
from experiments.operators.judge import Row as Judged
from experiments.operators.judge import is_poor
from experiments.operators.records import read_published
from experiments.operators.timing import Bench

RECORDS_STATE = "cold"
"""What L2 holds when the operator of a record starts, as the experiment on operators has it."""
ELEMENT_WISE = "element-wise"
KINDS = {
    "conv2d_backward": "convolution backward",
    "conv2d": "convolution",
    "matmul": "matmul",
    "batch_matmul": "matmul",
    "batch_norm": "normalisation",
    "layer_norm": "normalisation",
    "attention": "attention",
    "softmax_cross_entropy": "loss",
    "softmax": "attention",
    "max_pool": "pooling",
    "global_avg_pool": "pooling",
    "avg_pool": "pooling",
    "apply_": "optimizer",
    "lamb_": "optimizer",
    "reduce_": "reduction",
    "bias_add_grad": "reduction",
    "trans_data": "layout",
    "transpose": "layout",
    "gather": "layout",
    "scatter": "layout",
    "concat": "layout",
    "slice": "layout",
    "one_hot": "layout",
    "get_next": "copies",
    "put_result": "copies",
    "memcpy": "copies",
}
"""How the name of an operator begins, and its class; all others are element-wise."""


class Class(NamedTuple):
    """A class of operators in a step: its milliseconds, and simulated over published time of its records."""

    kind: str
    tasks: int
    ms: float
    records: int
    ratio: float | None

    @property
    def expected_ms(self) -> float:
        """What the class would take if it lay as far from the real one as its records do."""
        return self.ms / self.ratio if self.ratio else self.ms


Ratios = Mapping[str, tuple[int, float]]


def kind_of(op: str) -> str:
    """Return the class of an operator.

    >>> kind_of("conv2d_statistics"), kind_of("conv2d_backward_filter"), kind_of("gelu")
    ('convolution', 'convolution backward', 'element-wise')
    """
    return next((kind for begin, kind in KINDS.items() if op.startswith(begin)), ELEMENT_WISE)


def by_class(rows: Iterable[Row], clock_hz: float, ratios: Ratios) -> list[Class]:
    """Return the classes of a step, the longest first."""
    took: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        took[kind_of(row.op)].append(row.cycles)
    found = []
    for kind, cycles in took.items():
        records, ratio = ratios.get(kind, (0, None))
        found.append(Class(kind, len(cycles), sum(cycles) / clock_hz * 1e3, records, ratio))
    return sorted(found, key=lambda each: -each.ms)


def record_ratios(steps: Steps) -> Ratios:
    """Return by class how many records of a 910A count, and the median of simulated over published time."""
    source = digest_of(Path(operators.__path__[0]), Path(__file__))
    table = json.loads(steps.remembered(source, lambda: json.dumps(_ratios(steps)).encode()))
    return {kind: (int(count), float(ratio)) for kind, (count, ratio) in table.items()}


def _ratios(steps: Steps) -> dict[str, tuple[int, float]]:
    bench = Bench(Chip(steps.platform, engine=steps.engine))
    found: dict[str, list[float]] = defaultdict(list)
    for record in read_published():
        covered = cover(record)
        if not covered.launches or is_poor(covered, steps.platform):
            continue
        row = Judged(covered, {RECORDS_STATE: bench.us(covered.launches, RECORDS_STATE)})
        if row.counts:
            found[covered.kind].append(row.ratio(RECORDS_STATE))
    return {kind: (len(each), statistics.median(each)) for kind, each in found.items()}
