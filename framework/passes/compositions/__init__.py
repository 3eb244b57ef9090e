"""Compositions: formulas written with elementary operators become the one operator that has kernels."""

from framework.passes.compositions.apply import compose
from framework.passes.compositions.table import ALL, COMPOSITIONS, UPDATES, chosen

__all__ = ["ALL", "COMPOSITIONS", "UPDATES", "chosen", "compose"]
