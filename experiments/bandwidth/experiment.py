"""Element-wise operators on a simulated 910A reach the bandwidth of a real one, on both sides of its L2."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from davinci_sim.chip import Chip
from davinci_sim.trace.files import atomic_file
from experiments.bandwidth.operators import MB, Operator, published_operators, relu
from experiments.harness import Context
from experiments.operators.timing import STATES, Bench

CLAIM = (
    "element-wise operators on a simulated 910A reach the bandwidth of a real one, on both sides of its L2"
)
CHIP = "ascend910a"
"""The chip of the profile; --platform changes nothing here."""
JUDGED = "cold"
"""The state of L2 that the claim is about; the errors of the others are told beside it."""
LARGE_BYTES = 8 * MB
"""What moves less spends more than half of its time on the start of its task and of 32 blocks (4.1 us)."""
SHARES = 32 * 128
"""Elements of the curve's sizes are multiples of this: each core's share begins at a 512-byte boundary."""
CURVE = tuple(round(MB * 2 ** (exponent / 3) / 8 / SHARES) * SHARES for exponent in range(28))
"""Elements of the operators on the curve, which move 1 to 512 MB."""


@dataclass(frozen=True)
class Row:
    """A published operator and its simulated times from each state of L2, in microseconds."""

    operator: Operator
    us: dict[str, float]

    def error(self, state: str) -> float:
        """Return how much more bandwidth the simulated operator gets, as a part of the published one."""
        return self.operator.us / self.us[state] - 1


def run(context: Context) -> dict[str, float]:
    """Time every published operator from each state of L2; `quick` draws no picture."""
    bench = Bench(Chip(CHIP, remember_times=False))
    rows = [
        Row(each, {state: bench.us([each.launch], state) for state in STATES})
        for each in published_operators()
    ]
    l2_bytes = int(bench.chip.platform.l2_bytes)
    context.console.print(_table(rows))
    with atomic_file(context.artifact("points.json")) as temporary:
        temporary.write_text(json.dumps([_as_json(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    if not context.quick:
        from experiments.bandwidth import picture

        picture.draw(context.artifact("bandwidth.png"), rows, curves(bench), l2_bytes, JUDGED)
    return metrics(rows, l2_bytes)


def curves(bench: Bench) -> dict[str, list[tuple[int, float]]]:
    """Return, for each state of L2, (bytes moved, GB/s) of relu in fp32, which reads one and writes one."""
    operators = [relu(count) for count in CURVE]
    return {
        state: [(each.moved_bytes, each.gbps(bench.us([each.launch], state))) for each in operators]
        for state in STATES
    }


def metrics(rows: list[Row], l2_bytes: int) -> dict[str, float]:
    """Return the median errors: of the state that is judged, of the others, and on each side of L2."""
    judged = [row for row in rows if row.operator.moved_bytes >= LARGE_BYTES]
    small = [row for row in rows if row.operator.moved_bytes < LARGE_BYTES]
    beyond = [row for row in judged if row.operator.moved_bytes > l2_bytes]
    within = [row for row in judged if row.operator.moved_bytes <= l2_bytes]
    return {
        "median_error": median_error(judged, JUDGED),
        **{f"median_error_{state}": median_error(judged, state) for state in STATES if state != JUDGED},
        "median_error_beyond_l2": median_error(beyond, JUDGED),
        "median_error_within_l2": median_error(within, JUDGED),
        "median_error_of_small": median_error(small, JUDGED),
        "median_error_of_all": median_error(rows, JUDGED),
        "largest_error": max(abs(row.error(JUDGED)) for row in rows),
        "points": float(len(rows)),
    }


def median_error(rows: list[Row], state: str) -> float:
    """Return the median distance from the published bandwidths, as a part of them; NaN of nothing."""
    return statistics.median(abs(row.error(state)) for row in rows) if rows else math.nan


def _table(rows: list[Row]) -> Table:
    table = Table(title="Element-wise operators: simulated beside a real 910A (MindSpore 0.7), GB/s")
    table.add_column("operator", overflow="fold")
    for name in ("MB", "published", *STATES, "error"):
        table.add_column(name, justify="right")
    for row in rows:
        each = row.operator
        found = [f"{each.gbps(row.us[state]):.0f}" for state in STATES]
        table.add_row(
            each.op, f"{each.moved_bytes / MB:.1f}", f"{each.gbps(each.us):.0f}",
            *found, f"{row.error(JUDGED):+.0%}",
        )  # fmt: skip
    return table


def _as_json(row: Row) -> dict[str, Any]:
    each = row.operator
    return {
        "op": each.op,
        "kernel": each.launch.kernel.name,
        "shape": str(each.launch.shape),
        "moved_bytes": each.moved_bytes,
        "published_us": each.us,
        "published_gbps": each.gbps(each.us),
        "simulated_us": row.us,
        "simulated_gbps": {state: each.gbps(us) for state, us in row.us.items()},
        "error": {state: row.error(state) for state in STATES},
    }
