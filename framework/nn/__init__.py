"""Layers and losses."""

from framework.nn.cell import Cell
from framework.nn.initializer import generator, shapes_only
from framework.nn.layers import Conv2d, Dense, Flatten, MaxPool2d, ReLU, SequentialCell
from framework.nn.loss import SoftmaxCrossEntropyWithLogits

__all__ = [
    "Cell",
    "Conv2d",
    "Dense",
    "Flatten",
    "MaxPool2d",
    "ReLU",
    "SequentialCell",
    "SoftmaxCrossEntropyWithLogits",
    "generator",
    "shapes_only",
]
