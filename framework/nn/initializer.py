"""First values of Parameters, from a generator that is keyed and counted: the same bits on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

Seed = int | np.random.Generator
Array = np.ndarray[Any, Any]

_SHAPES_ONLY = ContextVar("shapes_only", default=False)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Make Parameters without numbers: networks that are only compiled or timed need none.

    Their arrays are one zero, seen in the shape that is asked for: a gigabyte of weights takes no memory.
    """
    token = _SHAPES_ONLY.set(True)
    try:
        yield
    finally:
        _SHAPES_ONLY.reset(token)


def made(shape: tuple[int, ...], make: Callable[[], Array]) -> Array:
    """Return what an initialiser makes, in float32, or only its shape."""
    if _SHAPES_ONLY.get():
        return np.broadcast_to(np.float32(0), shape)
    return make().astype(np.float32, copy=False)


def generator(*key: int) -> np.random.Generator:
    """Return a Philox generator keyed by up to two integers, for example (seed, epoch).

    >>> bool(generator(1, 2).integers(100) == generator(1, 2).integers(100))
    True
    """
    return np.random.Generator(np.random.Philox(key=list(key) + [0] * (2 - len(key))))


def as_generator(seed: Seed) -> np.random.Generator:
    """Return the generator, or a new one for a seed."""
    return seed if isinstance(seed, np.random.Generator) else generator(seed)


def he_uniform(shape: tuple[int, ...], fan_in: int, seed: Seed) -> Array:
    """Return float32 values between -sqrt(6 / fan_in) and sqrt(6 / fan_in), for layers before a ReLU."""
    bound = math.sqrt(6.0 / fan_in)
    return made(shape, lambda: as_generator(seed).uniform(-bound, bound, shape))


def zeros(shape: tuple[int, ...]) -> Array:
    """Return float32 zeros."""
    return made(shape, lambda: np.zeros(shape, np.float32))


def ones(shape: tuple[int, ...]) -> Array:
    """Return float32 ones."""
    return made(shape, lambda: np.ones(shape, np.float32))


MOST_DEVIATIONS = 2.0
"""Where a truncated normal distribution ends."""


def truncated_normal(shape: tuple[int, ...], deviation: float, seed: Seed) -> Array:
    """Return float32 values of a normal distribution; those beyond two deviations are drawn again."""

    def drawn() -> Array:
        draw = as_generator(seed)
        values = draw.standard_normal(shape, np.float32)
        flat = values.reshape(-1)
        while (outside := np.flatnonzero(np.abs(flat) > MOST_DEVIATIONS)).size:
            flat[outside] = draw.standard_normal(outside.size, np.float32)
        values *= np.float32(deviation)
        return values

    return made(shape, drawn)
