"""ResNet-50 for images of 224x224: 25,557,032 weights.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (2016), table 1, with
the stride of a stage in its 3x3 convolution as in today's model collections.
"""

from __future__ import annotations

from typing import Any

from experiments.bench.networks.layers import Conv, Dense
from framework import nn, ops

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Channels within the blocks, blocks, and stride of the first block, for each stage."""


class Bottleneck(nn.Cell):
    """y = relu(x + a 1x1, a 3x3 and a 1x1 convolution of x)."""

    def __init__(self, inputs: int, inner: int) -> None:
        """Make the convolutions."""
        super().__init__()
        self.reduce = Conv(inputs, inner, 1)
        self.convolve = Conv(inner, inner, 3)
        self.expand = Conv(inner, 4 * inner, 1)

    def construct(self, x: Any) -> Any:
        """Return the sum of x and its convolution."""
        y = ops.relu(self.convolve(ops.relu(self.reduce(x))))
        return ops.relu(self.expand(y) + x)


class FirstBottleneck(nn.Cell):
    """The same where the size or the number of channels changes: x goes through a convolution, too."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        """Make the convolutions."""
        super().__init__()
        self.reduce = Conv(inputs, inner, 1)
        self.convolve = Conv(inner, inner, 3, stride)
        self.expand = Conv(inner, 4 * inner, 1)
        self.shortcut = Conv(inputs, 4 * inner, 1, stride)

    def construct(self, x: Any) -> Any:
        """Return the sum of the convolutions of x."""
        y = ops.relu(self.convolve(ops.relu(self.reduce(x))))
        return ops.relu(self.expand(y) + self.shortcut(x))


class ResNet50(nn.Cell):
    """x[n, 3, 224, 224] -> logits[n, 1000]."""

    def __init__(self) -> None:
        """Make the stages."""
        super().__init__()
        self.stem = Conv(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(2)
        blocks: list[nn.Cell] = []
        inputs = 64
        for inner, count, stride in STAGES:
            blocks.append(FirstBottleneck(inputs, inner, stride))
            inputs = 4 * inner
            blocks += [Bottleneck(inputs, inner) for _ in range(count - 1)]
        self.blocks = nn.SequentialCell(*blocks)
        self.classify = Dense(2048, 1000)

    def construct(self, x: Any) -> Any:
        """Return the logits."""
        x = self.pool(ops.relu(self.stem(x)))  # n 64 56 56
        x = self.blocks(x)  # n 2048 7 7
        return self.classify(ops.reduce_mean(x, (2, 3)))
