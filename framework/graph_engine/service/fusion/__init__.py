"""Fusions: patterns from a table, then chains of element-wise nodes, each only where the chip is faster."""

from framework.graph_engine.service.fusion.apply import fuse
from framework.graph_engine.service.fusion.table import (
    ALL,
    ELEMENTS,
    NONE,
    PATTERNS,
    REAL,
    SETS,
    chosen,
)

__all__ = ["ALL", "ELEMENTS", "NONE", "PATTERNS", "REAL", "SETS", "chosen", "fuse"]
