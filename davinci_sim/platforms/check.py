"""What must hold for the figures of a chip, its own or a user's: each mistake is one clear message."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from davinci_sim.errors import DavinciError, nearest
from davinci_sim.platforms._build import unit_of
from davinci_sim.platforms.ascend910a import ascend910a
from davinci_sim.platforms.figure import Figure
from davinci_sim.platforms.instructions import NOT_VECTOR, THEIRS
from davinci_sim.platforms.platform import CUBE_DTYPES, Platform

VECTOR_DTYPES = ("fp16", "fp32", "int32", "int8", "uint8", "int16", "uint16", "bf16", "int4")
FIXED = {
    "block_bytes": "instructions count bursts and strides in blocks of this size",
    "fractal_bytes": "load2d and the layouts of L0A and L0B count in fractals of this size",
    "vector_bytes_per_repeat": "a vector instruction encodes repeats of eight blocks",
}
"""Figures that the encoding of instructions fixes: a chip may state them, not change them."""

MAY_BE_ZERO = (
    "_head_cycles",
    "_drain_cycles",
    "_min_cycles",
    "_start_cycles",
    "dispatch_cycles",
    "_l0c_conflict",
)
LINK = "link_"
"""How the figures of links between chips begin: a chip has all of them, or none."""
POWERS_OF_TWO = ("gm_fast_align_bytes", "l2_line_bytes")
PEAKS = {"peak_fp16_flops": "fp16", "peak_int8_ops": "int8"}
PEAK_TOLERANCE = 0.03  # published peaks are rounded
BUFFERS = ("l0a_bytes", "l0b_bytes", "l0c_bytes", "l1_bytes", "ub_bytes", "gm_bytes", "l2_bytes")
BITS = {"fp16": 16, "bf16": 16, "fp32": 32, "int8": 8, "uint8": 8, "int4": 4}
ACCUMULATOR_BYTES = 4
MOST_EVENT_IDS = 8


class BadPlatform(DavinciError):
    """A platform that says something unknown, unused or impossible."""


@dataclass(frozen=True)
class Problem:
    """One mistake: the figure, what it is now, the rule that it breaks and what to do.

    Attributes:
        key: the figure, or another word of the file.
        found: how it is now, as `= -1 B` or `is missing`.
        rule: what must hold, with numbers.
        step: what to do next.
    """

    key: str
    found: str
    rule: str
    step: str

    def error(self, where: str) -> BadPlatform:
        """Return the error, with the file (and line) or the platform that it is about."""
        subject = f"{self.key} {self.found}".rstrip()
        return BadPlatform(f"{where}: {subject}\n  rule: {self.rule}\n  next: {self.step}")


def check(chip: Platform, where: str) -> None:
    """Refuse a platform with a mistake.

    Raises:
        BadPlatform: the first mistake, at `where`.
    """
    for problem in problems(chip):
        raise problem.error(where)


def problems(chip: Platform) -> Iterator[Problem]:
    """Yield every mistake in the figures of a chip; the keys and their units are those of its base."""
    wanted = [key for key in ascend910a.figures if not _is_optional(key) or _has_links(chip, key)]
    missing = [key for key in wanted if key not in chip.figures]
    for key in missing:
        yield Problem(
            key,
            "is missing",
            "a chip has every figure",
            'start from platform("ascend910a").with_figures(...)',
        )
    alone = list(problems_of_figures(chip))
    yield from alone
    if not missing and not alone:  # the rest reckons with the figures
        yield from _of_sizes(chip)
        yield from _of_cube(chip)
        yield from _of_peaks(chip)


def problems_of_figures(chip: Platform) -> Iterator[Problem]:
    """Yield the mistakes that figures show by themselves: in key, unit and value."""
    for key, figure in chip.figures.items():
        yield from _of_figure(chip, key, figure)


def problem_of_key(key: str, keys: Collection[str]) -> Problem | None:
    """Tell what is wrong with one of the `keys` of a chip, if anything."""
    parts = key.split(".")
    if parts[0] == "vector_cycles" and len(parts) in (2, 3):
        return _of_vector_key(key, parts)
    for part in ("k", "n", "cycles"):
        dtype = key.removeprefix(f"cube_{part}_")
        if dtype != key and dtype in CUBE_DTYPES:
            return _of_cube_key(key, dtype, keys)
    if key in ascend910a.figures:
        return None
    close = nearest(key, ascend910a.figures)
    step = f"did you mean {' or '.join(close)}?" if close else "see `davinci platform ascend910a`"
    return Problem(key, "", "it is no figure of a chip: an unknown key would change nothing", step)


def _of_vector_key(key: str, parts: list[str]) -> Problem | None:
    if key == "vector_cycles.default":
        return None
    name, dtype = parts[1], parts[-1] if len(parts) == 3 else "fp16"
    if name not in THEIRS:
        close = nearest(name, THEIRS)
        step = f"did you mean vector_cycles.{close[0]}.{dtype}?" if close else "see docs/platforms.md"
        return Problem(key, "", f"there is no instruction {name}: an unknown key would change nothing", step)
    if name in NOT_VECTOR:
        return Problem(key, "", f"nothing reads it: {name} does not count repeats", "remove it")
    if dtype not in VECTOR_DTYPES:
        return Problem(key, "", f"{dtype} is no element type", f"take one of {', '.join(VECTOR_DTYPES)}")
    return None


def _of_cube_key(key: str, dtype: str, keys: Collection[str]) -> Problem | None:
    """Find a shape of the cube for a type that the cube does not take."""
    reader = "cube_k" if dtype == "fp16" else f"cube_k_{dtype}"
    if key == "cube_k_fp16" or reader not in keys:
        step = "give cube_k instead" if key == "cube_k_fp16" else f"give {reader}, too, or remove it"
        return Problem(
            key, "", f"nothing reads it: the cube takes {dtype} where there is a figure {reader}", step
        )
    return None


def _is_optional(key: str) -> bool:
    return (
        key.startswith(("vector_cycles.", "cube_k_", "cube_n_", "cube_cycles_", LINK))
        and key != "vector_cycles.default"
    )


def _has_links(chip: Platform, key: str) -> bool:
    """Tell whether a figure is one of links, of which the chip has some."""
    return key.startswith(LINK) and any(each.startswith(LINK) for each in chip.figures)


def _of_figure(chip: Platform, key: str, figure: Figure) -> Iterator[Problem]:
    """Yield the mistakes that one figure shows by itself."""
    wrong = problem_of_key(key, chip.figures)
    if wrong:
        yield wrong
        return
    reference = (chip.base.figures if chip.base else {}).get(key) or ascend910a.figures.get(key)
    unit = reference.unit if reference else unit_of(key)
    found = f"= {figure.value} {figure.unit}".strip()
    if figure.unit != unit:
        yield Problem(
            key,
            found,
            f"its unit is {unit or 'none (a plain count)'}",
            f'write unit = "{unit}" and the value in it',
        )
    elif not _is_reckonable(figure.value):
        yield Problem(key, found[:40], "a figure is a finite number below 2 ** 63", _instead(reference))
    elif isinstance(figure.value, float) and unit in {"B", "cycles", "B/cycle", "%", ""}:
        yield Problem(
            key, found, f"it counts {unit or 'things'}, so it is a whole number", "write it without a point"
        )
    elif figure.value < _least(key):
        yield Problem(
            key, found, f"it is {'0 or more' if _least(key) == 0 else '1 or more'}", _instead(reference)
        )
    elif unit == "%" and figure.value > 100:
        yield Problem(
            key, found, "it is the part that is left of a bandwidth, 1 to 100 %", _instead(reference)
        )
    elif figure.value > _most(key, unit):
        yield Problem(key, found, f"{_most(key, unit)} is the most that can be encoded", _instead(reference))
    elif key in POWERS_OF_TWO and int(figure.value) & (int(figure.value) - 1):
        yield Problem(key, found, "it is a power of two", _instead(reference))
    elif key in FIXED and figure.value != ascend910a.figures[key].value:
        fixed = ascend910a.figures[key].value
        yield Problem(key, found, f"it is {fixed} on every chip: {FIXED[key]}", "remove it")


def _is_reckonable(value: int | float) -> bool:
    """Tell whether a value is finite and fits the integers that cycles are counted with."""
    return abs(value) < 2**63  # false for NaN


def _least(key: str) -> int:
    return 0 if key.endswith(MAY_BE_ZERO) else 1


def _most(key: str, unit: str) -> int:
    """Return the bounds of the encoding: addresses of 48 bits, event ids of 3."""
    return MOST_EVENT_IDS if key == "event_ids_per_pipe_pair" else 2**48 if unit == "B" else 2**63


def _instead(reference: Figure | None) -> str:
    value = f", as {reference.value} {reference.unit}".rstrip() if reference else ""
    return f"give a possible value{value}"


def _of_sizes(chip: Platform) -> Iterator[Problem]:
    """Yield the sizes that do not divide as they must."""
    block = int(chip.block_bytes)
    for key in BUFFERS:
        if chip.figures[key].value % block:
            below = int(chip.figures[key].value) // block * block
            yield Problem(
                key,
                f"= {chip.figures[key].value} B",
                f"a memory is a multiple of {block} bytes, the smallest access",
                f"take {below or block} or {below + block}",
            )
    lines = int(chip.l2_line_bytes) * int(chip.l2_ways)
    if chip.l2_bytes % lines:
        yield Problem(
            "l2_bytes",
            f"= {chip.l2_bytes} B",
            f"L2 is whole sets: a multiple of l2_line_bytes * l2_ways = {lines}",
            f"take {max(1, int(chip.l2_bytes) // lines) * lines}, or change l2_ways",
        )
    if chip.ub_banks % chip.ub_bank_groups:
        yield Problem(
            "ub_banks",
            f"= {chip.ub_banks}",
            f"every group has as many banks: a multiple of ub_bank_groups = {chip.ub_bank_groups}",
            f"take {max(1, int(chip.ub_banks) // int(chip.ub_bank_groups)) * int(chip.ub_bank_groups)}",
        )


def _of_cube(chip: Platform) -> Iterator[Problem]:
    """Yield the cubes that L0 cannot hold one product for, or cannot feed at full rate with any tile."""
    for dtype, (m, k, n, cycles) in chip.cube_tiles.items():
        a, b = m * k * BITS[dtype] // 8, k * n * BITS[dtype] // 8
        needs = {"l0a_bytes": a, "l0b_bytes": b, "l0c_bytes": m * n * ACCUMULATOR_BYTES}
        small = [key for key, needed in needs.items() if needed > chip.figures[key].value]
        for key in small:
            yield Problem(
                f"cube of {m} x {k} x {n} in {dtype}",
                "",
                f"L0 holds one product: it needs {needs[key]} bytes, {key} is {chip.figures[key].value}",
                f"enlarge {key}, or make the cube smaller",
            )
        if not small:
            yield from _of_feeding(chip, dtype, (m, k, n, cycles))


def _of_feeding(chip: Platform, dtype: str, tile: tuple[int, int, int, int]) -> Iterator[Problem]:
    """Compare the cube's rate with what MTE1 loads for the best tile, its operands in two buffers each."""
    m, k, n, cycles = tile
    a_cycles = m * k * BITS[dtype] / 8 / chip.load2d_l0a_bytes_per_cycle
    b_cycles = n * k * BITS[dtype] / 8 / chip.load2d_l0b_bytes_per_cycle
    rows, columns = _best_tile(chip, dtype, tile, a_cycles / b_cycles)
    ratio = (rows * a_cycles + columns * b_cycles) / (rows * columns * cycles)
    if ratio > 1:
        yield Problem(
            f"cube of {m} x {k} x {n} in {dtype}",
            "",
            f"L0 feeds the cube: with the best tile, {rows * m} x {columns * n}, loading takes "
            f"{ratio:.1f} times as long as multiplying ({chip.load2d_l0a_bytes_per_cycle} and "
            f"{chip.load2d_l0b_bytes_per_cycle} B/cycle into L0A and L0B)",
            "make the cube smaller, or load2d_l0a_bytes_per_cycle, load2d_l0b_bytes_per_cycle or L0 larger",
        )


def _best_tile(chip: Platform, dtype: str, tile: tuple[int, int, int, int], a_to_b: float) -> tuple[int, int]:
    """Return the rows and columns of products that need the least loading for each product.

    A step of k multiplies rows * columns times and loads rows + columns times, so both grow until half of
    L0A, half of L0B or L0C is full. Where L0C is, rows * columns is fixed and the least of rows * a +
    columns * b lies at rows = sqrt(rows * columns * b / a).
    """
    m, k, n, _ = tile
    most_rows = max(1, int(chip.l0a_bytes) * 4 // (m * k * BITS[dtype]))
    most_columns = max(1, int(chip.l0b_bytes) * 4 // (n * k * BITS[dtype]))
    room = max(1, int(chip.l0c_bytes) // (m * n * ACCUMULATOR_BYTES))
    turns = (room // most_columns, int((room / a_to_b) ** 0.5), most_rows)
    tried = {min(max(1, turn + more), most_rows, room) for turn in turns for more in (0, 1)}
    shapes = [(rows, min(most_columns, room // rows)) for rows in sorted(tried)]
    return min(shapes, key=lambda shape: (shape[0] * a_to_b + shape[1]) / (shape[0] * shape[1]))


def _of_peaks(chip: Platform) -> Iterator[Problem]:
    """Yield the peaks that cores, cube and clock do not give."""
    for key, dtype in PEAKS.items():
        if dtype in chip.cube_tiles:
            derived, stated = chip.peak_flops(dtype), float(chip.figures[key].value)
            if abs(derived - stated) > PEAK_TOLERANCE * stated:
                yield Problem(
                    key,
                    f"= {stated:g} {chip.figures[key].unit}",
                    f"within {PEAK_TOLERANCE:.0%} of what cores, cube and clock give, {derived:g}",
                    "correct it, or remove it: it is then derived",
                )
