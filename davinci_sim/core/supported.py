"""Which instructions of a program its chip does not have, by name and element types."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.core.program import BY_OPCODE, Program
from davinci_sim.errors import DavinciError
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.isa.jit import jit
from davinci_sim.platforms import Platform, platform_names
from davinci_sim.platforms import platform as platform_of

_RESULTS = {"fp16": "fp32", "bf16": "fp32", "fp32": "fp32", "int8": "int32", "int4": "int32"}
"""Accumulators of mmad where the record does not say them."""
_MIXED = {"vmla_mixed", "vaxpy_mixed"}
"""Instructions whose result is fp32, whatever their sources are."""
_KINDS = 1 << 16
"""Opcode (8 bits), element type (4 bits) and, of a conversion, the type of the result (4 bits)."""
Words = npt.NDArray[np.int64]


class UnsupportedInstruction(DavinciError):
    """A program with an instruction that its chip does not have for that element type."""


class Unsupported(NamedTuple):
    """An instruction with types that a chip lacks, and the first record that has it."""

    record: int
    instruction: str
    dtype: str


def unsupported(words: Words, platform: Platform) -> list[Unsupported]:
    """Return what a program (`words[n, 8]`) uses and the platform lacks, in order of first use.

    A program of which nothing is lacking costs one pass of machine code.

    >>> from davinci_sim.platforms import platform
    >>> unsupported(np.zeros((0, 8), dtype=np.int64), platform("ascend310"))
    []
    """
    if not platform.instructions:
        return []
    shifts, lacking = _result_shifts(), _lacking(platform)
    (record, kind), found = _next_lacking(words, 0, shifts, lacking), []
    while record >= 0:
        lacking = lacking & (np.arange(_KINDS) != kind)  # each is told once
        found.append(Unsupported(record, *_named(kind)))
        record, kind = _next_lacking(words, record + 1, shifts, lacking)
    return found


def require_supported(case: str, programs: Sequence[Program], platform: Platform) -> None:
    """Refuse programs that use what the platform lacks; `case` says whose programs they are.

    Raises:
        UnsupportedInstruction: it names all that is lacking, the first line that uses it, and other chips.
    """
    first: dict[tuple[str, str], str] = {}
    for program in programs:
        for record, instruction, dtype in unsupported(program.words, platform):
            first.setdefault((instruction, dtype), program.source(record))
    if first:
        able = [name for name in platform_names() if _has_all(platform_of(name), programs)]
        raise UnsupportedInstruction(_refusal(case, first, platform, able))


def _has_all(platform: Platform, programs: Sequence[Program]) -> bool:
    """Tell whether a platform has every instruction of programs."""
    return not any(unsupported(program.words, platform) for program in programs)


def _refusal(
    case: str, first: dict[tuple[str, str], str], platform: Platform, able: list[str]
) -> str:  # fmt: skip
    """Say what a platform lacks, (instruction, types) -> source line of its first use, and who is able."""
    lines = [
        f"  {instruction} of {dtype} at {source}; the chip has {_has(platform, instruction)}"
        for (instruction, dtype), source in first.items()
    ]
    step = f"use another dtype, or a chip that has all: {', '.join(able)}" if able else "use another dtype"
    return "\n".join((
        f"{case}: {platform.name} lacks {', '.join(f'{name} of {dtype}' for name, dtype in first)}",
        *lines,
        "  rule: a kernel uses what the vendor lists for the chip; `davinci platform NAME --json` shows it",
        f"  next: {step}",
    ))  # fmt: skip


def _has(platform: Platform, instruction: str) -> str:
    """Return the types that a platform's instruction takes."""
    types = sorted(platform.instructions.get(instruction, ()))
    return f"it for {', '.join(types)}" if types else "none"


@jit
def _next_lacking(
    words: Words, first: int, shifts: Words, lacking: npt.NDArray[np.bool_]
) -> tuple[int, int]:  # fmt: skip
    """Return the next record from `first` on whose kind is lacking, and that kind; -1, 0: there is none."""
    for record in range(first, words.shape[0]):
        word = words[record, 0]
        kind, shift = word & 255 | (word >> 16 & 15) << 8, shifts[word & 255]
        if shift >= 0:
            kind |= (words[record, 1 + (shift >> 6)] >> (shift & 63) & 15) << 12
        if lacking[kind]:
            return record, kind
    return -1, 0


@lru_cache(maxsize=64)
def _lacking(platform: Platform) -> npt.NDArray[np.bool_]:
    """Return, for every kind, whether a platform lacks it."""
    lacking, codes = np.zeros(_KINDS, dtype=np.bool_), range(len(DTYPE_NAMES))
    for opcode in BY_OPCODE:
        results = codes if _result_shifts()[opcode] >= 0 else codes[:1]
        for dtype, to in product(codes, results):
            kind = opcode | dtype << 8 | to << 12
            lacking[kind] = not platform.supports(*_named(kind))
    return lacking


@lru_cache(maxsize=1)
def _result_shifts() -> Words:
    """Return where each opcode's record holds the type of its result: bits after the first word; -1: no."""
    shifts = np.full(256, -1, dtype=np.int64)
    for opcode, declared in BY_OPCODE.items():
        for item, offset in zip(declared.fields, declared.offsets, strict=True):
            if item.name == "to":
                shifts[opcode] = 8 * offset
    return shifts


def _named(kind: int) -> tuple[str, str]:
    """Return the instruction of a kind, and its types as a platform names them."""
    declared, dtype = BY_OPCODE[kind & 255], DTYPE_NAMES[kind >> 8 & 15]
    if _result_shifts()[kind & 255] >= 0:
        return declared.name, f"{dtype}>{DTYPE_NAMES[kind >> 12]}"
    if declared.name == "mmad" and dtype in _RESULTS:
        return declared.name, f"{dtype}>{_RESULTS[dtype]}"
    if declared.name in _MIXED:
        return declared.name, f"{dtype}>fp32"
    return declared.name, dtype
