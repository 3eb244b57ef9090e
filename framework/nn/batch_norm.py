"""Batch normalisation."""

from __future__ import annotations

from typing import Any

from framework import ops
from framework.nn.cell import Cell
from framework.nn.initializer import ones, zeros
from framework.precision import operand
from framework.tensor import Parameter


class BatchNorm2d(Cell):
    """y = (x - mean) / sqrt(variance + eps) * gamma + beta, by channel of x[n, c, h, w].

    In training mean and variance are those of the batch, and the moving averages follow them: `momentum` of
    the old ones and the rest of the new; else the moving averages are taken. All of these are float32.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.9) -> None:
        """Begin with gamma 1, beta 0, mean 0 and variance 1."""
        super().__init__()
        self.eps, self.momentum = eps, momentum
        shape = (num_features,)
        self.gamma, self.beta = Parameter(ones(shape)), Parameter(zeros(shape))
        self.moving_mean = Parameter(zeros(shape), requires_grad=False)
        self.moving_variance = Parameter(ones(shape), requires_grad=False)

    def construct(self, x: Any) -> Any:
        """Return x normalised, in the dtype that the layer computes in."""
        x = operand(x, self.compute_dtype)
        numbers = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        if not self.training:
            return ops.batch_norm_inference(x, *numbers, eps=self.eps)
        y, new_mean, new_variance, _, _ = ops.batch_norm(x, *numbers, momentum=self.momentum, eps=self.eps)
        ops.assign(self.moving_mean, new_mean)
        ops.assign(self.moving_variance, new_variance)
        return y
