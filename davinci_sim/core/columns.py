"""One operand of many records at once, as a NumPy column."""

import numpy as np
import numpy.typing as npt

from davinci_sim.core.program import BY_OPCODE

Numbers = npt.NDArray[np.int64]


def column(words: Numbers, name: str) -> Numbers:
    """Return an integer operand of records that are all of one instruction.

    >>> from davinci_sim.core.program import parse
    >>> column(parse("PIPE_V wait_flag src=5 dst=2 event_id=3 dtype=int32").words, "event_id")
    array([3])
    """
    if not len(words):
        return np.zeros(0, dtype=np.int64)
    declared = BY_OPCODE[int(words[0, 0]) & 255]
    place = next(at for at, field in enumerate(declared.fields) if field.name == name)
    start, width = declared.offsets[place], declared.fields[place].width_bytes
    payload = np.ascontiguousarray(words[:, 1:]).view(np.uint8)
    raw = np.ascontiguousarray(payload[:, start : start + width])
    return raw.view(f"<u{width}").reshape(-1).astype(np.int64)
