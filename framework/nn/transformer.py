"""Layers of transformers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework import ops
from framework.dtypes import float16
from framework.nn.cell import Cell
from framework.nn.initializer import Array, Seed, as_generator, truncated_normal, zeros
from framework.nn.layers import Dense
from framework.precision import operand
from framework.tensor import Parameter

DEVIATION = 0.02
"""Of the first weights of embeddings and of what attends. Source: Devlin et al., BERT, arXiv 1810.04805."""
INT32 = np.iinfo(np.int32)
FRACTAL = 16
"""Positions of which the kernel of attention takes multiples."""


def first_weight(shape: tuple[int, ...], seed: Seed) -> Array:
    """Return the first values of a weight."""
    return truncated_normal(shape, DEVIATION, seed)


class LayerNorm(Cell):
    """y[..., n] = (x - mean) / deviation * gamma[n] + beta[n], both over the last axis of x."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        """Start with gamma one and beta zero."""
        super().__init__()
        self.gamma = Parameter(np.ones(size, np.float32))
        self.beta = Parameter(zeros((size,)))
        self.eps = eps

    def construct(self, x: Any) -> Any:
        """Return x normalised, in its own dtype."""
        y, _, _ = ops.layer_norm(x, operand(self.gamma, x.dtype), operand(self.beta, x.dtype), self.eps)
        return y


class GELU(Cell):
    """y = x times the probability that a standard normal number is below it."""

    def __init__(self, approximate: bool = True) -> None:
        """Choose the tanh form, or the exact one."""
        super().__init__()
        self.approximate = approximate

    def construct(self, x: Any) -> Any:
        """Return the activation of x."""
        return ops.gelu(x, self.approximate)


class Dropout(Cell):
    """y = x / keep_prob, or 0 where chance has it; x itself when no key is given, as in inference.

    The key of a step, `ops.dropout_key(seed, step)`, serves all layers of a network: each adds a number of
    its own, so that no two masks are alike and every one can be made again.
    """

    def __init__(self, keep_prob: float = 0.5, *, seed: Seed = 0) -> None:
        """Draw the number that tells this layer from others."""
        super().__init__()
        if not 0 < keep_prob <= 1:
            raise DavinciError(
                f"Dropout: keep_prob is {keep_prob}\n"
                "  rule: it is above 0 and at most 1\n  next: give the share that is kept"
            )
        words = as_generator(seed).integers(INT32.min, INT32.max, ops.dropout_key(0).shape, np.int32)
        self.number = Parameter(words, requires_grad=False)
        self.keep_prob = keep_prob

    def construct(self, x: Any, key: Any = None) -> Any:
        """Return x with some elements dropped."""
        if key is None or self.keep_prob == 1:
            return x
        y, _ = ops.dropout(x, key + self.number, self.keep_prob)
        return y


class Embedding(Cell):
    """y[..., n] = table[x[...], n].

    With `use_one_hot` rows come as products of zeros and a one with the table: of few rows, to which many
    positions add their gradients, the cube sums these faster.
    """

    def __init__(self, vocabulary: int, size: int, *, use_one_hot: bool = False, seed: Seed = 0) -> None:
        """Draw the table."""
        super().__init__()
        self.use_one_hot = use_one_hot
        self.table = Parameter(first_weight((vocabulary, size), seed))

    def construct(self, x: Any) -> Any:
        """Return the rows of the table that x names."""
        if not self.use_one_hot:
            return ops.gather(self.table, x)
        rows, size = self.table.shape
        chosen = ops.one_hot(ops.reshape(x, (-1,)), rows, self.table.dtype)
        return ops.reshape(ops.matmul(chosen, self.table), (*x.shape, size))


class MultiheadAttention(Cell):
    """y[b t, d]: the values of other positions, as much of each as queries and keys of `heads` heads say.

    x[b t, d] are the rows of b sequences of t positions; mask[b, 1, 1, t] is added to the scores. In half
    precision nothing but the result is kept where no share is dropped; see `ops.attention`.
    """

    def __init__(
        self, size: int, heads: int, keep_prob: float = 1.0, *, seed: Seed = 0, key_seed: Seed = 0
    ) -> None:
        """Draw the weights."""
        super().__init__()
        if size % heads:
            raise DavinciError(
                f"MultiheadAttention: size {size} does not come apart in {heads} heads\n"
                "  rule: heads divide the size\n  next: change one of them"
            )
        draw = as_generator(seed)
        self.query, self.key, self.value, self.output = (
            Dense(size, size, weight=first_weight((size, size), draw)) for _ in range(4)
        )
        self.dropout = Dropout(keep_prob, seed=key_seed)
        self.heads, self.scale = heads, 1 / math.sqrt(size // heads)

    def construct(self, x: Any, mask: Any, key: Any = None) -> Any:
        """Return what each position gathers from all of its sequence."""
        b, t = mask.shape[0], mask.shape[3]
        q, k = self.by_heads(self.query(x), b, t), self.by_heads(self.key(x), b, t)
        v = self.by_heads(self.value(x), b, t)
        if self.drops(key) or q.dtype != float16 or t % FRACTAL:
            gathered = self.step_by_step(q, k, v, mask, key)
        else:
            gathered, _ = ops.attention(q, k, v, ops.broadcast_to(mask, (b, 1, t, t)))
        return self.output(ops.reshape(ops.transpose(gathered, (0, 2, 1, 3)), x.shape))  # b t heads d

    def drops(self, key: Any) -> bool:
        """Tell whether some shares are dropped, so that they have to be kept for the way back."""
        return key is not None and self.dropout.keep_prob < 1

    def step_by_step(self, q: Any, k: Any, v: Any, mask: Any, key: Any) -> Any:
        """Return what attention gives, by way of scores[b, heads, t, t]."""
        scores = ops.matmul(q * self.scale, k, False, True) + mask
        return ops.matmul(self.dropout(ops.softmax(scores), key), v)

    def by_heads(self, x: Any, b: int, t: int) -> Any:
        """Return x[b t, heads d] as [b, heads, t, d]."""
        return ops.transpose(ops.reshape(x, (b, t, self.heads, -1)), (0, 2, 1, 3))
