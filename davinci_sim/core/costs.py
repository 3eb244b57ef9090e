"""Read a platform's figures into the numbers that instructions are timed with."""

from functools import lru_cache
from typing import Any

import numpy as np

from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.isa.machine import Costs
from davinci_sim.isa.pipes import Pipe
from davinci_sim.platforms import Platform

_DRAINS = {
    Pipe.V: "vector_drain_cycles",
    Pipe.M: "mmad_drain_cycles",
    Pipe.MTE1: "mte1_drain_cycles",
}


@lru_cache(maxsize=32)
def costs_of(platform: Platform) -> Costs:
    """Return the costs of a platform; `vector_cycles[opcode, dtype]` falls back to its default figure."""
    tables: dict[str, Any] = {  # of numbers and arrays, by the names of fields
        "cube": _cube(platform),
        "vector_cycles": _vector_cycles(platform),
        "drain_cycles": _drain_cycles(platform),
    }
    numbers = {name: int(getattr(platform, name)) for name in Costs._fields if name not in tables}
    return Costs(**{**numbers, **tables})


def _cube(platform: Platform) -> np.ndarray:
    """Return m, k, n and cycles of one product of the cube per element type; zeros where there is none."""
    table = np.zeros((len(DTYPE_NAMES), 4), dtype=np.int64)
    for code, dtype in enumerate(DTYPE_NAMES):
        if dtype in platform.cube_tiles:
            table[code] = platform.cube_tiles[dtype]
    return table


def _drain_cycles(platform: Platform) -> np.ndarray:
    """Return, per pipe, the cycles from the end of a unit's work on an instruction to its result."""
    table = np.zeros(int(Pipe.ALL) + 1, dtype=np.int64)
    for pipe, figure in _DRAINS.items():
        table[pipe] = int(getattr(platform, figure))
    return table


def _vector_cycles(platform: Platform) -> np.ndarray:
    figures = platform.figures
    default = int(figures["vector_cycles.default"].value)
    table = np.full((len(INSTRUCTIONS) + 1, len(DTYPE_NAMES)), default, dtype=np.int64)
    for name, declared in INSTRUCTIONS.items():
        for code, dtype in enumerate(DTYPE_NAMES):
            figure = figures.get(f"vector_cycles.{name}.{dtype}") or figures.get(f"vector_cycles.{name}")
            if figure is not None:
                table[declared.opcode, code] = int(figure.value)
    return table


def without_losses(costs: Costs) -> Costs:
    """Return the costs of a chip without bank conflicts, whose transfers have no heads."""
    return costs._replace(
        ub_bank_groups=0, mmad_l0c_conflict=0, gm_read_head_cycles=0, gm_to_l1_head_cycles=0,
        gm_to_ub_head_cycles=0, gm_write_head_cycles=0,
    )  # fmt: skip
