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
    kinds = words[:, 0] & 255 | words[:, 0] >> 8 & 0xFF00  # opcode and element type
    first = np.full(1 << 16, -1)
    first[kinds[::-1]] = np.arange(len(words))[
        ::-1
    ]  # of equal kinds the last assignment stays: the first record
    found = []
    for record in sorted(first[first >= 0].tolist()):
        declared = BY_OPCODE[int(kinds[record]) & 255]
        dtype = DTYPE_NAMES[int(kinds[record]) >> 8]
        for at, types in _types(declared, dtype, words, kinds, record):
            if not platform.supports(declared.name, types):
                found.append(Unsupported(at, declared.name, types))
    return sorted(found)


def _types(
    declared: Instruction, dtype: str, words: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64], record: int
) -> list[tuple[int, str]]:
    """Return the types as a platform names them, each with its first record, for the kind of `record`."""
    if declared.name == "mmad" and dtype in _RESULTS:
        return [(record, f"{dtype}>{_RESULTS[dtype]}")]
    places = {item.name: offset for item, offset in zip(declared.fields, declared.offsets, strict=True)}
    if "to" not in places:
        return [(record, dtype)]
    place = places["to"]
    records = np.flatnonzero(kinds == kinds[record])
    to = words[records, 1 + place // 8] >> (8 * (place % 8)) & 255
    codes, at = np.unique(to, return_index=True)
    return [
        (int(records[index]), f"{dtype}>{DTYPE_NAMES[code]}")
        for code, index in zip(codes.tolist(), at, strict=True)
    ]
