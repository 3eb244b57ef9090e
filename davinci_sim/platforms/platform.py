"""The numbers of one chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from davinci_sim.errors import nearest, unknown
from davinci_sim.platforms.figure import Figure
from davinci_sim.platforms.instructions import THEIRS

CUBE_DTYPES = ("fp16", "bf16", "fp32", "int8", "uint8", "int4")
"""Types that some cube multiplies; a platform's takes those with a figure cube_k_<dtype> (fp16: cube_k)."""

BESIDE_THE_CORES = (
    "label_cycles", "label_goto_cycles", "label_switch_cycles", "aicpu_start_cycles", "aicpu_bytes_per_cycle",
    "host_link_bytes_per_cycle", "host_sync_cycles", "link_bytes_per_cycle", "link_planes",
    "link_step_cycles", "link_ranks",
)  # fmt: skip
"""Figures of the task scheduler, the AI CPU, the host and other chips: no kernel's time depends on them."""


@dataclass(frozen=True)
class Platform:
    """One chip: a name, a sentence, and figures; `p.ub_bytes` is the value of `p.figure("ub_bytes")`.

    A platform is data and stays as it is; `with_figures` returns a changed one for a what-if.

    Attributes:
        name: as in `davinci platform`, or the name of a user's file.
        description: one line.
        figures: all numbers by key.
        instructions: the element types of every instruction that the chip's configuration file lists; empty
            where nothing is known, which then allows everything.
        base: the platform that this one was made from by changing figures; None for a chip of the kit.
    """

    name: str
    description: str
    figures: Mapping[str, Figure]
    instructions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    base: Platform | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Freeze the figures; refuse a bare number."""
        for key, figure in self.figures.items():
            if not isinstance(figure, Figure):
                raise TypeError(
                    f"Platform({self.name!r}): {key} = {figure!r} is a bare number; a figure says its "
                    f'unit and where it comes from: write published({figure!r}, "<unit>", "<document>"), or '
                    f"measured, fitted, assumed"
                )
        object.__setattr__(self, "figures", MappingProxyType(dict(self.figures)))
        object.__setattr__(self, "instructions", MappingProxyType(dict(self.instructions)))
        own = {key: figure.value for key, figure in self.figures.items() if not hasattr(type(self), key)}
        self.__dict__.update(own)  # found at once: estimates look figures up a million times

    def figure(self, key: str) -> Figure:
        """Return a figure with unit and source; an unknown key is answered with the nearest ones."""
        if key not in self.figures:
            raise unknown(f"figure of {self.name}", key, self.figures)
        return self.figures[key]

    @property
    def cube_tiles(self) -> dict[str, tuple[int, int, int, int]]:
        """Return m, k, n of one product of the cube and its cycles, for every element type that it takes."""
        tiles = {}
        for dtype in CUBE_DTYPES:
            k = self.figures.get("cube_k" if dtype == "fp16" else f"cube_k_{dtype}")
            if k is None:
                continue
            n = self.figures.get(f"cube_n_{dtype}", self.figures["cube_n"])
            cycles = self.figures.get(f"cube_cycles_{dtype}")
            tiles[dtype] = (
                int(self.figures["cube_m"].value), int(k.value), int(n.value),
                1 if cycles is None else int(cycles.value),
            )  # fmt: skip
        return tiles

    def vector_cycles(self, instruction: str, dtype: str) -> int:
        """Return the cycles of one 256-byte repeat of a vector instruction on `dtype`."""
        key = f"vector_cycles.{instruction}.{dtype}"
        return int(self.figures.get(key, self.figures["vector_cycles.default"]).value)

    def peak_flops(self, dtype: str = "fp16") -> float:
        """Return the operations per second of all cubes, an accumulating product counted as two."""
        if dtype not in self.cube_tiles:
            raise unknown("cube dtype", dtype, self.cube_tiles)
        m, k, n, cycles = self.cube_tiles[dtype]
        return float(2 * m * k * n / cycles * self.ai_cores * self.clock_hz)

    def with_figures(self, name: str, **figures: Figure) -> Platform:
        """Return a platform called `name` with some figures replaced or added."""
        return Platform(name, self.description, {**self.figures, **figures}, self.instructions, self)

    @property
    def overrides(self) -> dict[str, Figure | None]:
        """Return the base's figure (None: it has none) for every key that this platform changed or added."""
        if self.base is None:
            return {}
        before = self.base.figures
        return {key: before.get(key) for key, figure in self.figures.items() if before.get(key) != figure}

    def supports(self, instruction: str, dtype: str) -> bool:
        """Tell whether the chip has an instruction for an element type; True where its file says nothing.

        `dtype` is plain ("fp16"), or with the type of the result ("fp32>fp16"), or rounding ("fp32>fp16:o").

        >>> from davinci_sim.platforms import platform
        >>> platform("ascend910a").supports("vsqrt", "fp16"), platform("ascend310").supports("vsqrt", "fp16")
        (True, False)
        """
        if not self.instructions or instruction not in THEIRS:
            return True
        types = self.instructions.get(instruction)
        if types is None:
            return False
        return not types or dtype in types or dtype in {known.partition(">")[0] for known in types}

    # Any: the figures are data, so their types cannot be told from the class.
    def __getattr__(self, key: str) -> Any:
        """Return the value of a figure."""
        figures = self.__dict__.get("figures", {})
        if key in figures:
            return figures[key].value
        close = nearest(key, figures)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise AttributeError(f"platform {self.__dict__.get('name')} has no figure {key!r}{hint}")

    @cached_property
    def digest(self) -> str:
        """What tells apart chips that may share a name: a digest of the instructions and of all values.

        Figures beside the cores are left out: what was found for kernels holds whatever they are.
        """
        import hashlib

        mine = ((key, figure) for key, figure in self.figures.items() if key not in BESIDE_THE_CORES)
        values = sorted((key, repr(figure.value)) for key, figure in mine)
        types = sorted((name, sorted(known)) for name, known in self.instructions.items())
        return hashlib.blake2b(repr((values, types)).encode(), digest_size=8).hexdigest()

    def __hash__(self) -> int:
        """Hash what equality compares, but for words; equal platforms have equal digests."""
        return hash((self.name, self.digest))

    def __reduce__(self) -> tuple[type[Platform], tuple[Any, ...]]:
        """Let a platform be copied and sent to another process (a mapping proxy alone cannot)."""
        return Platform, (self.name, self.description, dict(self.figures), dict(self.instructions), self.base)

    def __repr__(self) -> str:
        """Print the name; the figures are many."""
        return f"Platform({self.name!r}, {len(self.figures)} figures)"
