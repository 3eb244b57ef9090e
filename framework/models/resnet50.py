"""ResNet-50 v1.5 on images of 224 x 224.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2016), table 1, with the stride
in the 3 x 3 convolution of a bottleneck, as in today's model collections; label smoothing and a cosine
schedule as in the vendor's recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from framework import nn, ops
from framework.dtypes import dtype
from framework.ir.types import TensorType
from framework.models.sizes import check_sizes
from framework.models.zoo import Step
from framework.nn.initializer import generator
from framework.optim import Momentum, Schedule, warmup_cosine, without_decay_of_vectors
from framework.train import inference_step, training_step

EXPANSION = 4
"""How many times more channels a bottleneck gives than it has inside."""


@dataclass(frozen=True)
class Config:
    """Sizes and precision; each stage halves the image, but the first, and doubles the channels."""

    classes: int = 1000
    channels: int = 3
    stages: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    size: int = 224
    compute_dtype: str | None = "float16"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        check_sizes(self)


@dataclass(frozen=True)
class Recipe:
    """How to train on ImageNet."""

    batch_size: int = 32
    epochs: int = 90
    peak_learning_rate: float = 0.1
    warmup_steps: int = 5 * 5004
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    loss_scale: float = 1024

    def schedule(self, total_steps: int) -> Schedule:
        """Return the learning rate of every step."""
        return warmup_cosine(self.peak_learning_rate, self.warmup_steps, total_steps)

    def optimizer(self, net: nn.Cell, total_steps: int) -> Momentum:
        """Return the optimiser: filters decay, gains and offsets do not."""
        groups = without_decay_of_vectors(net.trainable_params(), self.weight_decay)
        return Momentum(groups, self.schedule(total_steps), self.momentum)

    def loss(self, config: Config) -> nn.Cell:
        """Return the loss."""
        return nn.CrossEntropySmooth(config.classes, self.label_smoothing)


CONFIGS = {"imagenet": Config(), "small": Config(stages=(1, 1, 1, 1), width=16, size=64)}
RECIPE = Recipe()
SMOKE = (2, 3, 64, 64)
"""The shape of a small input."""


class ConvBN(nn.Cell):
    """A convolution without bias that keeps the image's size at stride 1, and its normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, draw: Generator) -> None:
        """Draw the weight."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, seed=draw)
        self.bn = nn.BatchNorm2d(outputs)

    def construct(self, x: Any) -> Any:
        """Return what the convolution gives, normalised."""
        return self.bn(self.conv(x))


class Bottleneck(nn.Cell):
    """relu(F(x) + x) with F from 1 x 1, 3 x 3 and 1 x 1 convolutions over `width` channels.

    Where sizes change x goes through a 1 x 1 convolution of its own.
    """

    def __init__(self, inputs: int, width: int, stride: int, draw: Generator) -> None:
        """Draw all weights."""
        super().__init__()
        outputs = EXPANSION * width
        self.reduce = ConvBN(inputs, width, 1, 1, draw)
        self.filter = ConvBN(width, width, 3, stride, draw)
        self.expand = ConvBN(width, outputs, 1, 1, draw)
        is_same = stride == 1 and inputs == outputs
        self.shortcut = None if is_same else ConvBN(inputs, outputs, 1, stride, draw)

    def construct(self, x: Any) -> Any:
        """Return the sum of both ways."""
        y = ops.relu(self.reduce(x))
        y = ops.relu(self.filter(y))
        y = self.expand(y)
        kept = x if self.shortcut is None else self.shortcut(x)
        return ops.relu(y + kept)


class ResNet(nn.Cell):
    """x[n, 3, 224, 224] -> logits[n, 1000]."""

    def __init__(self, config: Config) -> None:
        """Draw all weights from one generator."""
        super().__init__()
        draw = generator(config.seed)
        self.stem = ConvBN(config.channels, config.width, 7, 2, draw)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks: list[nn.Cell] = []
        inputs = config.width
        for stage, count in enumerate(config.stages):
            width = config.width << stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                blocks.append(Bottleneck(inputs, width, stride, draw))
                inputs = EXPANSION * width
        self.blocks = nn.SequentialCell(*blocks)
        self.average = nn.GlobalAvgPool2d()
        self.flatten = nn.Flatten()
        self.fc = nn.Dense(inputs, config.classes, seed=draw)

    def construct(self, x: Any) -> Any:
        """Return the logits."""
        x = self.pool(ops.relu(self.stem(x)))  # n 64 56 56
        x = self.blocks(x)  # n 2048 7 7
        return self.fc(self.flatten(self.average(x)))


def build(config: Config | None = None) -> ResNet:
    """Return the network, in mixed precision unless the config says otherwise."""
    config = config or Config()
    net = ResNet(config)
    return net if config.compute_dtype is None else net.to_float(config.compute_dtype)


def training(config: Config, batch: int) -> Step:
    """Return a step of a batch as the recipe has it; weights have no numbers."""
    with nn.shapes_only():
        net = build(config)
    params = without_decay_of_vectors(net.trainable_params(), RECIPE.weight_decay)
    optimizer = Momentum(params, RECIPE.peak_learning_rate, RECIPE.momentum)
    types, loss = _batch(config, batch), RECIPE.loss(config)
    func = training_step(net, loss, optimizer, *types, loss_scale=RECIPE.loss_scale)
    return Step.of(func, len(types) + 1)


def inference(config: Config, batch: int) -> Step:
    """Return the network in use; weights are constants."""
    return Step.of(inference_step(build(config), _batch(config, batch)[0], frozen=True), 1)


def _batch(config: Config, batch: int) -> tuple[TensorType, TensorType]:
    """Return the types of images and labels."""
    images = (batch, config.channels, config.size, config.size)
    return TensorType(images, dtype("float32")), TensorType((batch,), dtype("int32"))
