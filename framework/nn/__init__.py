"""Layers and losses."""

from framework.nn.batch_norm import BatchNorm2d
from framework.nn.cell import Cell
from framework.nn.initializer import generator, shapes_only
from framework.nn.layers import Conv2d, Dense, Flatten, ReLU, SequentialCell
from framework.nn.loss import CrossEntropySmooth, SoftmaxCrossEntropyWithLogits
from framework.nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from framework.nn.transformer import GELU, Dropout, Embedding, LayerNorm, MultiheadAttention

__all__ = [
    "GELU",
    "AvgPool2d",
    "BatchNorm2d",
    "Cell",
    "Conv2d",
    "CrossEntropySmooth",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2d",
    "LayerNorm",
    "MaxPool2d",
    "MultiheadAttention",
    "ReLU",
    "SequentialCell",
    "SoftmaxCrossEntropyWithLogits",
    "generator",
    "shapes_only",
]
