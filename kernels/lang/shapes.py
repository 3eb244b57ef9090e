"""Shapes and tilings: frozen dataclasses of integers that a kernel is emitted for."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from davinci_sim.errors import BadShape, BadTiling, unknown
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.memory.dtypes import dtype as dtype_of
from davinci_sim.platforms import Platform
from kernels.lang import packed

SLOTS = (1, 2, 3, 4)
"""How many buffers of a hand-off a search tries."""
EIGHTHS = (7, 6, 5, 4, 3, 2)
"""To how many eighths it shortens each length."""


@dataclass(frozen=True)
class Integers:
    """A frozen dataclass whose fields are integers, handed to compiled code as a named tuple."""

    def pack(self) -> Any:
        """Return the fields as the named tuple that the emitting function takes."""
        return packed.named(self.names())(*dataclasses.astuple(self))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the fields."""
        return tuple(field.name for field in dataclasses.fields(cls))

    def __str__(self) -> str:
        """Print as `m=1,k=2,dtype=fp16`, as the command line takes it."""
        return ",".join(f"{name}={self._printed(name)}" for name in self.names())

    def _printed(self, name: str) -> int | str:
        value: int = getattr(self, name)
        return DTYPE_NAMES[value] if name.endswith("dtype") else value


@dataclass(frozen=True)
class Shape(Integers):
    """The axes of a problem, its options and the element types (as codes of the instruction set)."""

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Fields that may be 0 or are no axes."""
    UNVARIED: ClassVar[tuple[str, ...]] = ()
    """Options that samples leave at 0 unless they name them, and that are printed where they are not 0."""
    APART: ClassVar[tuple[str, ...]] = ()
    """Options that touch different parts of a kernel: samples vary one of them at a time."""
    SMALL: ClassVar[Mapping[str, int]] = {}
    LARGE: ClassVar[Mapping[str, int]] = {}
    """Axes of a small and a large problem where those of `kernels.samples`, which go by name, do not suit."""
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = ()
    """Small odd problems that the checks and the seeded bugs run on; none: the small one in every type."""
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ()
    """Problems of ResNet-50 at batch 32 and of BERT-Large at 12,288 tokens; none: LARGE, or by name."""

    def __str__(self) -> str:
        """Print as the command line takes it, without unvaried options of 0."""
        names = (name for name in self.names() if name not in self.UNVARIED or getattr(self, name))
        return ",".join(f"{name}={self._printed(name)}" for name in names)

    @classmethod
    def of(cls, kernel: str, axes: dict[str, int], dtype: str | None = None) -> Self:
        """Build a shape from axis letters and check it; `dtype` names the element type of the operands.

        Raises:
            BadShape: an axis is missing, unknown, or not positive.
        """
        known = cls.names()
        for key in axes:
            if key not in known:
                raise unknown(f"axis of kernel {kernel}", key, [n for n in known if not n.endswith("dtype")])
        values = dict(axes)
        if dtype is not None:
            values["dtype"] = dtype_of(dtype).code
            if cls._results_follow():
                values.setdefault("out_dtype", values["dtype"])
        missing = [
            f.name
            for f in dataclasses.fields(cls)
            if f.default is dataclasses.MISSING and f.name not in values
        ]
        if missing:
            raise BadShape(
                f"kernel {kernel}: the shape lacks {', '.join(missing)}\n"
                f"  rule: it takes {', '.join(known)}\n  next: --shape {','.join(f'{m}=64' for m in missing)}"
            )
        shape = cls(**values)
        for name in known:
            value = getattr(shape, name)
            if name not in cls.OPTIONS and not name.endswith("dtype") and value < 1:
                raise BadShape(f"kernel {kernel}: {name}={value}\n  rule: every axis is at least 1")
        shape.check(kernel)
        return shape

    @classmethod
    def _results_follow(cls) -> bool:
        """Tell whether results have the operands' element type unless the user says otherwise."""
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        return "out_dtype" in defaults and defaults["out_dtype"] == defaults["dtype"]

    def check(self, kernel: str) -> None:
        """Raise BadShape where axes contradict each other; nothing to check by default."""


@dataclass(frozen=True)
class Tiling(Integers):
    """How a problem is cut into pieces that fit the buffers."""

    LENGTHS: ClassVar[tuple[str, ...]] = ()
    """Fields that may be made smaller freely, where the buffers of a chip do not take the default tiling."""

    @classmethod
    def default(cls, shape: Any, platform: Platform) -> Self:
        """Return a good tiling without searching."""
        raise NotImplementedError

    @classmethod
    def space(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield legal tilings worth trying, the default one first."""
        yield cls.default(shape, platform)

    @classmethod
    def candidates(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield all that a search tries: `space`, with fewer and more slots, with shorter lengths.

        Every one is legal, though its buffers may not fit; some come twice.
        """
        for first in cls.space(shape, platform):
            yield first
            for slots in SLOTS if "slots" in cls.names() else (0,):
                made = first._with("slots", slots) if slots else first
                yield made
                for name in cls.LENGTHS:
                    for part in EIGHTHS:
                        yield made._with(name, max(1, int(getattr(made, name)) * part // 8))

    def smaller(self) -> Iterator[Self]:
        """Yield ever smaller tilings, the longest length halved each time; then the same with one slot."""
        yield from self._halves()
        if getattr(self, "slots", 1) > 1:
            single = self._with("slots", 1)
            yield single
            yield from single._halves()

    def _halves(self) -> Iterator[Self]:
        """Yield the tilings with the longest length halved once, twice, ... until all are 1."""
        made = self
        while any(getattr(made, name) > 1 for name in self.LENGTHS):
            lengths = {name: int(getattr(made, name)) for name in self.LENGTHS}
            longest = max(lengths, key=lambda name: lengths[name])
            made = made._with(longest, lengths[longest] // 2)
            yield made

    def _with(self, name: str, value: int) -> Self:
        """Return this tiling with one field changed."""
        changed: dict[str, Any] = {name: value}
        return dataclasses.replace(self, **changed)

    @classmethod
    def of(cls, kernel: str, values: dict[str, int], shape: Any, platform: Platform) -> Self:
        """Build a tiling from the default one and the given fields.

        Raises:
            BadTiling: a field is unknown or not positive.
        """
        for key, value in values.items():
            if key not in cls.names():
                raise unknown(f"tiling field of kernel {kernel}", key, cls.names())
            if value < 1:
                raise BadTiling(f"kernel {kernel}: tiling {key}={value}\n  rule: every field is at least 1")
        return dataclasses.replace(cls.default(shape, platform), **values)

    def blocks(self, shape: Any, platform: Platform) -> int:
        """Return how many cores take part."""
        raise NotImplementedError
