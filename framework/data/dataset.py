"""Data sets in memory, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.nn.initializer import generator

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Dataset:
    """Images x[n, c, h, w] float32 and labels int32[n], in batches.

    A seed shuffles them by (seed, epoch). With `shift` each image is moved by up to that many pixels in both
    directions, round the edges, by the same key: a network then learns more from few images.
    """

    images: Array
    labels: Array
    batch_size: int = 32
    seed: int | None = None
    drop_remainder: bool = False
    shift: int = 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        whole, rest = divmod(len(self.labels), self.batch_size)
        return whole + (1 if rest and not self.drop_remainder else 0)

    def epoch(self, number: int) -> Iterator[tuple[Array, Array]]:
        """Go over the batches of an epoch; the order depends on seed and number alone."""
        order = np.arange(len(self.labels))
        draw = generator(self.seed or 0, number)
        if self.seed is not None:
            order = draw.permutation(order)
        for batch in range(len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images = self.images[chosen]
            yield moved(images, self.shift, draw) if self.shift else images, self.labels[chosen]


def moved(images: Array, by: int, draw: np.random.Generator) -> Array:
    """Return x[n, c, h, w] with every image rolled by up to `by` pixels along h and w.

    >>> moved(np.eye(3)[None, None], 1, generator(0)).sum()
    np.float64(3.0)
    """
    steps = draw.integers(-by, by + 1, (len(images), 2))
    rolled = [np.roll(image, tuple(step), (1, 2)) for image, step in zip(images, steps, strict=True)]
    return np.stack(rolled)


@dataclass(frozen=True)
class Split:
    """The two parts of a data set."""

    train: Dataset
    test: Dataset
