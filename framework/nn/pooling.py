"""Pooling layers."""

from __future__ import annotations

from typing import Any

from framework import ops
from framework.nn.cell import Cell
from framework.precision import operand


class MaxPool2d(Cell):
    """y[n, c, ho, wo] = maximum of x[n, c, h, w] over windows; padding is less than every number."""

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        pad: int | tuple[int, ...] = 0,
    ) -> None:
        """Take the window; without a stride windows lie side by side."""
        super().__init__()
        self.kernel_size, self.stride, self.pad = kernel_size, stride, pad

    def construct(self, x: Any) -> Any:
        """Return the maxima, in the dtype that the layer computes in."""
        x = operand(x, self.compute_dtype)
        y, _ = ops.max_pool_with_argmax(x, self.kernel_size, self.stride, self.pad)
        return y


class AvgPool2d(Cell):
    """y[n, c, ho, wo] = average of x[n, c, h, w] over windows, without padding unless that is to count."""

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        pad: int | tuple[int, ...] = 0,
        *,
        include_pad: bool = False,
    ) -> None:
        """Take the window; without a stride windows lie side by side."""
        super().__init__()
        self.kernel_size, self.stride, self.pad = kernel_size, stride, pad
        self.include_pad = include_pad

    def construct(self, x: Any) -> Any:
        """Return the averages, in the dtype that the layer computes in."""
        x = operand(x, self.compute_dtype)
        return ops.avg_pool(x, self.kernel_size, self.stride, self.pad, self.include_pad)


class GlobalAvgPool2d(Cell):
    """y[n, c, 1, 1] = average of x[n, c, h, w] over the image."""

    def construct(self, x: Any) -> Any:
        """Return the averages, in the dtype that the layer computes in."""
        return ops.global_avg_pool(operand(x, self.compute_dtype))
