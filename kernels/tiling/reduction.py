"""Shapes and tilings of reductions: x[b, m, n] over its last or its middle axis."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from davinci_sim.isa.fields import FP16, FP32, INT32
from davinci_sim.platforms import Platform
from kernels.lang.shapes import Shape, Tiling
from kernels.pieces.reduce_rows import TILE_LANES
from kernels.rules import item_bytes, require, require_dtype, round_up

BLOCK, LANES, EDGE = 32, 64, 16
MAX_TILE_ROWS, MAX_COLUMNS = 128, 512
CELL = 8
"""What is left of a part of a row: the fp32 numbers of a block."""


@dataclass(frozen=True)
class ReduceShape(Shape):
    """x[b, m, n]: axis 1 reduces over n to y[b * m], axis 0 over m to y[b, n].

    With `parts` > 1 the axis is cut, so that more cores can take part: y is then fp32, [b * m, parts, 8] or
    [b, parts, n], and what remains is for a second launch; parts of a short axis may be empty. `out_dtype`
    is `dtype` or fp32. Integers give integers, in parts, too; sums beyond 32 bits lose their upper ones.
    """

    TYPES: ClassVar[tuple[int, ...]] = (FP16, FP32, INT32)

    OPTIONS: ClassVar[tuple[str, ...]] = ("axis",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        *(
            {"m": m, "n": n, "axis": axis, "dtype": dtype, "out_dtype": dtype}
            for m, n in ((17, 1234), (200, 70), (500, 3))
            for axis in (0, 1)
            for dtype in (FP16, FP32)
        ),
        *(
            {"b": b, "m": m, "n": n, "axis": 0, "dtype": dtype, "out_dtype": dtype}
            for b, m, n in ((40, 3, 5), (20, 49, 16), (7, 300, 21), (3, 5, 777))
            for dtype in (FP16, FP32)
        ),
        *(
            {"b": b, "m": m, "n": n, "axis": axis, "dtype": INT32, "out_dtype": INT32}
            for b, m, n, axis in ((1, 17, 1234, 1), (1, 200, 70, 0), (20, 49, 16, 0))
        ),
        {"m": 9, "n": 3000, "parts": 4, "out_dtype": FP32},
        {"m": 900, "n": 24, "parts": 5, "axis": 0, "out_dtype": FP32},
    )  # fmt: skip
    m: int
    n: int
    axis: int = 1
    b: int = 1
    parts: int = 1
    dtype: int = FP16
    out_dtype: int = FP16

    @property
    def reduced(self) -> int:
        """How many numbers make one."""
        return self.n if self.axis == 1 else self.m

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of y."""
        if self.axis == 1:
            rows = self.b * self.m
            return (rows,) if self.parts == 1 else (rows, self.parts, CELL)
        parts = () if self.parts == 1 else (self.parts,)
        return (*((self.b,) if self.b > 1 else ()), *parts, self.n)

    @property
    def is_narrow(self) -> bool:
        """Tell whether several whole matrices of b are reduced at once."""
        return self.axis == 0 and self.b > 1 and self.parts == 1 and self.n <= MAX_COLUMNS

    def check(self, kernel: str) -> None:
        """Refuse other axes and types, and parts that leave no room for partial results."""
        require(kernel, self.axis in (0, 1), "axis is 0 or 1", f"axis={self.axis}")
        require_dtype(kernel, self.dtype, *self.TYPES)
        results = (INT32,) if self.dtype == INT32 else (FP16, FP32)
        require_dtype(kernel, self.out_dtype, *results, name="out_dtype")
        if self.parts > 1:
            numbers = f"parts={self.parts}, axis={self.axis}, m={self.m}, n={self.n}"
            require(
                kernel, self.axis == 1 or self.n % CELL == 0, "parts of columns are whole blocks", numbers
            )
            wide = INT32 if self.dtype == INT32 else FP32
            require_dtype(kernel, self.out_dtype, wide, name="out_dtype of parts")


@dataclass(frozen=True)
class MeanShape(ReduceShape):
    """As ReduceShape, without integers."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        keys for keys in ReduceShape.SAMPLES if keys.get("dtype") != INT32
    )
    TYPES: ClassVar[tuple[int, ...]] = (FP16, FP32)


@dataclass(frozen=True)
class ReduceTiling(Tiling):
    """Rows and columns of a tile (rounded to multiples of 16 and 64) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows", "columns")
    rows: int
    columns: int
    slots: int = 2

    @classmethod
    def default(cls, shape: ReduceShape, platform: Platform) -> Self:
        """Return a tile of about 32 KB in fp32: whole rows along axis 1, some columns along axis 0."""
        cores = int(platform.ai_cores)
        if shape.axis == 1:
            total = shape.b * shape.m
            part = -(-shape.n // shape.parts)
            columns = round_up(-(-part // -(-part // TILE_LANES)), LANES)
            share = round_up(-(-total * shape.parts // cores), EDGE)
            return cls(min(MAX_TILE_ROWS, share, max(EDGE, TILE_LANES // columns // EDGE * EDGE)), columns)
        if shape.is_narrow:
            columns = round_up(shape.n, LANES)
            rows = TILE_LANES // min(columns, round_up(shape.n, CELL))
            return cls(min(round_up(-(-shape.b // cores) * shape.m, EDGE), rows // EDGE * EDGE), columns)
        columns = round_up(-(-shape.n * shape.b * shape.parts // cores), LANES)
        columns = min(columns, round_up(shape.n, LANES), MAX_COLUMNS)
        height = round_up(-(-shape.m // shape.parts), EDGE)
        return cls(min(height, TILE_LANES // columns // EDGE * EDGE), columns)

    @classmethod
    def space(cls, shape: ReduceShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, one of fewer rows and one of fewer columns."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > EDGE:
            yield cls(first.rows // 2, first.columns)
        if first.columns > LANES:
            yield cls(first.rows, first.columns // 2)

    def blocks(self, shape: ReduceShape, platform: Platform) -> int:
        """Return one core per block of results along rows, per 64 columns of a part, as many as there are."""
        unit = BLOCK // item_bytes(shape.out_dtype)
        if shape.axis == 1:
            items = shape.parts * -(-shape.b * shape.m // (unit if shape.parts == 1 else 1))
        elif shape.is_narrow:
            row_bytes = shape.n * item_bytes(shape.out_dtype)
            items = -(-shape.b // (BLOCK // min(BLOCK, row_bytes & -row_bytes)))
        else:
            items = shape.b * shape.parts * max(1, shape.n // LANES)
        return min(int(platform.ai_cores), items)
