"""Data sets."""

from collections.abc import Callable

from davinci_sim.errors import unknown
from framework.data.dataset import Dataset, Split
from framework.data.sklearn_digits import digits

DATASETS: dict[str, Callable[[int, int], Split]] = {"digits": digits}


def dataset(name: str, batch_size: int = 32, seed: int = 0) -> Split:
    """Return a data set, train and test part, by name."""
    if name not in DATASETS:
        raise unknown("data set", name, tuple(DATASETS))
    return DATASETS[name](batch_size, seed)


__all__ = ["DATASETS", "Dataset", "Split", "dataset", "digits"]
