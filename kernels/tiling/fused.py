"""Shapes and tilings of fused chains: the expression is a part of the shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from davinci_sim.isa.fields import FP16, FP32
from kernels.lang.shapes import Shape
from kernels.pieces.broadcast import COLUMN, NUMBER, ROW, SAME
from kernels.rules import item_bytes, require
from kernels.tiling.expression import MOST_STEPS, Expression, Source, Step, assemble, disassemble
from kernels.tiling.flat import FlatTiling

STEPS = tuple(f"s{i}" for i in range(MOST_STEPS))
TYPES = (FP16, FP32)
SHORTEST, LONGEST_ROW = 256, 4096
"""Elements: tiles without rows are multiples of the first; rows that are broadcast are not longer."""
MOST_PITCH = 255 * 32
"""Bytes between rows that a repeat can step over."""


def _fields(sources: tuple[Source, ...], steps: tuple[Step, ...], results: tuple[str, ...]) -> dict[str, int]:
    return assemble(Expression(sources, steps, results))


_HALF, _FULL = Source(FP16), Source(FP32)
_RESIDUAL = _fields((_HALF, _HALF), (Step("add", ("x0", "x1"), FP16), Step("relu", ("t0",), FP16)), ("t1",))
_SCALED = _fields(
    (_HALF, _FULL, Source(FP32, NUMBER)),
    (
        Step("cast", ("x0",), FP32), Step("mul", ("t0", "x2"), FP32), Step("add", ("t1", "x1"), FP32),
        Step("maximum", ("t2", -0.5), FP32), Step("cast", ("t3",), FP16), Step("abs", ("t0",), FP32),
    ),
    ("t3", "t4"),
)  # fmt: skip
_CHOSEN = _fields(
    (_HALF, _HALF, _HALF),
    (
        Step("greater", ("x0", 0.25), FP16), Step("select", ("t0", "x1", "x2"), FP16),
        Step("relu_grad", ("x1", "t1"), FP16), Step("sub", (1.0, "t2"), FP16), Step("square", ("t3",), FP16),
    ),
    ("t4", "t1"),
)  # fmt: skip
_BIASED = _fields(
    (_HALF, Source(FP16, ROW), Source(FP16, COLUMN)),
    (Step("add", ("x0", "x1"), FP16), Step("sub", ("t0", "x2"), FP16), Step("relu", ("t1",), FP16)),
    ("t2",),
)


@dataclass(frozen=True)
class FusedShape(Shape):
    """n elements, rows of n / rows where a source is broadcast, and the expression as integers."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("sources", "results", "spare", *STEPS)
    UNVARIED: ClassVar[tuple[str, ...]] = OPTIONS
    SMALL: ClassVar[Mapping[str, int]] = {"n": 2500, "rows": 1, **_SCALED}
    LARGE: ClassVar[Mapping[str, int]] = {"n": 600_000, "rows": 1, **_CHOSEN}
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37, **_RESIDUAL}, {"n": 9000, **_SCALED}, {"n": 9000, **_CHOSEN},
        {"n": 40 * 48, "rows": 40, **_BIASED},
    )  # fmt: skip
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 32 * 256 * 56 * 56, **_RESIDUAL}, {"n": 12288 * 1024, **_SCALED},
    )  # fmt: skip
    n: int
    rows: int = 1
    sources: int = 0
    results: int = 0
    spare: int = 0
    s0: int = 0
    s1: int = 0
    s2: int = 0
    s3: int = 0
    s4: int = 0
    s5: int = 0
    s6: int = 0
    s7: int = 0
    s8: int = 0
    s9: int = 0
    s10: int = 0
    s11: int = 0

    @property
    def expression(self) -> Expression:
        """What is computed."""
        steps = (getattr(self, name) for name in STEPS)
        return disassemble(self.sources, self.results, tuple(step for step in steps if step))

    @property
    def columns(self) -> int:
        """Elements of a row."""
        return self.n // self.rows

    @property
    def dtype(self) -> int:
        """The widest element type."""
        expression = self.expression
        return max([s.dtype for s in expression.sources] + [s.dtype for s in expression.steps])

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot, half of the arrays without slots among them."""
        expression = self.expression
        taken = [item_bytes(s.dtype) for s in expression.sources if s.pattern == SAME]
        given = [item_bytes(expression.type_of(name)) for name in expression.results]
        once = [item_bytes(s.dtype) for s in expression.sources if s.pattern == ROW]
        once += [4 if self.spare >> 3 + i & 1 else 2 for i in range(self.spare & 7)]
        return sum(taken) + sum(given) + -(-sum(once) // 2)

    def __str__(self) -> str:
        """Print the expression as text."""
        rows = f",rows={self.rows}" if self.rows > 1 else ""
        return f"n={self.n}{rows},{self.expression}"

    def check(self, kernel: str) -> None:
        """Refuse integers that are no expression, and rows that the kernel does not broadcast."""
        expression = self.expression
        given = {name: getattr(self, name) for name in self.OPTIONS if getattr(self, name)}
        is_whole = bool(expression.steps) and "" not in expression.results
        made = assemble(expression) if is_whole else {}
        rule = "sources, results, spare and steps are what `kernels.tiling.expression.assemble` gives"
        require(kernel, given == {k: v for k, v in made.items() if v}, rule, f"{len(expression.steps)} steps")
        types = {s.dtype for s in expression.sources} | {s.dtype for s in expression.steps}
        require(kernel, types <= set(TYPES), "types are fp16 and fp32", f"types={sorted(types)}")
        require(kernel, self.n % self.rows == 0, "rows divides n", f"n={self.n}, rows={self.rows}")
        self._check_rows(kernel, {source.pattern for source in expression.sources})

    def _check_rows(self, kernel: str, patterns: set[int]) -> None:
        if patterns & {ROW, COLUMN}:
            numbers, most = f"rows of {self.columns} elements", LONGEST_ROW
            if COLUMN in patterns:
                most = min(most, MOST_PITCH // item_bytes(self.dtype))
            require(
                kernel, self.columns <= most, f"a row that is broadcast has at most {most} elements", numbers
            )
            require(kernel, self.columns % 16 == 0, "a row that is broadcast is a multiple of 16", numbers)


@dataclass(frozen=True)
class FusedTiling(FlatTiling):
    """Elements of a tile (whole rows where a source is broadcast), buffers of each hand-off, cores to use."""
