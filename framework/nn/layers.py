"""Layers. Their `construct` is compiled like a user's, so what depends on options is chosen in `__init__`."""

from __future__ import annotations

from typing import Any, ClassVar

from framework import ops
from framework.nn.cell import Cell
from framework.nn.initializer import Array, Seed, as_generator, he_uniform, zeros
from framework.precision import operand, result_dtype, without_bias
from framework.tensor import Parameter


class Conv2d(Cell):
    """y[n, o, h, w] = x[n, c, h, w] convolved with weight[o, c, kh, kw], plus bias[o]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        pad: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, int] = 1,
        *,
        has_bias: bool = False,
        seed: Seed = 0,
    ) -> None:
        """Draw the weight; the bias starts at zero."""
        super().__init__()
        kh, kw = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        shape = (out_channels, in_channels, kh, kw)
        self.weight = Parameter(he_uniform(shape, in_channels * kh * kw, as_generator(seed)))
        self.stride, self.pad, self.dilation = stride, pad, dilation
        self.bias = Parameter(zeros((out_channels,))) if has_bias else None
        self.add_bias: Any = ops.bias_add if has_bias else without_bias

    def construct(self, x: Any) -> Any:
        """Return the convolution of x."""
        x, weight = operand(x, self.compute_dtype), operand(self.weight, self.compute_dtype)
        out_dtype = result_dtype(x.dtype, self.result_dtype)
        y = ops.conv2d(x, weight, self.stride, self.pad, self.dilation, out_dtype)
        return self.add_bias(y, self.bias, 1)


class Dense(Cell):
    """y[m, n] = x[m, k] @ weight[n, k] transposed, plus bias[n]."""

    def __init__(
        self, in_channels: int, out_channels: int, *, has_bias: bool = True, seed: Seed = 0,
        weight: Array | None = None,
    ) -> None:  # fmt: skip
        """Draw the weight unless it is given; the bias starts at zero."""
        super().__init__()
        shape = (out_channels, in_channels)
        self.weight = Parameter(
            he_uniform(shape, in_channels, as_generator(seed)) if weight is None else weight
        )
        self.bias = Parameter(zeros((out_channels,))) if has_bias else None
        self.add_bias: Any = ops.bias_add if has_bias else without_bias

    def construct(self, x: Any) -> Any:
        """Return the product with x."""
        x, weight = operand(x, self.compute_dtype), operand(self.weight, self.compute_dtype)
        y = ops.matmul(x, weight, False, True, result_dtype(x.dtype, self.result_dtype))
        return self.add_bias(y, self.bias, -1)


class ReLU(Cell):
    """y = maximum of x and 0."""

    def construct(self, x: Any) -> Any:
        """Return x where it is positive, else 0."""
        return ops.relu(x)


class Flatten(Cell):
    """y[n, c h w] = x[n, c, h, w]."""

    def construct(self, x: Any) -> Any:
        """Return x with all axes but the first joined."""
        return ops.reshape(x, (x.shape[0], -1))


class SequentialCell(Cell):
    """Cells one after the other; they are named 0, 1, 2 ..."""

    is_native: ClassVar[bool] = True

    def __init__(self, *cells: Cell) -> None:
        """Take the cells in order, as arguments or as one list."""
        super().__init__()
        given = list(cells[0]) if len(cells) == 1 and isinstance(cells[0], (list, tuple)) else list(cells)
        for index, cell in enumerate(given):
            object.__setattr__(self, str(index), cell)
        self.rename_parameters()  # once, not with each of hundreds of layers

    def construct(self, x: Any) -> Any:
        """Return what the last Cell makes of what the one before it makes, and so on."""
        for _, cell in self.children():
            x = cell(x)
        return x
