"""Transformer encoders: BERT-Large has 335,143,938 weights with its pooler and two classes.

Source: Devlin, Chang, Lee, Toutanova, "BERT: pre-training of deep bidirectional transformers for language
understanding" (2019), section 3.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from experiments.bench.networks.layers import Dense, LayerNorm, Weight
from framework import nn, ops


class Sizes(NamedTuple):
    """The sizes of an encoder."""

    layers: int
    width: int
    heads: int
    vocabulary: int = 30_522
    positions: int = 512
    segments: int = 2


BERT_LARGE = Sizes(layers=24, width=1024, heads=16)


class Attention(nn.Cell):
    """Attention of all places of x[b, t, d] to each other, in several heads."""

    def __init__(self, width: int, heads: int) -> None:
        """Make the projections."""
        super().__init__()
        self.query = Dense(width, width)
        self.key = Dense(width, width)
        self.value = Dense(width, width)
        self.output = Dense(width, width)
        self.heads = heads
        self.scale = 1 / math.sqrt(width // heads)

    def split(self, x: Any) -> Any:
        """Return x[b, t, d] as b, heads, t, d / heads."""
        batch, length, width = x.shape
        return ops.transpose(ops.reshape(x, (batch, length, self.heads, width // self.heads)), (0, 2, 1, 3))

    def construct(self, x: Any) -> Any:
        """Return the values of all places, weighted by how near their keys are."""
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = ops.matmul(query, key, False, True) * self.scale
        mixed = ops.softmax(scores) @ value  # b heads t d
        return self.output(ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), x.shape))


class EncoderLayer(nn.Cell):
    """Attention and two dense layers, each added to what it is given and normalised."""

    def __init__(self, width: int, heads: int) -> None:
        """Make the parts."""
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm = LayerNorm(width)
        self.widen = Dense(width, 4 * width)
        self.narrow = Dense(4 * width, width)
        self.norm = LayerNorm(width)

    def construct(self, x: Any) -> Any:
        """Return x[b, t, d], one layer on."""
        x = self.attention_norm(x + self.attention(x))
        return self.norm(x + self.narrow(ops.gelu(self.widen(x))))


class Encoder(nn.Cell):
    """tokens[b, t] -> logits[b, 2], all tokens in one segment."""

    def __init__(self, sizes: Sizes) -> None:
        """Make the tables and the layers."""
        super().__init__()
        width = sizes.width
        self.words = Weight(sizes.vocabulary, width)
        self.places = Weight(sizes.positions, width)
        self.segments = Weight(sizes.segments, width)
        self.norm = LayerNorm(width)
        self.layers = nn.SequentialCell(*(EncoderLayer(width, sizes.heads) for _ in range(sizes.layers)))
        self.pool = Dense(width, width)
        self.classify = Dense(width, 2)

    def construct(self, tokens: Any) -> Any:
        """Return the logits."""
        x = self.words[tokens] + self.places[: tokens.shape[1]] + self.segments[0]
        x = self.layers(self.norm(x))  # b t d
        return self.classify(ops.tanh(self.pool(x[:, 0])))
