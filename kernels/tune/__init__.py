"""The search for tilings: bounds discard what cannot win, the compiled engine decides, results are kept."""

from kernels.tune.search import tune
from kernels.tune.store import keep, kept
from kernels.tune.tuned import Tuned

__all__ = ["Tuned", "keep", "kept", "tune"]
