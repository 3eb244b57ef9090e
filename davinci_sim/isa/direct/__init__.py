"""Translate functions of integers straight to LLVM: what emits records is compiled ten times as fast.

Emitters and kernels compute addresses and counts with 64-bit integers, take and return named tuples of them,
loop, branch, and call each other. For that no types need to be inferred, and one walk over the syntax tree
writes the instructions. A function that uses anything else is left to Numba (`Untranslated`), which compiles
the same source with the same result; both call each other, since arguments and results are passed alike.
"""

from davinci_sim.isa.direct.build import build
from davinci_sim.isa.direct.expressions import WRITERS, Expressions
from davinci_sim.isa.direct.statements import Translator
from davinci_sim.isa.direct.values import INT, NONE, Untranslated, Value, names_of
from davinci_sim.isa.direct.way_in import WayIn

__all__ = [
    "INT",
    "NONE",
    "WRITERS",
    "Expressions",
    "Translator",
    "Untranslated",
    "Value",
    "WayIn",
    "build",
    "names_of",
]
