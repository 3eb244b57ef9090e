"""Small launches of every shipped kernel: odd lengths, several types, several tilings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import kernels
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.samples import odd_shapes


def launches(platform: Platform, tilings: int = 3) -> Iterator[tuple[Kernel, Shape, Tiling]]:
    """Yield every kernel with its shapes and, of each, the default tiling and some of its space."""
    for kernel in kernels.load().values():
        for shape in odd_shapes(kernel):
            chosen = dict.fromkeys([kernel.tiling_type.default(shape, platform)])
            chosen |= dict.fromkeys(islice(kernel.tiling_type.space(shape, platform), tilings))
            yield from ((kernel, shape, tiling) for tiling in chosen)
