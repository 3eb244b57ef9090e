"""Fit the figures of the 910B1 on every second point of the published tables.

`python -m experiments.instructions.fit` prints what it finds; the platform holds it. The law of a move is
that of the machine: a head and the bytes over the path, but no less than the bytes over a core's share of
L2. The whole numbers are taken that make the sum of the squared relative errors least.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from davinci_sim.platforms import Platform, platform
from experiments.instructions.tables import KIB, Table, read_tables

CHIP = "ascend910b1"


@dataclass(frozen=True)
class Law:
    """What the time of one instruction is made of: ranges of the figures to look for, or one value."""

    head: Iterable[int]
    bytes_per_cycle: Iterable[int]
    share: Iterable[int] = (1 << 30,)


def laws(chip: Platform) -> dict[str, Law]:
    """Return where to look, by table; figures that are published stay as they are."""
    return {
        "mmad_stream": Law(range(10), [1]),
        "mmad_alone": Law(range(10, 40), [1]),
        "l1_to_l0a": Law(range(20), [int(chip.load2d_l0a_bytes_per_cycle)]),
        "l1_to_l0b": Law(range(20), [int(chip.load2d_l0b_bytes_per_cycle)]),
        "gm_to_l1": Law(range(150, 231), range(140, 201)),
        "gm_to_ub": Law(range(150, 281), range(50, 131), range(40, 61)),
        "ub_to_gm": Law(range(100, 181), range(60, 131), [int(chip.l2_write_bytes_per_cycle)]),
    }


def best(table: Table, law: Law) -> tuple[int, int, int]:
    """Return head, bytes per cycle (of a product: products) and share that fit the fitted points best."""
    rows = [
        (_size(table, label), table.cycles(label, value))
        for position, (label, value) in enumerate(table.points)
        if table.is_fitted(position)
    ]
    sizes, cycles = np.array(rows).T

    def squares(figures: tuple[int, int, int]) -> float:
        head, rate, share = figures
        found = np.maximum(head + np.ceil(sizes / rate), sizes / share)
        return float(((found / cycles - 1) ** 2).sum())

    return min(itertools.product(law.head, law.bytes_per_cycle, law.share), key=squares)


def _size(table: Table, label: float | str) -> float:
    """Return the bytes of a move, the fractal products of a product."""
    if table.kind == "mmad":
        return int(table.options["m"]) // 16 * float(label) / 16
    return float(label) * KIB


def figures() -> Mapping[str, int]:
    """Return the figures of the platform as fitted now."""
    tables, chip = read_tables(), platform(CHIP)
    found = {name: best(tables[name], law) for name, law in laws(chip).items()}
    head = found["mmad_stream"][0]
    return {
        "mmad_head_cycles": head,
        "mmad_drain_cycles": found["mmad_alone"][0] - head,
        "load2d_l0a_head_cycles": found["l1_to_l0a"][0],
        "load2d_l0b_head_cycles": found["l1_to_l0b"][0],
        "gm_to_l1_head_cycles": found["gm_to_l1"][0],
        "gm_to_l1_bytes_per_cycle": found["gm_to_l1"][1],
        "gm_to_ub_head_cycles": found["gm_to_ub"][0],
        "gm_to_ub_bytes_per_cycle": found["gm_to_ub"][1],
        "l2_chip_bytes_per_cycle": found["gm_to_ub"][2] * int(tables["gm_to_ub"].options["cores"]),
        "gm_write_head_cycles": found["ub_to_gm"][0],
        "ub_to_gm_bytes_per_cycle": found["ub_to_gm"][1],
    }


if __name__ == "__main__":
    held = platform(CHIP)
    for key, value in figures().items():
        print(f"{key} = {value} ({CHIP} holds {held.figure(key).value:g})")
