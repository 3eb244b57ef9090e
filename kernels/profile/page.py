"""A profile as a page for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from davinci_sim.trace.report import Ceiling, Page, Point, Roof, Roofs, write_report
from kernels.lang import rewrite
from kernels.roofline import gm_bytes

if TYPE_CHECKING:
    from kernels.lang.shapes import Shape
    from kernels.profile.advice import Advice
    from kernels.profile.profile import Profile


def write_html(found: Profile, given: Sequence[Advice], path: Path) -> None:
    """Write a profile with its advice as one self-contained page."""
    write_report(page_of(found, given), path)


def page_of(found: Profile, given: Sequence[Advice]) -> Page:
    """Return what a page shows of a profile."""
    cores = len(found.trace.cores)
    return Page(
        f"{found.kernel.name} {_told(found.shape)}",
        f"{found.platform.name}, tiling {found.tiling}, {cores} cores, "
        f"{found.task.instructions} instructions",
        tuple(_facts(found).items()),
        tuple(each.text for each in given),
        found.trace,
        found.ledger,
        Roofs(*_roofs(found), ceilings=_ceilings(found)),
        {shown: _lines(Path(path)) for shown, path in rewrite.SOURCES.values()},
    )


def _told(shape: Shape) -> str:
    """Return the keys of a shape that differ from what they are if they are left out."""
    usual = {field.name: field.default for field in fields(shape)}
    pairs = zip(shape.names(), str(shape).split(","), strict=True)
    return ",".join(text for name, text in pairs if getattr(shape, name) != usual[name])


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _facts(found: Profile) -> dict[str, str]:
    """Return the head of the page; what the kernel does not have is left out."""
    us, moved = found.us, sum(gm_bytes(found.task))
    facts = {"time": f"{us:,.2f} us", "cycles": f"{found.cycles:,}"}
    if found.roofline.macs and us:
        facts["cube"] = f"{2e-6 * found.roofline.macs / us:,.1f} TFLOP/s"
    facts["device memory"] = f"{1e-3 * moved / us:,.0f} GB/s" if us else "0 GB/s"
    facts["of the roofline"] = f"{found.efficiency:.1%}"
    facts["highest ceiling"] = found.roofline.highest
    return facts


def _ceilings(found: Profile) -> tuple[Ceiling, ...]:
    ceilings = sorted(found.roofline.ceilings.items(), key=lambda each: -each[1])
    return tuple(Ceiling(name, cycles) for name, cycles in ceilings if cycles)


def _roofs(found: Profile) -> tuple[str, str, tuple[Roof, ...], tuple[Point, ...]]:
    """Return unit, roofs and the point: operations of the cube or, where it has none, vector repeats.

    A repeat is what the vector unit does in a cycle: 256 bytes of an operand.
    """
    chip, roof = found.platform, found.roofline
    cores, per_ns = int(chip.ai_cores), float(chip.clock_hz) * 1e-9
    if roof.macs:
        unit, work = "TFLOP/s", 2e-3 * roof.macs
        peak = 2e-3 * int(chip.cube_m * chip.cube_k * chip.cube_n) * cores * per_ns
        name, scale = f"cube, {peak:.0f} TFLOP/s", 1e-3
    else:
        unit, work, peak = "vector repeats a ns", float(roof.vector_cycles * cores), cores * per_ns
        name, scale = f"vector units, {peak:.0f} repeats a ns", 1.0
    widths = (("HBM", int(chip.hbm_bytes_per_cycle)), ("L2", int(chip.l2_chip_bytes_per_cycle)))
    slopes = [
        Roof(f"{memory}, {width * per_ns * 1e-3:.2f} TB/s", slope=width * per_ns * scale, dash=dash)
        for (memory, width), dash in zip(widths, (None, "6 4"), strict=True)
    ]
    moved, ns = sum(gm_bytes(found.task)), found.us * 1e3
    point = Point(found.kernel.name, work / scale / moved if moved else 0.0, work / ns if ns else 0.0)
    across = f"{'operations' if roof.macs else 'vector repeats'} per byte of device memory"
    return unit, across, (Roof(name, peak=peak), *slopes), (point,)
