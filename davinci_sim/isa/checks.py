"""What every emitter does, on tuples: check operands, write a record.

To Numba each of these functions is one operation, for which `davinci_sim.isa.lowering` writes machine
instructions. Spelled out in the emitters, tests and assignments would cost five times the compile time. The
bodies are what plain Python runs, and say what the machine instructions do.
"""

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.state import SPACE_SHIFT

Integers = tuple[int, ...]


def outside(wrong: int, values: Integers, lows: Integers, highs: Integers, numbers: Integers) -> int:
    """Return the highest of the numbers of values that are not within their bounds, at least `wrong`."""
    for value, low, high, number in zip(values, lows, highs, numbers, strict=True):
        if not low <= value <= high:
            wrong = max(wrong, number)
    return wrong


def misplaced(wrong: int, handles: Integers, spaces: Integers, aligns: Integers, numbers: Integers) -> int:
    """Return the highest of the numbers of handles in a space that is not allowed or, on chip, misaligned."""
    for handle, allowed, align, number in zip(handles, spaces, aligns, numbers, strict=True):
        space = handle >> SPACE_SHIFT
        if not allowed >> space & 1 or (space != 0 and handle & (align - 1)):
            wrong = max(wrong, number)
    return wrong


def put_row(words: npt.NDArray[np.int64], row: int, values: Integers) -> None:
    """Write one record, `words[row] = values`."""
    words[row] = values


def put_values(state: npt.NDArray[np.int64], first: int, values: Integers) -> None:
    """Write `values` to the table of integers from `first` on."""
    state[first : first + len(values)] = values
