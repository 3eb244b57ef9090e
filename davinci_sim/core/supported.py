"""Which instructions of a program its chip does not have, by name and element types."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.core.program import BY_OPCODE
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.isa.instruction import Instruction
from davinci_sim.platforms import Platform

_RESULTS = {"fp16": "fp32", "bf16": "fp32", "fp32": "fp32", "int8": "int32", "int4": "int32"}
"""Accumulators of mmad where the record does not say them."""


class Unsupported(NamedTuple):
    """An instruction with types that a chip lacks, and the first record that has it."""

    record: int
    instruction: str
    dtype: str


def unsupported(words: npt.NDArray[np.int64], platform: Platform) -> list[Unsupported]:
    """Return what a program (`words[n, 8]`) uses and the platform lacks, in order of first use.

    >>> from davinci_sim.platforms import platform
    >>> unsupported(np.zeros((0, 8), dtype=np.int64), platform("ascend310"))
    []
    """
    kinds = words[:, 0] & 0xFF00FF  # opcode and element type
    _, first = np.unique(kinds, return_index=True)
    found = []
    for record in sorted(int(index) for index in first):
        declared = BY_OPCODE[int(kinds[record]) & 255]
        dtype = DTYPE_NAMES[int(kinds[record]) >> 16]
        for at, types in _types(declared, dtype, words, np.flatnonzero(kinds == kinds[record])):
            if not platform.supports(declared.name, types):
                found.append(Unsupported(at, declared.name, types))
    return sorted(found)


def _types(
    declared: Instruction, dtype: str, words: npt.NDArray[np.int64], records: npt.NDArray[np.intp]
) -> list[tuple[int, str]]:
    """Return the types as a platform names them, with the first record of each."""
    if declared.name == "mmad" and dtype in _RESULTS:
        return [(int(records[0]), f"{dtype}>{_RESULTS[dtype]}")]
    if "to" not in (field.name for field in declared.fields):
        return [(int(records[0]), dtype)]
    place = next(
        offset for field, offset in zip(declared.fields, declared.offsets, strict=True) if field.name == "to"
    )
    to = words[records, 1 + place // 8] >> (8 * (place % 8)) & 255
    codes, first = np.unique(to, return_index=True)
    return [
        (int(records[at]), f"{dtype}>{DTYPE_NAMES[int(code)]}") for code, at in zip(codes, first, strict=True)
    ]
