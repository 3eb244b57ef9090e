"""BERT: a transformer that learns language from text with holes.

Source: Devlin, Chang, Lee, Toutanova, "BERT: pre-training of deep bidirectional transformers for language
understanding", arXiv 1810.04805. The vocabulary of 21128 is that of Chinese.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from framework import nn, ops
from framework.dtypes import dtype
from framework.ir.types import TensorType
from framework.models.sizes import check_sizes, check_within
from framework.models.zoo import Step
from framework.nn.initializer import generator
from framework.nn.transformer import first_weight
from framework.optim import LAMB, without_decay_of_vectors
from framework.precision import operand, summed_wide
from framework.tensor import Parameter, Tensor
from framework.train import inference_step, training_step

INPUTS = 4
"""ids, types, mask and positions are what the network takes; what follows in a batch are labels."""
HIDDEN = -10000.0
"""What is added to the scores of positions that are not to be seen."""


@dataclass(frozen=True)
class Config:
    """Sizes and precision."""

    layers: int = 24
    hidden: int = 1024
    heads: int = 16
    intermediate: int = 4096
    vocabulary: int = 21128
    positions: int = 512
    types: int = 2
    sequence: int = 128
    predictions: int = 20
    dropout: float = 0.1
    eps: float = 1e-12
    compute_dtype: str | None = "float16"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        check_sizes(self)
        check_within(self, "sequence", "positions")
        check_within(self, "predictions", "sequence")


LARGE = Config()
BASE = Config(layers=12, hidden=768, heads=12, intermediate=3072)
SMOKE = Config(
    layers=2, hidden=64, heads=2, intermediate=128, vocabulary=160, positions=48, sequence=32, predictions=4
)
"""A small one for tests."""
CONFIGS = {"large": LARGE, "base": BASE, "small": SMOKE}


@dataclass(frozen=True)
class Recipe:
    """How to train on text, in phase 1 of LAMB's paper, with the batch of MindSpore's first measurements."""

    batch_size: int = 96
    peak_learning_rate: float = 3e-4
    weight_decay: float = 0.01
    loss_scale: float = 1024


RECIPE = Recipe()


class Embeddings(nn.Cell):
    """x[b t, hidden] = what the words, their positions and the kinds of their sentences mean, together."""

    def __init__(self, config: Config, draw: np.random.Generator, chance: np.random.Generator) -> None:
        """Draw three tables."""
        super().__init__()
        self.words = nn.Embedding(config.vocabulary, config.hidden, seed=draw)
        self.positions = Parameter(first_weight((config.positions, config.hidden), draw))
        self.types = nn.Embedding(config.types, config.hidden, use_one_hot=True, seed=draw)
        self.norm = nn.LayerNorm(config.hidden, config.eps)
        self.dropout = nn.Dropout(1 - config.dropout, seed=chance)

    def construct(self, ids: Any, types: Any, key: Any) -> Any:
        """Return the sum of the three, normalised."""
        positions = self.positions[: ids.shape[1]]
        x = self.norm(self.words(ids) + self.types(types) + positions)
        x = operand(x, self.compute_dtype)
        return self.dropout(ops.reshape(x, (ids.shape[0] * ids.shape[1], -1)), key)


class Layer(nn.Cell):
    """Attention, and two dense layers for each position; what comes in is added to what comes of both."""

    def __init__(self, config: Config, draw: np.random.Generator, chance: np.random.Generator) -> None:
        """Draw the weights."""
        super().__init__()
        hidden, wide, keep = config.hidden, config.intermediate, 1 - config.dropout
        self.attention = nn.MultiheadAttention(hidden, config.heads, keep, seed=draw, key_seed=chance)
        self.attention_dropout = nn.Dropout(keep, seed=chance)
        self.attention_norm = nn.LayerNorm(hidden, config.eps)
        self.dense_in = nn.Dense(hidden, wide, weight=first_weight((wide, hidden), draw))
        self.gelu = nn.GELU()
        self.dense_out = nn.Dense(wide, hidden, weight=first_weight((hidden, wide), draw))
        self.dropout = nn.Dropout(keep, seed=chance)
        self.norm = nn.LayerNorm(hidden, config.eps)

    def construct(self, x: Any, mask: Any, key: Any) -> Any:
        """Return x[b t, hidden] changed by the layer."""
        attended = self.attention_dropout(self.attention(x, mask, key), key)
        x = self.attention_norm(attended + x)
        made = self.dense_out(self.gelu(self.dense_in(x)))
        return self.norm(self.dropout(made, key) + x)


class Bert(nn.Cell):
    """(rows[b t, hidden], pooled[b, hidden]) of ids, types and mask[b, t]: what words and sentences mean."""

    def __init__(self, config: Config, draw: np.random.Generator, chance: np.random.Generator) -> None:
        """Draw all weights; layers are equal, so that they are compiled once."""
        super().__init__()
        self.embeddings = Embeddings(config, draw, chance)
        self.layers = [Layer(config, draw, chance) for _ in range(config.layers)]
        for at, layer in enumerate(self.layers):
            setattr(self, f"layer{at}", layer)
        weight = first_weight((config.hidden, config.hidden), draw)
        self.pooler = nn.Dense(config.hidden, config.hidden, weight=weight)

    def construct(self, ids: Any, types: Any, mask: Any, key: Any) -> Any:
        """Return the meaning of each position, and of the whole by way of its first one."""
        b, t = ids.shape
        x = self.embeddings(ids, types, key)
        seen = (ops.cast(mask, x.dtype) - 1) * -HIDDEN
        seen = ops.reshape(seen, (b, 1, 1, t))
        for layer in self.layers:
            x = layer(x, seen, key)
        first = ops.reshape(x, (b, t, -1))[:, 0]
        return x, ops.tanh(self.pooler(first))


class BertForPreTraining(nn.Cell):
    """(words[b predictions, vocabulary], next[b, 2]): which words were hidden, and whether sentences follow.

    Words are found with the table that the embeddings have.
    """

    def __init__(self, config: Config) -> None:
        """Draw all weights from one generator."""
        super().__init__()
        draw, chance = generator(config.seed), generator(config.seed, 1)
        self.bert = Bert(config, draw, chance)
        weight = first_weight((config.hidden, config.hidden), draw)
        self.transform = nn.Dense(config.hidden, config.hidden, weight=weight)
        self.gelu = nn.GELU()
        self.norm = nn.LayerNorm(config.hidden, config.eps)
        self.bias = Parameter(np.zeros(config.vocabulary, np.float32))
        self.follows = nn.Dense(config.hidden, 2, weight=first_weight((2, config.hidden), draw))

    def construct(self, ids: Any, types: Any, mask: Any, positions: Any, key: Any = None) -> Any:
        """Return the logits of words and of sentences, float32; without a key nothing is dropped."""
        x, pooled = self.bert(ids, types, mask, key)
        starts = Tensor(np.arange(ids.shape[0], dtype=np.int32)[:, np.newaxis] * ids.shape[1])
        rows = ops.gather(x, ops.reshape(positions + starts, (-1,)))
        rows = self.norm(self.gelu(self.transform(rows)))
        table = operand(self.bert.embeddings.words.table, self.compute_dtype)
        words = ops.matmul(rows, table, False, True, "float32")
        return ops.bias_add(words, self.bias, -1), summed_wide(self.follows(pooled))


class PreTrainingLoss(nn.Cell):
    """The mean loss of the hidden words, as their weights count them, and that of the next sentences."""

    def construct(self, words: Any, follows: Any, labels: Any, weights: Any, is_next: Any) -> Any:
        """Return the sum of the two means; labels and weights are [b, predictions], is_next is [b]."""
        losses = ops.softmax_cross_entropy(words, ops.reshape(labels, (-1,)))
        weights = ops.reshape(weights, (-1,))
        of_words = ops.reduce_sum(losses * weights) / (ops.reduce_sum(weights) + 1e-5)
        return of_words + ops.reduce_mean(ops.softmax_cross_entropy(follows, is_next))


class PreTraining(nn.Cell):
    """loss of what a step of pre-training takes: the inputs, the labels, and the key of what is dropped."""

    def __init__(self, net: BertForPreTraining) -> None:
        """Hold the network."""
        super().__init__()
        self.net, self.loss = net, PreTrainingLoss()

    def construct(
        self, ids: Any, types: Any, mask: Any, positions: Any, labels: Any, weights: Any, is_next: Any,
        key: Any,
    ) -> Any:  # fmt: skip
        """Return the loss."""
        words, follows = self.net(ids, types, mask, positions, key)
        return self.loss(words, follows, labels, weights, is_next)


def build(config: Config | None = None) -> BertForPreTraining:
    """Return the network, in mixed precision unless the config says otherwise."""
    config = config or LARGE
    net = BertForPreTraining(config)
    return net if config.compute_dtype is None else net.to_float(config.compute_dtype)


def inputs(config: Config, batch: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return sentences of random words, of various lengths, with the inputs and the labels of a step."""
    draw = generator(seed, batch)
    lengths = draw.integers(config.sequence // 2, config.sequence + 1, batch)
    places = np.arange(config.sequence)
    shape, holes = (batch, config.sequence), (batch, config.predictions)
    return {
        "ids": draw.integers(0, config.vocabulary, shape).astype(np.int32),
        "types": (places >= lengths[:, np.newaxis] // 2).astype(np.int32),
        "mask": (places < lengths[:, np.newaxis]).astype(np.int32),
        "positions": draw.integers(0, lengths[:, np.newaxis], holes).astype(np.int32),
        "labels": draw.integers(0, config.vocabulary, holes).astype(np.int32),
        "weights": (draw.random(holes) < 0.8).astype(np.float32),
        "is_next": draw.integers(0, 2, batch).astype(np.int32),
    }


def training(config: Config, batch: int) -> Step:
    """Return a step of pre-training as the recipe has it; weights have no numbers."""
    with nn.shapes_only():
        net = PreTraining(build(config))
    params = without_decay_of_vectors(net.trainable_params(), RECIPE.weight_decay)
    optimizer = LAMB(params, RECIPE.peak_learning_rate)
    key = TensorType.of(ops.dropout_key(0).numpy())
    types = (*_batch(config, batch).values(), key)
    func = training_step(net, None, optimizer, *types, loss_scale=RECIPE.loss_scale)
    return Step.of(func, len(types) + 1)


def inference(config: Config, batch: int) -> Step:
    """Return the network in use; weights have no numbers: as constants they would be 1.3 GB to compile."""
    with nn.shapes_only():
        net = build(config)
    types = tuple(_batch(config, batch).values())[:INPUTS]
    return Step.of(inference_step(net, *types), INPUTS)


def _batch(config: Config, batch: int) -> dict[str, TensorType]:
    """Return the types of what `inputs` gives."""
    of_words, of_holes = (batch, config.sequence), (batch, config.predictions)
    shapes = {"ids": of_words, "types": of_words, "mask": of_words, "positions": of_holes, "labels": of_holes}
    found = {name: TensorType(shape, dtype("int32")) for name, shape in shapes.items()}
    found["weights"] = TensorType(of_holes, dtype("float32"))
    return {**found, "is_next": TensorType((batch,), dtype("int32"))}
