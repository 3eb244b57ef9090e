"""The handwritten digits that scikit-learn ships: 1,797 real scans of 8x8, enlarged to 1x32x32.

As in LeNet-5's paper the digit stands in the middle of the image, with a blank margin around it, so that
convolutions without padding see its strokes as well at the edges as inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.data.dataset import Dataset, Split
from framework.nn.initializer import generator

Array = np.ndarray[Any, Any]

DIGIT = 24
MARGIN = 4  # pixels on every side: 24 + 2 * 4 = 32
SHIFT = 2  # training images move by up to this many pixels
SPLIT_SEED = 1797
TEST_SHARE = 0.2


def digits(batch_size: int = 32, seed: int = 0) -> Split:
    """Return the digits as (train, test): 80 % and 20 %, split with a fixed seed.

    Both are normalised by mean and deviation of the train part. `seed` orders and moves the training images;
    an incomplete last batch is left out of training and kept in the test.
    """
    images, labels = _load()
    order = generator(SPLIT_SEED).permutation(len(labels))
    split = round(len(labels) * TEST_SHARE)
    test, train = order[:split], order[split:]
    mean, deviation = images[train].mean(dtype=np.float64), images[train].std(dtype=np.float64)
    scaled = ((images - mean) / deviation).astype(np.float32)
    return Split(
        Dataset(scaled[train], labels[train], batch_size, seed, drop_remainder=True, shift=SHIFT),
        Dataset(scaled[test], labels[test], batch_size),
    )


def enlarge(images: Array, side: int) -> Array:
    """Return images[n, h, h] as [n, side, side], interpolated linearly between pixel centres.

    >>> enlarge(np.array([[[0.0, 1.0], [0.0, 1.0]]]), 4)[0, 0]
    array([0.  , 0.25, 0.75, 1.  ])
    """
    size = images.shape[-1]
    centres = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
    weights = np.maximum(
        0.0, 1.0 - np.abs(centres[:, np.newaxis] - np.arange(size))
    )  # side x h, rows sum to 1
    return np.asarray(np.einsum("ih,nhw,jw->nij", weights, images, weights))


def _load() -> tuple[Array, Array]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DavinciError(
            "the digits data set comes with scikit-learn, which is not installed; "
            "install it with: pip install scikit-learn"
        ) from None
    bunch = load_digits()
    large = enlarge(np.asarray(bunch.images, dtype=np.float64), DIGIT)
    images = np.pad(large, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    return images[:, np.newaxis], np.asarray(bunch.target, dtype=np.int32)
