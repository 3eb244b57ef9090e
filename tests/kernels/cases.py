"""Shapes of every kernel, from the names of its axes alone: a kernel that is added needs no entry here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import DTYPE_NAMES
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape

Axes = dict[str, int]

SMALL: dict[str, Axes] = {
    "image": {"n": 2, "c": 20, "h": 9, "w": 9, "o": 20, "kh": 3, "kw": 3, "stride": 2},
    "matrix": {"m": 33, "k": 70, "n": 50},
    "flat": {"n": 2500, "rows": 50},
}
LARGE: dict[str, Axes] = {
    "image": {"n": 3, "c": 70, "h": 30, "w": 30, "o": 100, "kh": 3, "kw": 3, "stride": 2},
    "matrix": {"m": 700, "k": 300, "n": 520},
    "flat": {"n": 600_000, "rows": 600},
}
"""Odd lengths, by the axes that a problem has; the large ones take many cores, and several tiles of each."""
MOST_OPTIONS = 4


def shapes(kernel: Kernel, sizes: dict[str, Axes]) -> Iterator[Shape]:
    """Yield a kernel's shapes: every element type that it takes with every value of its options."""
    names = kernel.shape_type.names()
    kind = "image" if "h" in names else "matrix" if "m" in names else "flat"
    axes = {name: value for name, value in sizes[kind].items() if name in names}
    types = [name for name in names if name.endswith("dtype")]
    options = [name for name in names if name in kernel.shape_type.OPTIONS]
    ranges = [range(len(DTYPE_NAMES))] * len(types) + [range(MOST_OPTIONS)] * len(options)
    for values in product(*ranges):
        chosen = dict(zip((*types, *options), values, strict=True))
        if _is_legal(kernel, chosen, axes):
            yield kernel.shape_type(**axes, **chosen)


def _is_legal(kernel: Kernel, chosen: Axes, axes: Axes) -> bool:
    """Tell whether a kernel takes this shape."""
    try:
        kernel.shape_type.of(kernel.name, {**axes, **chosen})
    except BadShape:
        return False
    return True
