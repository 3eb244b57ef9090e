"""What a search found, and what tells whether it still holds."""

import hashlib
from dataclasses import dataclass

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling


@dataclass(frozen=True)
class Tuned:
    """The best tiling of a kernel for one shape on one chip.

    Attributes:
        kernel: the kernel's name.
        shape: the shape, as it prints.
        platform: the chip's name.
        tiling: the best tiling; of several the first one, and the default one comes first.
        cycles: what the kernel takes with it, on an idle chip whose L2 is empty.
        default: the tiling without a search.
        default_cycles: what the kernel takes with that.
        candidates: how many tilings were looked at.
        digest: of the instructions of both tilings, their cycles and the chip's figures.
    """

    kernel: str
    shape: str
    platform: str
    tiling: Tiling
    cycles: int
    default: Tiling
    default_cycles: int
    candidates: int
    digest: str

    @property
    def speedup(self) -> float:
        """How many times as fast as the default tiling: at least 1."""
        return self.default_cycles / self.cycles if self.cycles else 1.0


def fingerprint(kernel: Kernel, shape: Shape, platform: Platform, tiling: Tiling) -> str:
    """Return a digest of what the first and the last core do with a tiling, and of what it costs them.

    It changes with the kernel, the instructions' costs and the chip, and with nothing else: a comment or a
    new version of Python leaves it.
    """
    blocks = tiling.blocks(shape, platform)
    digest = hashlib.sha256(f"{tiling} {blocks} {platform.digest}".encode())
    for block in sorted({0, blocks - 1}):
        program = kernel.program(shape, platform, tiling, block)
        digest.update(program.digest().encode())
        digest.update(count_cycles(program.words, costs_of(platform)).tobytes())
    return digest.hexdigest()[:16]


def digest_of(kernel: Kernel, shape: Shape, platform: Platform, *tilings: Tiling) -> str:
    """Return one digest for several tilings."""
    parts = " ".join(fingerprint(kernel, shape, platform, tiling) for tiling in tilings)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
