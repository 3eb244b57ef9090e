"""Memory layouts: where the elements of a tensor lie, exactly, with zero padding.

Every layout splits some axes into (outer, inner), pads them with zeros to a multiple of the inner length, and
permutes the parts. A class states the split and the order; packing and unpacking follow from them.

>>> x = np.ones((1, 17, 4, 4), np.float16)
>>> LAYOUTS["NC1HWC0"].pack(x).shape
(1, 2, 4, 4, 16)

Source: Ascend C documentation, technical appendix, data formats.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from davinci_sim.errors import BadShape, ShapeMismatch
from davinci_sim.memory.dtypes import DType, c0, dtype

Shape = tuple[int, ...]
Array = np.ndarray[Any, np.dtype[Any]]

EDGE = 16  # rows of a fractal, for every dtype
FEW = 4  # channels of a position in the layouts of few channels


class Layout(ABC):
    """How a tensor lies in device memory."""

    name: ClassVar[str]
    axes: ClassVar[str]

    @abstractmethod
    def split(self, shape: Shape, edge: int) -> tuple[Shape, ...]:
        """Return the parts of each axis: `(length,)`, or `(outer, inner)` of the padded length."""

    @abstractmethod
    def order(self, rank: int) -> Shape:
        """Return the permutation of the parts, counted from left to right, for a tensor of `rank` axes."""

    def device_shape(self, shape: Shape, dtype: DType) -> Shape:
        """Return the shape in device memory of a tensor of `shape`."""
        parts = self._parts(shape, dtype)
        flat = [length for part in parts for length in part]
        return tuple(flat[i] for i in self.order(len(parts)))

    def bytes(self, shape: Shape, dtype: DType) -> int:
        """Return the bytes that a tensor of `shape` takes in device memory, padding included."""
        return dtype.bytes_of(math.prod(self.device_shape(shape, dtype)))

    def pack(self, array: Array) -> Array:
        """Return the array in device order, padded with zeros."""
        element = dtype(array.dtype)
        parts = self._parts(array.shape, element)
        padded = np.zeros([math.prod(part) for part in parts], array.dtype)
        canonical = array.reshape(self._canonical(array.shape))
        padded[tuple(slice(length) for length in canonical.shape)] = canonical
        split = padded.reshape([length for part in parts for length in part])
        ordered = split.transpose(self.order(len(parts)))
        return np.ascontiguousarray(ordered).reshape(self.device_shape(array.shape, element))

    def unpack(self, array: Array, shape: Shape) -> Array:
        """Return the tensor of `shape` that `pack` turned into `array`; the padding is dropped."""
        element = dtype(array.dtype)
        expected = self.device_shape(shape, element)
        if array.shape != expected:
            raise ShapeMismatch(
                f"{self.name}: an array of shape {array.shape} does not hold a {element} tensor "
                f"of shape {shape}, which lies as {expected}; pass the shape that was packed"
            )
        parts = self._parts(shape, element)
        order = self.order(len(parts))
        flat = [length for part in parts for length in part]
        split = array.reshape([flat[i] for i in order]).transpose(np.argsort(order))
        padded = split.reshape([math.prod(part) for part in parts])
        kept = padded[tuple(slice(length) for length in self._canonical(shape))]
        return np.ascontiguousarray(kept).reshape(shape)

    def _canonical(self, shape: Shape) -> Shape:
        """Return the shape with the axes that the layout works on; a layout may add one."""
        wanted = len(self.axes.split())
        if len(shape) != wanted:
            raise BadShape(
                f"{self.name}: shape {tuple(shape)} has {len(shape)} axes, the layout takes {wanted} "
                f"({self.axes}); reshape the tensor first"
            )
        return tuple(shape)

    def _parts(self, shape: Shape, of: DType) -> tuple[Shape, ...]:
        """Return the checked split of `shape`."""
        if any(length < 0 for length in shape):
            raise BadShape(f"{self.name}: shape {tuple(shape)} has a negative length; lengths are 0 or more")
        return self.split(self._canonical(shape), c0(of))


class ND(Layout):
    """Row major, no padding, any number of axes."""

    name = "ND"
    axes = "..."

    def split(self, shape: Shape, edge: int) -> tuple[Shape, ...]:
        """Leave every axis whole."""
        return tuple((length,) for length in shape)

    def order(self, rank: int) -> Shape:
        """Keep the order."""
        return tuple(range(rank))

    def _canonical(self, shape: Shape) -> Shape:
        return tuple(shape)


class _Fractal(Layout):
    """A matrix cut into fractals; axes before the last two are batch axes, a vector is one row."""

    axes = "... row column"

    def _canonical(self, shape: Shape) -> Shape:
        if not shape:
            raise BadShape(
                f"{self.name}: shape () has 0 axes, the layout takes 1 or more ({self.axes}); use ND"
            )
        return tuple(shape) if len(shape) > 1 else (1, *shape)

    def split(self, shape: Shape, edge: int) -> tuple[Shape, ...]:
        """Cut rows by 16 and columns by C0."""
        *batch, rows, columns = shape
        return (*((b,) for b in batch), _cut(rows, EDGE), _cut(columns, edge))

    def order(self, rank: int) -> Shape:
        """Put the parts of the last two axes, (r1, r0, c1, c0), into the order of the class."""
        batch = rank - 2
        return (*range(batch), *(batch + part for part in self.matrix_order))

    matrix_order: ClassVar[Shape]


class NZ(_Fractal):
    """m n -> n1 m1 m0 n0: columns of fractals, each fractal row major (L1, L0C, GM)."""

    name = "NZ"
    matrix_order = (2, 0, 1, 3)


class ZZ(_Fractal):
    """m k -> m1 k1 m0 k0: rows of fractals, each fractal row major (L0A)."""

    name = "ZZ"
    matrix_order = (0, 2, 1, 3)


class ZN(_Fractal):
    """k n -> k1 n1 n0 k0: rows of fractals, each fractal column major (L0B)."""

    name = "ZN"
    matrix_order = (0, 2, 3, 1)

    def split(self, shape: Shape, edge: int) -> tuple[Shape, ...]:
        """Cut rows (k) by C0 and columns (n) by 16."""
        *batch, rows, columns = shape
        return (*((b,) for b in batch), _cut(rows, edge), _cut(columns, EDGE))


class NC1HWC0(Layout):
    """n c h w -> n c1 h w c0: feature maps."""

    name = "NC1HWC0"
    axes = "n c h w"

    def split(self, shape: Shape, edge: int) -> tuple[Shape, ...]:
        """Cut the channels by C0."""
        n, c, h, w = shape
        return (n,), _cut(c, edge), (h,), (w,)

    def order(self, rank: int) -> Shape:
        """Move c0 to the end."""
        return (0, 1, 3, 4, 2)  # n c1 c0 h w -> n c1 h w c0


class NC1HWC0C04(NC1HWC0):
    """n c h w -> n c1 h w 4: feature maps of few channels, as the first layer of a network has them.

    Source: NC1HWC0_C04 of the vendor's graph engine (C0 = 4); load3d reads such maps with cSize = 1.
    """

    name = "NC1HWC0_C04"

    def split(self, shape: Shape, edge: int) -> tuple[Shape, ...]:
        """Cut the channels by 4."""
        return super().split(shape, FEW)


class FractalZ(Layout):
    """o i h w -> (c1 h w) o1 o0 c0: the weights of a convolution, each fractal as L0B wants it."""

    name = "FRACTAL_Z"
    axes = "o i h w"

    def split(self, shape: Shape, edge: int) -> tuple[Shape, ...]:
        """Cut output channels by 16 and input channels by C0."""
        o, i, h, w = shape
        return _cut(o, EDGE), _cut(i, edge), (h,), (w,)

    def order(self, rank: int) -> Shape:
        """Walk c1, h, w, then the fractals of the output channels."""
        return (2, 4, 5, 0, 1, 3)  # o1 o0 c1 c0 h w -> c1 h w o1 o0 c0

    def device_shape(self, shape: Shape, dtype: DType) -> Shape:
        """Return `(c1*h*w, o1, 16, c0)`."""
        c1, h, w, *fractal = super().device_shape(shape, dtype)
        return (c1 * h * w, *fractal)


class FractalZC04(Layout):
    """o i h w -> k1 o1 o0 k0, k = (h w 4): weights of at most 4 input channels, whose fractals are full.

    The inner axis is cut by C0 behind its last element only, not after every element of the filter: of 7 x 7
    elements of three channels there are 13 fractals instead of 49.

    Source: FRACTAL_Z_C04 of the vendor's graph engine: ceil(4 h w / C0) x ceil(o / 16) fractals.
    """

    name = "FRACTAL_Z_C04"
    axes = "o i h w"

    def split(self, shape: Shape, edge: int) -> tuple[Shape, ...]:
        """Cut the matrix o x (h w 4) as NZ does."""
        return NZ().split(self._matrix_shape(shape), edge)

    def order(self, rank: int) -> Shape:
        """Put columns of fractals first, as NZ does."""
        return NZ().order(rank)

    def pack(self, array: Array) -> Array:
        """Return the fractals of the weights as a matrix o x (h w 4)."""
        rows, columns = self._matrix_shape(self._canonical(array.shape))
        o, i, h, w = array.shape
        padded = np.zeros((o, h, w, FEW), array.dtype)
        padded[..., :i] = array.transpose(0, 2, 3, 1)
        return NZ().pack(padded.reshape(rows, columns))

    def unpack(self, array: Array, shape: Shape) -> Array:
        """Return the weights; missing channels are dropped."""
        o, i, h, w = self._canonical(shape)
        matrix = NZ().unpack(array, self._matrix_shape(shape))
        return np.ascontiguousarray(matrix.reshape(o, h, w, FEW)[..., :i].transpose(0, 3, 1, 2))

    def _matrix_shape(self, shape: Shape) -> tuple[int, int]:
        """Return the rows and columns of the matrix."""
        o, i, h, w = shape
        if i > FEW:
            raise BadShape(
                f"{self.name}: shape {tuple(shape)} has {i} input channels\n"
                f"  rule: they are at most {FEW}\n  next: use FRACTAL_Z"
            )
        return o, h * w * FEW


SUBFORMAT = ":"


class GroupedFractalZ(FractalZ):
    """o i h w -> (part c1 h w) o1 o0 c0: the weights of a convolution of `groups` groups of channels.

    Neighbouring groups form a part, so many that its input and output channels fill fractals, or all. A
    part lies as FRACTAL_Z, with the weights of its groups on its diagonal and zeros beside it.

    Source: weights of grouped convolutions in the vendor's graph engine, a sub-format of FRACTAL_Z.
    """

    def __init__(self, groups: int) -> None:
        """Take the number of groups."""
        self.groups = groups

    def device_shape(self, shape: Shape, dtype: DType) -> Shape:
        """Return `(parts*c1*h*w, o1, 16, c0)`."""
        return super().device_shape(self._spread(shape, c0(dtype)), dtype)

    def pack(self, array: Array) -> Array:
        """Return the parts in device order."""
        edge = c0(dtype(array.dtype))
        spread = np.zeros(self._spread(array.shape, edge), array.dtype)
        for rows, there, columns in self._diagonal(array.shape, edge):
            spread[there, columns] = array[rows]
        return FractalZ().pack(spread)

    def unpack(self, array: Array, shape: Shape) -> Array:
        """Return what lies on the diagonals."""
        edge = c0(dtype(array.dtype))
        spread = FractalZ().unpack(array, self._spread(shape, edge))
        kept = [spread[there, columns] for _, there, columns in self._diagonal(shape, edge)]
        return np.concatenate(kept).reshape(shape)

    def _taken(self, shape: Shape, edge: int) -> int:
        """Return how many groups form a part."""
        outputs, inputs = shape[0] // self.groups, shape[1]
        whole = (t for t in range(1, self.groups) if t * outputs % EDGE == 0 and t * inputs % edge == 0)
        return next(whole, self.groups)

    def _spread(self, shape: Shape, edge: int) -> Shape:
        """Return the shape of the parts side by side, each with whole fractals of input channels."""
        o, i, h, w = self._canonical(shape)
        if o % self.groups:
            raise BadShape(
                f"{self.name}:{self.groups}: shape {shape} has {o} output channels\n"
                f"  rule: groups divide them\n  next: use a multiple of {self.groups}"
            )
        taken = self._taken(shape, edge)
        outer, inner = _cut(taken * i, edge)
        return taken * (o // self.groups), -(-self.groups // taken) * outer * inner, h, w

    def _diagonal(self, shape: Shape, edge: int) -> Iterator[tuple[slice, slice, slice]]:
        """Yield each group's output channels, and its rows and columns among the parts side by side."""
        outputs, inputs, taken = shape[0] // self.groups, shape[1], self._taken(shape, edge)
        outer, inner = _cut(taken * inputs, edge)
        for group in range(self.groups):
            part, place = divmod(group, taken)
            column = part * outer * inner + place * inputs
            yield (
                slice(group * outputs, (group + 1) * outputs),
                slice(place * outputs, (place + 1) * outputs),
                slice(column, column + inputs),
            )


class Layouts(dict[str, Layout]):
    """Layouts by name; one of groups is made when it is asked for."""

    def __missing__(self, name: str) -> Layout:
        """Make `FRACTAL_Z:8`, the layout of 8 groups."""
        base, _, groups = name.partition(SUBFORMAT)
        if base != FractalZ.name or not groups.isdecimal():
            raise KeyError(name)
        return GroupedFractalZ(int(groups))


LAYOUTS: dict[str, Layout] = Layouts(
    (layout.name, layout)
    for layout in (ND(), NZ(), ZZ(), ZN(), NC1HWC0(), NC1HWC0C04(), FractalZ(), FractalZC04())
)


def _cut(length: int, inner: int) -> Shape:
    """Return (outer, inner) with outer * inner the padded length."""
    return -(-length // inner), inner
