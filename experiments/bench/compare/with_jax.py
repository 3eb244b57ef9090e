"""JAX's part of the comparison: the networks as pure functions, traced over shapes alone.

Traced and differentiated is `make_jaxpr` of `value_and_grad`; ready for a back end is `jit(...).lower`, which
is StableHLO, not compiled yet. Layers follow each other as in the other tools; `lax.scan` over layers whose
weights a user has stacked by hand would trace them once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.bench.compare.timing import (
    BATCH,
    HEADS,
    IMAGE,
    LOWERED,
    POSITIONS,
    RUN,
    SEQUENCES,
    STAGES,
    TOKENS,
    TRACED,
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

Weights = Any
Network = Callable[[Weights, Any], Any]


def shape(*sizes: int, dtype: Any = jnp.float32) -> Any:
    """Return an array without data."""
    return jax.ShapeDtypeStruct(sizes, dtype)


def dense_weights(inputs: int, outputs: int) -> Weights:
    """Return weight and bias."""
    return shape(inputs, outputs), shape(outputs)


def dense(weights: Weights, x: Any) -> Any:
    """Return y[..., n] = x[..., k] @ weight[k, n] + bias[n]."""
    return x @ weights[0] + weights[1]


def layer_norm(weights: Weights, x: Any) -> Any:
    """Return x normalised along the last axis."""
    distance = x - x.mean(-1, keepdims=True)
    variance = (distance * distance).mean(-1, keepdims=True)
    return distance * lax.rsqrt(variance + 1e-5) * weights[0] + weights[1]


def conv_weights(inputs: int, outputs: int, window: int) -> Weights:
    """Return the weights of a convolution and its normalisation."""
    return shape(outputs, inputs, window, window), shape(outputs), shape(outputs)


def conv(weights: Weights, x: Any, stride: int = 1) -> Any:
    """Return the convolution of x[n, c, h, w], normalised over the batch."""
    weight, gamma, beta = weights
    pad = weight.shape[2] // 2
    y = lax.conv_general_dilated(x, weight, (stride, stride), [(pad, pad)] * 2)
    distance = y - y.mean((0, 2, 3), keepdims=True)
    variance = (distance * distance).mean((0, 2, 3), keepdims=True)
    return distance * lax.rsqrt(variance + 1e-5) * gamma.reshape(-1, 1, 1) + beta.reshape(-1, 1, 1)


def mlp() -> tuple[Network, Weights]:
    """Return the multilayer perceptron."""

    def network(weights: Weights, x: Any) -> Any:
        for each in weights[:-1]:
            x = jax.nn.relu(dense(each, x))
        return dense(weights[-1], x)

    return network, [dense_weights(inputs, outputs) for inputs, outputs in pairwise(WIDTHS)]


def resnet50() -> tuple[Network, Weights]:
    """Return ResNet-50."""
    blocks, strides, inputs = [], [], 64
    for inner, count, stride in STAGES:
        for at in range(count):
            block = [conv_weights(inputs, inner, 1), conv_weights(inner, inner, 3)]
            block.append(conv_weights(inner, 4 * inner, 1))
            if at == 0:
                block.append(conv_weights(inputs, 4 * inner, 1))
            blocks.append(block)
            strides.append(stride if at == 0 else 1)
            inputs = 4 * inner

    def network(weights: Weights, x: Any) -> Any:
        stem, blocks, classify = weights
        x = jax.nn.relu(conv(stem, x, 2))
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        for (reduce, convolve, expand, *shortcut), stride in zip(blocks, strides, strict=True):
            y = jax.nn.relu(conv(convolve, jax.nn.relu(conv(reduce, x)), stride))
            x = jax.nn.relu(conv(expand, y) + (conv(shortcut[0], x, stride) if shortcut else x))
        return dense(classify, x.mean((2, 3)))

    return network, (conv_weights(3, 64, 7), blocks, dense_weights(2048, 1000))


def attention(weights: Weights, x: Any) -> Any:
    """Return attention of all places of x[b, t, d] to each other."""

    def split(y: Any) -> Any:
        return y.reshape(*y.shape[:2], HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)

    query, key, value = (split(dense(each, x)) for each in weights[:3])
    scores = query @ key.swapaxes(-1, -2) * (1 / math.sqrt(WIDTH // HEADS))
    mixed = jax.nn.softmax(scores) @ value  # b heads t d
    return dense(weights[3], mixed.transpose(0, 2, 1, 3).reshape(x.shape))


def transformer(layers: int) -> tuple[Network, Weights]:
    """Return the encoder: its layers one after the other, as Python writes them."""
    norm = (shape(WIDTH), shape(WIDTH))
    projections = [dense_weights(WIDTH, WIDTH)] * 4
    layer = (projections, norm, dense_weights(WIDTH, 4 * WIDTH), dense_weights(4 * WIDTH, WIDTH), norm)
    tables = (shape(VOCABULARY, WIDTH), shape(POSITIONS, WIDTH), shape(2, WIDTH))

    def network(weights: Weights, tokens: Any) -> Any:
        (words, places, segments), first, layers, pool, classify = weights
        x = layer_norm(first, words[tokens] + places[: tokens.shape[1]] + segments[0])
        for projections, one, widen, narrow, other in layers:
            x = layer_norm(one, x + attention(projections, x))
            x = layer_norm(other, x + dense(narrow, jax.nn.gelu(dense(widen, x), approximate=False)))
        return dense(classify, jnp.tanh(dense(pool, x[:, 0])))

    return network, (tables, norm, [layer] * layers, dense_weights(WIDTH, WIDTH), dense_weights(WIDTH, 2))


def networks(name: str) -> Stages:
    """Return the stages of a training step; each starts with empty caches."""
    inputs: Any
    if name == "mlp":
        (network, weights), inputs = mlp(), shape(BATCH, WIDTHS[0])
    elif name == "resnet50":
        (network, weights), inputs = resnet50(), shape(BATCH, 3, IMAGE, IMAGE)
    else:
        network, weights = transformer(layers_of(name))
        inputs = shape(SEQUENCES, TOKENS, dtype=jnp.int32)
    labels = shape(inputs.shape[0], dtype=jnp.int32)

    def loss(weights: Weights, x: Any, labels: Any) -> Any:
        logs = jax.nn.log_softmax(network(weights, x))
        return -jnp.take_along_axis(logs, labels[:, None], 1).mean()

    def traced() -> object:
        jax.clear_caches()
        return jax.make_jaxpr(jax.value_and_grad(loss))(weights, inputs, labels)

    def lowered() -> object:
        jax.clear_caches()
        return jax.jit(jax.value_and_grad(loss)).lower(weights, inputs, labels)

    return {TRACED: traced, LOWERED: lowered}


def looped(x: Any, turns: Any) -> Any:
    """Return the number that a pull towards one leads to, after so many turns."""

    def turn(state: Any) -> Any:
        x, done = state
        return x + (1.0 - x * x) * 1e-6, done + 1

    return lax.while_loop(lambda state: state[1] < turns, turn, (x, 0))[0]


def loop() -> Found:
    """Return what a loop takes whose trip count is data: it has no reverse mode."""

    def ahead() -> object:
        jax.clear_caches()
        return jax.make_jaxpr(looped)(shape(), shape(dtype=jnp.int32))

    said = refusal(lambda: jax.make_jaxpr(jax.value_and_grad(looped))(shape(), shape(dtype=jnp.int32)))
    return {TRACED: f"{said}; {seconds(ahead) * 1e3:.1f} ms without a gradient", RUN: said}


if __name__ == "__main__":
    report(networks, loop)
