"""Shapes of convolutions, and the dense convolutions of stride 1 or forward that they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import DTYPE_NAMES, FP16, FP32, INT8
from davinci_sim.platforms import Platform
from kernels.lang.shapes import Shape
from kernels.pieces.convolution_mixed import LANDING_BYTES
from kernels.pieces.window import SKIP_WIDTH
from kernels.tiling.padding import Padding

EDGE, FRACTAL_BYTES, BLOCK_BYTES, ACCUMULATOR_BYTES = 16, 512, 32, 1024
FEW = 4
"""Channels of a position where there are few, and positions of a block then."""
FEW_SAMPLE = {
    "n": 2, "c": 3, "h": 13, "w": 16, "o": 20, "kh": 5, "kw": 3, "stride": 2, "pad": 1, "few": 1,
}  # fmt: skip
MAX_STRIDE, MAX_FILTER = 63, 255


def ceil_div(value: int, by: int) -> int:
    """Return value / by, rounded up."""
    return -(-value // by)


def even(length: int, limit: int) -> int:
    """Return the longest piece when `length` is cut evenly into the fewest pieces of at most `limit`.

    >>> even(9, 8)
    5
    """
    return ceil_div(length, ceil_div(length, limit))


def groups(channels: int) -> int:
    """Return how many groups of 16 channels there are."""
    return ceil_div(channels, EDGE)


@dataclass(frozen=True)
class ConvShape(Padding, Shape):
    """x[n, c, h, w] and w[o, c, kh, kw] give y[n, o, oh, ow]; the gradients keep the forward names.

    With `few` = 1 the at most 4 channels of x are not padded to 16: x lies as NC1HWC0_C04, w as
    FRACTAL_Z_C04.
    """

    UNVARIED: ClassVar[tuple[str, ...]] = (*Padding.SIDES, "few")
    TAKES_FEW: ClassVar[bool] = False
    """Whether the kernel knows maps of few channels."""
    OPTIONS: ClassVar[tuple[str, ...]] = ("pad", *UNVARIED)
    TYPES: ClassVar[tuple[int, tuple[int, ...]]] = (FP16, (FP16, FP32))
    """The type of the operands, and those of the result."""
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 1, "c": 3, "h": 12, "w": 12, "o": 20, "kh": 3, "kw": 3, "pad": 1},
        {"n": 2, "c": 32, "h": 14, "w": 14, "o": 48, "kh": 1, "kw": 1, "stride": 2},
        {"n": 1, "c": 64, "h": 28, "w": 28, "o": 64, "kh": 3, "kw": 3, "stride": 2, "pad": 1},
        {"n": 2, "c": 16, "h": 20, "w": 20, "o": 16, "kh": 5, "kw": 5, "pad": 2, "dilation": 2},
        {"n": 4, "c": 128, "h": 10, "w": 10, "o": 130, "kh": 3, "kw": 3},
        {"n": 2, "c": 40, "h": 9, "w": 9, "o": 40, "kh": 3, "kw": 3, "pad": 1, "groups": 40},
        {"n": 2, "c": 24, "h": 7, "w": 7, "o": 48, "kh": 3, "kw": 3, "pad": 1, "stride": 2, "groups": 3},
        {"n": 2, "c": 9, "h": 8, "w": 8, "o": 9, "kh": 3, "kw": 2, "stride": 2, "more_bottom": 2},
    )
    n: int
    c: int
    h: int
    w: int
    o: int
    kh: int
    kw: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    groups: int = 1
    more_top: int = 0
    more_bottom: int = 0
    more_left: int = 0
    more_right: int = 0
    dtype: int = FP16
    out_dtype: int = FP16
    few: int = 0

    @property
    def per_block(self) -> int:
        """Positions of x in a block of 32 bytes."""
        return FEW if self.few else 1

    @property
    def elements(self) -> int:
        """Fractals of the inner axis that the filter's elements fill with a channel group."""
        return ceil_div(self.kh * self.kw, self.per_block)

    @property
    def row_blocks(self) -> int:
        """Blocks of a row of a channel group of x."""
        return self.w // self.per_block

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns that the dilated filter spans."""
        return (self.kh - 1) * self.dilation + 1, (self.kw - 1) * self.dilation + 1

    @property
    def dense(self) -> tuple[int, int]:
        """Rows and columns of the result at stride 1."""
        (eh, ew), (top, bottom, left, right) = self.extent, self.pads
        return self.h + top + bottom - eh + 1, self.w + left + right - ew + 1

    @property
    def oh(self) -> int:
        """Rows of y."""
        return (self.dense[0] - 1) // self.stride + 1

    @property
    def ow(self) -> int:
        """Columns of y."""
        return (self.dense[1] - 1) // self.stride + 1

    @property
    def macs(self) -> int:
        """Multiplications, those with padding included."""
        return self.n * self.oh * self.ow * self.o * (self.c // self.groups) * self.kh * self.kw

    @property
    def seen_bytes(self) -> int:
        """Bytes of x that windows see: where they are further apart than they are long, not all of them."""
        top, _, left, _ = self.pads
        rows = _seen(self.h, self.oh, self.kh, top, self)
        columns = _seen(self.w, self.ow, self.kw, left, self)
        channels = ceil_div(self.c, EDGE * 2 if self.dtype == INT8 else EDGE)
        return self.n * channels * rows * columns * BLOCK_BYTES // self.per_block

    @property
    def skips_rows(self) -> bool:
        """Whether rows that no window sees stay in GM."""
        return self.kh == 1 and self.w >= SKIP_WIDTH

    def _check_few(self, kernel: str) -> None:
        """Raise BadShape where the channels are not few, or the kernel does not take that."""
        if self.few and not self.TAKES_FEW:
            raise BadShape(
                f"kernel {kernel}: few={self.few}\n  rule: this kernel pads channels\n  next: use few=0"
            )
        if self.few not in (0, 1):
            raise BadShape(f"kernel {kernel}: few={self.few}\n  rule: 0 (channels by 16) or 1 (by 4)")
        if self.few and (self.c > FEW or self.groups > 1 or self.w % FEW):
            raise BadShape(
                f"kernel {kernel}: few=1, c={self.c}, groups={self.groups}, w={self.w}\n"
                f"  rule: at most {FEW} channels in one group, rows of whole blocks: w a multiple of {FEW}\n"
                "  next: use few=0"
            )

    def check(self, kernel: str) -> None:
        """Raise BadShape where the filter does not fit the image or the instructions."""
        self._check_few(kernel)
        if self.c % self.groups or self.o % self.groups:
            raise BadShape(
                f"kernel {kernel}: c={self.c}, o={self.o}, groups={self.groups}\n"
                "  rule: groups divide the channels of both sides\n  next: pad the channels"
            )
        (eh, ew), (top, bottom, left, right) = self.extent, self.pads
        if min(self.dense) < 1:
            raise BadShape(
                f"kernel {kernel}: the filter spans {eh} x {ew}, the padded image is "
                f"{self.h + top + bottom} x {self.w + left + right}\n"
                "  rule: the filter must fit\n  next: raise pad"
            )
        if self.hides(eh, ew):
            stated = ", ".join(f"{name}={value}" for name, value in self.padding.items())
            raise BadShape(
                f"kernel {kernel}: {stated}, the filter spans {eh} x {ew}\n"
                "  rule: 0 <= pad < what the filter spans, so that windows see the image\n  next: lower pad"
            )
        limits = {"stride": MAX_STRIDE, "kh": MAX_FILTER, "kw": MAX_FILTER, "dilation": MAX_FILTER}
        largest = {"pad": max(self.pads), **{name: getattr(self, name) for name in limits}}
        for name, value in largest.items():
            if value > limits.get(name, MAX_FILTER):
                raise BadShape(
                    f"kernel {kernel}: {name}={value}\n"
                    f"  rule: load3d takes at most {limits.get(name, MAX_FILTER)}"
                )
        operand, results = self.TYPES
        if self.dtype != operand or self.out_dtype not in results:
            names = " or ".join(DTYPE_NAMES[each] for each in results)
            raise BadShape(
                f"kernel {kernel}: dtype {DTYPE_NAMES[self.dtype]}, out_dtype {DTYPE_NAMES[self.out_dtype]}\n"
                f"  rule: operands are {DTYPE_NAMES[operand]}, results {names}\n  next: cast the operands"
            )


def _seen(size: int, outputs: int, elements: int, pad: int, s: ConvShape) -> int:
    """Return how many places of an axis the windows see."""
    places = {i * s.stride - pad + k * s.dilation for i in range(outputs) for k in range(elements)}
    return len(places & set(range(size)))


@dataclass(frozen=True)
class ForwardShape(ConvShape):
    """A forward convolution; with `relu` = 1 what is negative is stored as 0."""

    OPTIONS: ClassVar[tuple[str, ...]] = (*ConvShape.OPTIONS, "relu")
    TAKES_FEW: ClassVar[bool] = True
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (*ConvShape.SAMPLES, FEW_SAMPLE)
    relu: int = 0

    def check(self, kernel: str) -> None:
        """Raise BadShape where the convolution is not legal."""
        if self.relu not in (0, 1):
            raise BadShape(f"kernel {kernel}: relu={self.relu}\n  rule: 0 (as it is) or 1 (what is positive)")
        super().check(kernel)


@dataclass(frozen=True)
class QuantizedShape(ConvShape):
    """A convolution of int8 numbers, accumulated in int32; each channel's results are scaled to fp16."""

    TYPES: ClassVar[tuple[int, tuple[int, ...]]] = (INT8, (FP16,))
    dtype: int = INT8


@dataclass(frozen=True)
class JoinedShape(ConvShape):
    """A gradient to the input that others join: one is added, a map says what is kept of the sum."""

    ADDS: ClassVar[bool] = True
    KEEPS: ClassVar[bool] = True
    TYPES: ClassVar[tuple[int, tuple[int, ...]]] = (FP16, (FP16,))
    SMALL: ClassVar[Mapping[str, int]] = {"stride": 1}
    LARGE: ClassVar[Mapping[str, int]] = {"stride": 1}
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        sample for sample in ConvShape.SAMPLES if sample.get("stride", 1) == 1
    )

    def check(self, kernel: str) -> None:
        """Raise BadShape where the convolution is not legal, or something is added to phases."""
        super().check(kernel)
        if self.ADDS and self.stride > 1:
            raise BadShape(
                f"kernel {kernel}: stride={self.stride}\n"
                "  rule: what is added is so before sums are rounded, not to rows of phases: stride is 1\n"
                "  next: use conv2d_backward_input, then add and relu_grad"
            )


@dataclass(frozen=True)
class AddedShape(JoinedShape):
    """A gradient to the input to which another one of the same map is added."""

    KEEPS: ClassVar[bool] = False


@dataclass(frozen=True)
class KeptShape(JoinedShape):
    """A gradient to the input of which a map says what is kept."""

    ADDS: ClassVar[bool] = False
    SMALL: ClassVar[Mapping[str, int]] = {}
    LARGE: ClassVar[Mapping[str, int]] = {}
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = ConvShape.SAMPLES


@dataclass(frozen=True)
class StatisticsShape(ConvShape):
    """A convolution whose results are summed by channel, over `splits` shares of the images."""

    TAKES_FEW: ClassVar[bool] = True
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (*ConvShape.SAMPLES, FEW_SAMPLE)
    splits: int = 1

    def check(self, kernel: str) -> None:
        """Raise BadShape where a split has no image or the convolution is not legal."""
        check_splits(kernel, self.splits, self.n)
        super().check(kernel)


def check_splits(kernel: str, splits: int, n: int) -> None:
    """Raise BadShape where a split has no image."""
    if splits > n:
        raise BadShape(
            f"kernel {kernel}: splits={splits}, n={n}\n"
            "  rule: every split sums at least one image\n  next: use at most n splits"
        )


@dataclass(frozen=True)
class Phase:
    """A convolution of stride 1 that is a part of a gradient, or the whole of a forward one."""

    row: int
    elements: int
    columns: int


@dataclass(frozen=True)
class Problem:
    """A convolution as the pipeline sees it: a map that windows slide over, a result map, weights.

    It has `parts` dense convolutions with so many channel groups each. `phases` is the distance of the rows
    and columns that one window gives: the stride whose gradient is taken, or 1. With `splits` results are
    summed over so many shares of the images on their way out. Another map like the result may be added to it
    then (`adds`), and one may say what is kept of it (`keeps`).
    """

    parts: int
    images: int
    groups: int
    h: int
    w: int
    results: int
    oh: int
    ow: int
    kh: int
    kw: int
    row_stride: int
    stride: int
    dilation: int
    pad: int  # at the top
    left: int
    phases: int
    mirrored: bool
    position_bytes: int
    splits: int = 0
    is_scaled: bool = False
    per_block: int = 1
    adds: bool = False
    keeps: bool = False

    @classmethod
    def forward(cls, s: ConvShape, splits: int = 0) -> "Problem":
        """See y = conv(x, w); a filter of one row may skip the rows between its steps."""
        h, row_stride = (s.oh, 1) if s.skips_rows else (s.h, s.stride)
        parts, inputs, outputs = dense_parts(s)
        return cls(
            parts, s.n, inputs, h, s.w, outputs, s.oh, s.ow, s.kh, s.kw, row_stride, s.stride, s.dilation,
            s.pads[0], s.pads[2], 1, False, EDGE * (4 if s.out_dtype == FP32 else 2), splits,
            s.dtype == INT8, s.per_block,
        )  # fmt: skip

    @classmethod
    def backward_input(cls, s: ConvShape) -> "Problem":
        """See dx as windows over dy."""
        parts, inputs, outputs = dense_parts(s)
        return cls(
            parts, s.n, outputs, s.oh, s.ow, inputs, s.h, s.w, s.kh, s.kw, 1, 1, s.dilation,
            s.pads[0], s.pads[2], s.stride, True, EDGE * (4 if s.out_dtype == FP32 else 2),
        )  # fmt: skip

    @property
    def joining(self) -> int:
        """How many maps like the result come to join it."""
        return int(self.adds) + int(self.keeps)

    @cached_property
    def depth(self) -> int:
        """Fractals of the inner axis: channel groups times filter elements."""
        return self.groups * self.elements

    @cached_property
    def elements(self) -> int:
        """Fractals that the filter's elements fill with a channel group."""
        return ceil_div(self.kh * self.kw, self.per_block)

    @cached_property
    def row_blocks(self) -> int:
        """Blocks of a row of a channel group of the map."""
        return self.w // self.per_block

    @cached_property
    def skips_rows(self) -> bool:
        """Whether rows of the tensor between those of the map stay in memory."""
        return self.stride > self.row_stride

    @cached_property
    def pitch(self) -> int:
        """Map rows from one stacked image to the next."""
        reach = (self.kh - 1) * self.dilation
        if self.mirrored:
            above = ceil_div(reach - self.pad, self.phases)
            below = (self.oh - 1 + self.pad) // self.phases + 1 - self.h
            return max(ceil_div(self.oh, self.phases), self.h + max(0, above, below))
        below = (self.oh - 1) * self.row_stride - self.pad + reach + 1 - self.h
        return max(self.oh, ceil_div(self.h + max(0, self.pad, below), self.row_stride)) * self.row_stride

    def rows_seen(self, rows: int) -> int:
        """Return the most rows of the map that `rows` rows of the result see."""
        reach = (self.kh - 1) * self.dilation
        if self.phases > 1:
            return min(self.h, (rows - 1 + reach) // self.phases + 1)
        return min(self.h, (rows - 1) * self.row_stride + reach + 1)

    @cached_property
    def mixes(self) -> bool:
        """Whether rows of several images take turns: windows of images below each other would see two."""
        return self.pitch > min(self.h, ceil_div(self.oh, self.phases) * self.row_stride)

    def map_rows(self, rows: int, images: int) -> int:
        """Return the most rows of a tile of the map in L1."""
        return self.rows_seen(rows) if images == 1 else images * self.h

    def landing(self, chunk: int, images: int) -> tuple[int, int]:
        """Return how many channel groups of images whose rows take turns land at once, and their bytes."""
        if images == 1 or not self.mixes:
            return chunk, 0
        group_bytes = images * self.h * self.w * BLOCK_BYTES
        at_once = max(1, min(chunk, LANDING_BYTES // group_bytes))
        return at_once, at_once * group_bytes

    def positions(self, phase: Phase, rows: int, images: int) -> int:
        """Return the fractals of positions of a tile in one phase."""
        there = ceil_div(rows - phase.row, self.phases)
        last = ceil_div(rows, self.phases) if not self.mixes else there
        return ceil_div((there + (images - 1) * last) * phase.columns, EDGE)

    def cut(self) -> tuple[Phase, ...]:
        """Return the phases that see elements of the filter."""
        return self._phases

    @cached_property
    def _phases(self) -> tuple[Phase, ...]:
        if self.phases == 1:
            return (Phase(0, self.elements, self.ow),)
        rows = [_elements(self.kh, place + self.pad, self) for place in range(min(self.phases, self.oh))]
        columns = [_elements(self.kw, place + self.left, self) for place in range(min(self.phases, self.ow))]
        return tuple(
            Phase(row, along_h * along_w, ceil_div(self.ow - column, self.phases))
            for row, along_h in enumerate(rows)
            for column, along_w in enumerate(columns)
            if along_h * along_w
        )


def _elements(length: int, place: int, p: Problem) -> int:
    """Return how many elements of a filter's axis the padded places place, place + phases, ... see."""
    return sum((place - element * p.dilation) % p.phases == 0 for element in range(length))


def dense_parts(s: ConvShape) -> tuple[int, int, int]:
    """Return how many dense convolutions a grouped one is made of, and their channel groups in and out.

    Neighbouring groups are taken together until their channels fill fractals.

    >>> dense_parts(ConvShape(1, 64, 8, 8, 64, 3, 3, groups=16))
    (4, 1, 1)
    """
    inputs, outputs, edge = s.c // s.groups, s.o // s.groups, 2 * EDGE if s.dtype == INT8 else EDGE
    whole = (t for t in range(1, s.groups) if t * inputs % edge == 0 and t * outputs % EDGE == 0)
    taken = next(whole, s.groups)
    return ceil_div(s.groups, taken), ceil_div(taken * inputs, edge), groups(taken * outputs)


def transfer(size_bytes: float, platform: Platform, rate: float) -> float:
    """Return the cycles of one transfer from GM: its head and path, or its share of the memory."""
    path = size_bytes / int(platform.gm_to_l1_bytes_per_cycle)
    return max(int(platform.gm_to_l1_head_cycles) + path, size_bytes / rate)
