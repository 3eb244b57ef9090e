"""Layers of the networks, written as a user writes them, but for weights that take no memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework import Parameter, Tensor, nn, ops


class Weight(Parameter):
    """A Parameter of zeros that all lie in one number: what compiles and never runs needs no more."""

    def __init__(self, *shape: int) -> None:
        """Take the shape."""
        super().__init__(0.0)
        self._array = np.broadcast_to(np.zeros((), np.float32), shape)


def data(*shape: int, dtype: str = "float32") -> Tensor:
    """Return an input of zeros that all lie in one number."""
    return Tensor.wrap(np.broadcast_to(np.zeros((), dtype), shape))


def size_of(network: nn.Cell) -> int:
    """Return how many numbers a network trains."""
    return sum(parameter.size for parameter in network.trainable_params())


class Dense(nn.Cell):
    """y[..., n] = x[..., k] @ weight[k, n] + bias[n]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Take the sizes."""
        super().__init__()
        self.weight = Weight(inputs, outputs)
        self.bias = Weight(outputs)

    def construct(self, x: Any) -> Any:
        """Return the product with x."""
        return x @ self.weight + self.bias


class LayerNorm(nn.Cell):
    """y = (x - mean) / deviation * gamma + beta along the last axis."""

    def __init__(self, width: int) -> None:
        """Take the size of the last axis."""
        super().__init__()
        self.gamma = Weight(width)
        self.beta = Weight(width)

    def construct(self, x: Any) -> Any:
        """Return x normalised."""
        distance = x - ops.reduce_mean(x, -1, True)
        variance = ops.reduce_mean(distance * distance, -1, True)
        return distance * ops.rsqrt(variance + 1e-5) * self.gamma + self.beta


class BatchNorm(nn.Cell):
    """y[n, c, h, w] = (x - mean) / deviation * gamma + beta by channel, over the batch."""

    def __init__(self, channels: int) -> None:
        """Take the number of channels."""
        super().__init__()
        self.gamma = Weight(channels)
        self.beta = Weight(channels)

    def construct(self, x: Any) -> Any:
        """Return x normalised."""
        distance = x - ops.reduce_mean(x, (0, 2, 3), True)
        variance = ops.reduce_mean(distance * distance, (0, 2, 3), True)
        scale = ops.reshape(self.gamma, (-1, 1, 1))
        return distance * ops.rsqrt(variance + 1e-5) * scale + ops.reshape(self.beta, (-1, 1, 1))


class Conv(nn.Cell):
    """A convolution that keeps the size of the image, but for its stride; then normalised."""

    def __init__(self, inputs: int, outputs: int, window: int, stride: int = 1) -> None:
        """Take the sizes."""
        super().__init__()
        self.weight = Weight(outputs, inputs, window, window)
        self.norm = BatchNorm(outputs)
        self.stride = stride
        self.pad = window // 2

    def construct(self, x: Any) -> Any:
        """Return the convolution of x, normalised."""
        return self.norm(ops.conv2d(x, self.weight, self.stride, self.pad))


class WithLoss(nn.Cell):
    """A classifier and its cross-entropy: what a training step differentiates."""

    def __init__(self, network: nn.Cell) -> None:
        """Take the network, which returns logits[n, classes]."""
        super().__init__()
        self.network = network
        self.loss = nn.SoftmaxCrossEntropyWithLogits()

    def construct(self, x: Any, labels: Any) -> Any:
        """Return the mean loss of a batch."""
        return self.loss(self.network(x), labels)
