"""Read a platform's figures into the numbers that instructions are timed with."""

import numpy as np

from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.isa.machine import Costs
from davinci_sim.platforms import Platform

_NAMES = {
    "cube_k_bytes": lambda p: p.cube_k * 2,
    "load2d_head_cycles": lambda p: p.load2d_l0a_head_cycles,
}


def costs_of(platform: Platform) -> Costs:
    """Return the costs of a platform; `vector_cycles[opcode, dtype]` falls back to its default figure."""
    numbers = {
        name: int(_NAMES[name](platform) if name in _NAMES else getattr(platform, name))
        for name in Costs._fields
        if name != "vector_cycles"
    }
    return Costs(**numbers, vector_cycles=_vector_cycles(platform))


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
