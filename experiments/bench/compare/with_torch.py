"""PyTorch's part of the comparison: the networks as modules, traced with their gradients over fake tensors.

That is `make_fx` of `torch.func.grad_and_value`: a graph of operators, which is what the other tools have.
Without it, eager PyTorch traces nothing ahead and writes a tape at every step.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad_and_value
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from experiments.bench.compare.timing import (
    BATCH,
    HEADS,
    IMAGE,
    POSITIONS,
    RUN,
    SEQUENCES,
    STAGES,
    TOKENS,
    TRACED,
    TURNS,
    VOCABULARY,
    WIDTH,
    WIDTHS,
    Found,
    Stages,
    layers_of,
    refusal,
    report,
    seconds,
)


def mlp() -> Any:
    """Return the multilayer perceptron."""
    layers: list[Any] = []
    for inputs, outputs in pairwise(WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conv(inputs: int, outputs: int, window: int, stride: int = 1) -> Any:
    """Return a convolution and its normalisation over the batch."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, window, stride, window // 2, bias=False),
        nn.BatchNorm2d(outputs, track_running_stats=False),
    )


class Bottleneck(nn.Module):
    """y = relu(shortcut of x + a 1x1, a 3x3 and a 1x1 convolution of x)."""

    def __init__(self, inputs: int, inner: int, stride: int, is_first: bool) -> None:
        """Make the convolutions."""
        super().__init__()
        self.reduce = conv(inputs, inner, 1)
        self.convolve = conv(inner, inner, 3, stride)
        self.expand = conv(inner, 4 * inner, 1)
        self.shortcut = conv(inputs, 4 * inner, 1, stride) if is_first else nn.Identity()

    def forward(self, x: Any) -> Any:
        """Return the sum."""
        y = functional.relu(self.convolve(functional.relu(self.reduce(x))))
        return functional.relu(self.expand(y) + self.shortcut(x))


def resnet50() -> Any:
    """Return ResNet-50."""
    layers = [conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(2)]
    inputs = 64
    for inner, count, stride in STAGES:
        for at in range(count):
            layers.append(Bottleneck(inputs, inner, stride if at == 0 else 1, at == 0))
            inputs = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


class EncoderLayer(nn.Module):
    """Attention and two dense layers, each added to what it is given and normalised."""

    def __init__(self) -> None:
        """Make the parts."""
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.attention_norm, self.norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.widen, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def attention(self, x: Any) -> Any:
        """Return attention of all places of x[b, t, d] to each other."""
        query, key, value = (
            each(x).reshape(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)
            for each in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) * (1 / math.sqrt(WIDTH // HEADS))
        return self.output((scores.softmax(-1) @ value).transpose(1, 2).reshape(x.shape))

    def forward(self, x: Any) -> Any:
        """Return x[b, t, d], one layer on."""
        x = self.attention_norm(x + self.attention(x))
        return self.norm(x + self.narrow(functional.gelu(self.widen(x))))


class Encoder(nn.Module):
    """tokens[b, t] -> logits[b, 2]."""

    def __init__(self, layers: int) -> None:
        """Make the tables and the layers."""
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.segments = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.Sequential(*(EncoderLayer() for _ in range(layers)))
        self.pool, self.classify = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, tokens: Any) -> Any:
        """Return the logits."""
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]] + self.segments.weight[0]
        x = self.layers(self.norm(x))
        return self.classify(torch.tanh(self.pool(x[:, 0])))


def networks(name: str) -> Stages:
    """Return the stage of a training step that there is: a graph of operators with the gradients."""
    if name == "mlp":
        network, inputs = mlp(), torch.zeros(BATCH, WIDTHS[0])
    elif name == "resnet50":
        network, inputs = resnet50(), torch.zeros(BATCH, 3, IMAGE, IMAGE)
    else:
        network = Encoder(layers_of(name))
        inputs = torch.zeros(SEQUENCES, TOKENS, dtype=torch.int64)
    labels = torch.zeros(inputs.shape[0], dtype=torch.int64)
    weights = dict(network.named_parameters())

    def loss(weights: Any, x: Any, labels: Any) -> Any:
        return functional.cross_entropy(functional_call(network, weights, (x,)), labels)

    def traced() -> object:
        return make_fx(grad_and_value(loss), tracing_mode="fake")(weights, inputs, labels)

    return {TRACED: traced}


def looped(x: Any, turns: Any) -> Any:
    """Return the number that a pull towards one leads to, after so many turns."""
    done = torch.zeros((), dtype=torch.int64)
    while done < turns:
        x = x + (1.0 - x * x) * 1e-6
        done = done + 1
    return x


def loop() -> Found:
    """Return what a loop takes whose trip count is data: it is not traced, a tape is written as it runs."""
    x, turns = torch.tensor(0.5, dtype=torch.float64), torch.tensor(TURNS)
    said = refusal(lambda: make_fx(grad_and_value(looped), tracing_mode="fake")(x, turns))

    def run() -> object:
        leaf = x.clone().requires_grad_()
        value = looped(leaf, turns)
        value.backward()
        return value

    return {TRACED: said, RUN: seconds(run)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    report(networks, loop)
