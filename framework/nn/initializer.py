"""First values of Parameters, from a generator that is keyed and counted: the same bits on every machine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Seed = int | np.random.Generator
Array = np.ndarray[Any, Any]


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
    return as_generator(seed).uniform(-bound, bound, shape).astype(np.float32)


def zeros(shape: tuple[int, ...]) -> Array:
    """Return float32 zeros."""
    return np.zeros(shape, dtype=np.float32)
