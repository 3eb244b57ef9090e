"""Which records count, and how far the simulated times lie from them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from davinci_sim.platforms import Platform
from experiments.operators.cover import Covered
from experiments.operators.records import Record

STREAMS = ("element-wise", "optimizer")
PRODUCTS = ("matmul", "convolution", "convolution backward")
LONG_US = 20.0
"""From here on a record of a stream counts: shorter ones time the start of 32 blocks, not the operator."""
POOR_SHARE = 4
"""A kernel is poor that reaches neither a quarter of the memory's bandwidth nor one of the cube's rate."""

FITTED = frozenset({"AtomicAddrClean", "Relu", "ReluGrad", "Cast", "BiasAddGrad"})
FITTED_BYTES = 80 * 1024
"""`block_start_cycles` was fitted on the records of these operators that move at most so much."""


@dataclass(frozen=True)
class Row:
    """A record with its simulated time from each state of L2, in microseconds; empty where not covered."""

    covered: Covered
    us: Mapping[str, float]
    is_poor: bool = False

    def ratio(self, state: str) -> float:
        """Return simulated over published time."""
        return self.us[state] / self.covered.record.us

    def error(self, state: str) -> float:
        """Return the distance from the published time, as a part of it."""
        return abs(self.ratio(state) - 1)

    @property
    def counts(self) -> bool:
        """Tell whether the row is judged."""
        return bool(self.us) and not self.is_poor and not is_fitted(self.covered.record)


def is_fitted(record: Record) -> bool:
    """Tell whether a figure of the simulated chip was fitted on this record."""
    return record.op in FITTED and record.moved_bytes <= FITTED_BYTES


def is_poor(covered: Covered, chip: Platform) -> bool:
    """Tell whether the real kernel used neither the memory nor the cube: less than a quarter of each.

    The rule knows the record, the chip's figures and how many multiplications the operator needs, but no
    simulated time. Records below 20 us are never poor by it: there the start of the task is what is timed.
    """
    record = covered.record
    seconds = record.us * 1e-6
    memory = record.moved_bytes / seconds / (int(chip.hbm_bytes_per_cycle) * float(chip.clock_hz))
    products = int(chip.cube_m * chip.cube_k * chip.cube_n) * int(chip.ai_cores) * float(chip.clock_hz)
    cube = covered.macs / seconds / products
    return record.us > LONG_US and max(memory, cube) < 1 / POOR_SHARE


def median_error(rows: Iterable[Row], state: str) -> float:
    """Return the median distance; NaN of no rows."""
    errors = [row.error(state) for row in rows]
    return statistics.median(errors) if errors else math.nan


def rank_correlation(rows: Sequence[Row], state: str) -> float:
    """Return Spearman's rank correlation of simulated and published times; NaN of fewer than three rows."""
    from scipy.stats import spearmanr

    if len(rows) < 3:
        return math.nan
    pairs = [(row.us[state], row.covered.record.us) for row in rows]
    return float(spearmanr(pairs).statistic)


def of_kinds(rows: Iterable[Row], kinds: Sequence[str], least_us: float = 0.0) -> list[Row]:
    """Return the rows that count, of some classes, from a published time on."""
    return [
        row for row in rows
        if row.counts and row.covered.kind in kinds and row.covered.record.us > least_us
    ]  # fmt: skip


def metrics(rows: Sequence[Row], state: str) -> dict[str, float]:
    """Return what the experiment claims, then what is told beside it: medians by class, and how many."""
    counted = [row for row in rows if row.counts]
    kinds = dict.fromkeys(row.covered.kind for row in counted)
    return {
        "median_error_streams": median_error(of_kinds(rows, STREAMS, LONG_US), state),
        "median_error_products": median_error(of_kinds(rows, PRODUCTS), state),
        "rank_correlation": rank_correlation(counted, state),
        "rank_correlation_with_poor": rank_correlation([row for row in rows if row.us], state),
        **{
            f"median_error_{kind.replace(' ', '_').replace('-', '_')}": median_error(
                of_kinds(rows, (kind,)), state
            )
            for kind in kinds
        },
        "median_error_of_all": median_error(counted, state),
        "records": float(len(rows)),
        "covered": float(sum(bool(row.us) for row in rows)),
        "poor": float(sum(row.is_poor for row in rows)),
        "fitted": float(sum(is_fitted(row.covered.record) for row in rows)),
    }
