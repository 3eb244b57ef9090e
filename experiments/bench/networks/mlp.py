"""A multilayer perceptron for images of digits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from experiments.bench.networks.layers import Dense
from framework import nn

WIDTHS = (784, 512, 256, 128, 10)


class Mlp(nn.Cell):
    """x[n, 784] -> logits[n, 10]."""

    def __init__(self) -> None:
        """Make a layer from each width to the next."""
        super().__init__()
        layers: list[nn.Cell] = []
        for inputs, outputs in pairwise(WIDTHS):
            layers += [Dense(inputs, outputs), nn.ReLU()]
        self.layers = nn.SequentialCell(*layers[:-1])

    def construct(self, x: Any) -> Any:
        """Return the logits."""
        return self.layers(x)
