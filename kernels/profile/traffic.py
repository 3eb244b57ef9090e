"""How many bytes a program reads from and writes to each memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from davinci_sim.core.boxes import BATCH_ROWS, EVERY_PIPE, boxes_of
from davinci_sim.core.program import Program
from davinci_sim.core.records import BOX_COLUMNS, HANDLE, HOW, INNER, OUTER, RUN
from davinci_sim.isa.region import WRITTEN
from davinci_sim.isa.state import SPACE_COUNT, SPACE_SHIFT
from davinci_sim.memory.spaces import Space


def bytes_by_space(programs: Sequence[Program]) -> dict[str, tuple[int, int]]:
    """Return by space the bytes that instructions read and write; what is read twice counts twice."""
    totals = np.zeros((2, SPACE_COUNT), dtype=np.int64)
    boxes = np.zeros((BATCH_ROWS, BOX_COLUMNS), dtype=np.int64)
    for program in programs:
        words, record = np.ascontiguousarray(program.words), 0
        while record < len(words):
            record, rows = boxes_of(words, record, len(words), EVERY_PIPE, boxes)
            found = boxes[:rows]
            size = found[:, RUN] * found[:, INNER] * found[:, OUTER]
            way = (found[:, HOW] == WRITTEN).astype(np.int64)
            np.add.at(totals, (way, found[:, HANDLE] >> SPACE_SHIFT), size)
    return {space.name: (int(totals[0, space]), int(totals[1, space])) for space in Space}
