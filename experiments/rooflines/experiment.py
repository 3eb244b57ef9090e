"""Every kernel at the sizes of ResNet-50 and BERT-Large, beside the least time that the machine allows."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.progress import track
from rich.table import Table

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import DavinciError
from davinci_sim.platforms import Platform, platform
from davinci_sim.trace.files import atomic_file
from experiments.harness import Context
from experiments.operators.cover import Launch, launch
from experiments.operators.timing import Bench
from kernels.roofline import Roofline, gm_bytes, roofline
from kernels.samples import network_shapes

CLAIM = "kernels come near the rooflines of the machine"
MIDDLE_BYTES = 1 << 20
"""Launches that move less time the start of blocks; they are told, not judged."""


PEAK, ROOF, STREAM = "of the cube's peak", "of its roofline", "of the bandwidth of HBM"


@dataclass(frozen=True)
class Goal:
    """A launch, and what of it is asked for."""

    name: str
    launch: Launch
    kind: str


@dataclass(frozen=True)
class Row:
    """A launch, its simulated cycles from an empty L2, and its bound."""

    launch: Launch
    cycles: int
    moved_bytes: int
    roofline: Roofline

    @property
    def efficiency(self) -> float:
        """The bound over the time that was simulated."""
        return self.roofline.bound_cycles / self.cycles

    @property
    def is_int8(self) -> bool:
        """Tell whether the cube multiplies bytes, of which it takes more at once."""
        return self.launch.kernel.operands(self.launch.shape)[0].dtype_name == "int8"

    def of_peak(self, chip: Platform) -> float:
        """Return the part of the cube's peak that is used."""
        depth = chip.cube_k_int8 if self.is_int8 else chip.cube_k
        products = int(chip.cube_m * depth * chip.cube_n) * int(chip.ai_cores)
        return self.launch.macs / products / self.cycles

    def of_memory(self, chip: Platform) -> float:
        """Return the bytes that the cores move a cycle over what device memory gives."""
        return self.moved_bytes / self.cycles / int(chip.hbm_bytes_per_cycle)

    def of(self, kind: str, chip: Platform) -> float:
        """Return one of the three."""
        if kind == ROOF:
            return self.efficiency
        return self.of_peak(chip) if kind == PEAK else self.of_memory(chip)


def goals() -> Iterator[Goal]:
    """Yield what is asked for: products, the 3 x 3 convolutions of ResNet-50, a stream, attention."""
    for edge in (1024, 4096):
        yield Goal(f"matmul_{edge}", launch("matmul", {"m": edge, "k": edge, "n": edge}, "fp16"), PEAK)
    for c, h in ((64, 56), (128, 28), (256, 14), (512, 7)):
        axes = {"n": 32, "c": c, "h": h, "w": h, "o": c, "kh": 3, "kw": 3, "pad": 1}
        yield Goal(f"conv2d_3x3_{c}", launch("conv2d", axes, "fp16"), ROOF)
    for name, dtype in (("add", "fp32"), ("relu", "fp16"), ("cast", "fp32")):
        yield Goal(f"element_wise_{name}", launch(name, {"n": 32 * 256 * 56 * 56}, dtype), STREAM)
    axes = {"b": 1, "heads": 12, "t": 4096, "d": 64}
    yield Goal("attention_4096", launch("attention", axes, "fp16"), PEAK)


def run(context: Context) -> dict[str, float]:
    """Time every kernel; `quick` takes what is asked for only, and draws no picture."""
    chip = platform(context.platform)
    asked = list(goals())
    others = [] if context.quick else list(_launches(chip))
    bench = Bench(Chip(chip))
    wanted = [*(goal.launch for goal in asked), *others]
    rows = [
        _timed(each, bench)
        for each in track(wanted, "kernels", console=context.progress_console, transient=True)
    ]
    found = {goal.name: row.of(goal.kind, chip) for goal, row in zip(asked, rows, strict=False)}
    every = list({str(row.launch): row for row in rows}.values())
    context.console.print(_table(every, chip))
    with atomic_file(context.artifact("rooflines.json")) as temporary:
        temporary.write_text(
            json.dumps([_as_json(row, chip) for row in every], indent=1) + "\n", encoding="utf-8"
        )
    if not context.quick:
        from experiments.rooflines import picture

        picture.draw(context.artifact("rooflines.png"), every, chip)
    return {**found, **_summary(rows[len(asked) :])}


def _launches(chip: Platform) -> Iterator[Launch]:
    """Yield all kernels on the shapes of networks; what the chip refuses is left out."""
    for kernel in kernels.load().values():
        for shape in network_shapes(kernel):
            if _is_possible(Launch(kernel, shape), chip):
                yield Launch(kernel, shape)


def _is_possible(each: Launch, chip: Platform) -> bool:
    """Tell whether a chip takes a launch."""
    handles = {operand.name: 0 for operand in each.kernel.operands(each.shape)}
    try:
        each.kernel.emitted(each.shape, handles, chip)
    except DavinciError:
        return False
    return True


def _timed(each: Launch, bench: Bench) -> Row:
    """Time a launch by itself: from its first block to its last result."""
    (task,) = bench.tasks([each])
    bench.chip.empty_l2()
    cycles = bench.chip.cycles(task) - bench.chip.start_cycles
    return Row(
        each, cycles, sum(gm_bytes(task)), roofline(each.kernel, each.shape, bench.chip.platform, task)
    )


def _summary(rows: Sequence[Row]) -> dict[str, float]:
    """Return how near the kernels come, all and those of a middling size or more."""
    judged = [row.efficiency for row in rows if row.moved_bytes >= MIDDLE_BYTES]
    return {
        "median_efficiency": statistics.median(judged) if judged else math.nan,
        "launches": float(len(rows)),
    }


def _table(rows: Sequence[Row], chip: Platform) -> Table:
    table = Table(title=f"Kernels on {chip.name} against their rooflines")
    table.add_column("kernel")
    table.add_column("shape", overflow="fold")
    for name in ("us", "bound us", "of the roofline", "of the cube", "GB/s"):
        table.add_column(name, justify="right")
    table.add_column("bound by")
    for row in rows:
        us = row.cycles * 1e6 / float(chip.clock_hz)
        peak = f"{row.of_peak(chip):.0%}" if row.launch.macs else ""
        table.add_row(
            row.launch.kernel.name, str(row.launch.shape), f"{us:.2f}", f"{us * row.efficiency:.2f}",
            f"{row.efficiency:.0%}", peak, f"{row.moved_bytes / us / 1000:.0f}", row.roofline.bound,
        )  # fmt: skip
    return table


def _as_json(row: Row, chip: Platform) -> dict[str, Any]:
    return {
        "kernel": row.launch.kernel.name,
        "shape": str(row.launch.shape),
        "cycles": row.cycles,
        "bound_cycles": row.roofline.bound_cycles,
        "bound": row.roofline.bound,
        "efficiency": row.efficiency,
        "of_peak": row.of_peak(chip),
        "moved_bytes": row.moved_bytes,
        "flops_per_byte": row.roofline.intensity,
    }
