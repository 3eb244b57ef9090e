"""How generated code asks a record for the memory that it touches: one case per family of instructions."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from davinci_sim.isa import INSTRUCTIONS, Instruction
from davinci_sim.isa.instruction import NO_VARIANT

RECORD, HOW, HANDLE, RUN, INNER, INNER_STRIDE, OUTER, OUTER_STRIDE = range(8)
"""Columns of a row of bytes that a record touches: `outer` x `inner` runs of `run` bytes from `handle`."""
BOX_COLUMNS = 8
VARIANTS = np.array([NO_VARIANT, *(declared.variant for declared in INSTRUCTIONS.values())], dtype=np.int64)
"""By opcode, what `accesses` of a family wants to know of its instruction."""

_RARE = "compare_once compare_scalar extreme fused gather scatter shuffle sort vector_scatter vision"
RARE_MODULES = frozenset(f"davinci_sim.isa.{name}" for name in _RARE.split())
"""Where instructions are declared that are compiled only when a program has one."""


def is_rare(declared: Instruction) -> bool:
    """Tell whether an instruction is one that few kernels need."""
    return declared.emitter.__module__ in RARE_MODULES


def families(instructions: Iterable[Instruction]) -> list[list[Instruction]]:
    """Group the instructions that share operands and accesses, so that each is compiled once."""
    groups: dict[tuple[Any, ...], list[Instruction]] = {}
    for declared in instructions:
        groups.setdefault((declared.record, declared.accesses), []).append(declared)
    return list(groups.values())


def regions_text(number: int, family: list[Instruction], scope: dict[str, Any]) -> tuple[str, str]:
    """Return the test for a family and the call that gives its regions; put what both name into `scope`."""
    accesses: Callable[..., Any] = family[0].accesses
    scope |= {"VARIANTS": VARIANTS, f"decode{number}": family[0].decode, f"accesses{number}": accesses}
    wants_variant = len(inspect.signature(getattr(accesses, "py_func", accesses)).parameters) > 1
    test = " or ".join(f"op == {declared.opcode}" for declared in family)
    return test, f"accesses{number}(decode{number}(words, r){', VARIANTS[op]' if wants_variant else ''})"
