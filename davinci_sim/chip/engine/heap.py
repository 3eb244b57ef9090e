"""A priority queue of integers in an array: the least key first."""

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.jit import inlined

Keys = npt.NDArray[np.int64]
NEVER = 1 << 62
"""A time that does not come."""


@inlined
def push(heap: Keys, key: int) -> None:
    """Add a key; heap[0] is the number of keys, the least one is heap[1]."""
    heap[0] += 1
    child = heap[0]
    while child > 1 and heap[child >> 1] > key:
        heap[child] = heap[child >> 1]
        child >>= 1
    heap[child] = key


@inlined
def pop(heap: Keys) -> int:
    """Remove the least key and return it."""
    least, key, count = heap[1], heap[heap[0]], heap[0] - 1
    heap[0] = count
    parent = 1
    while 2 * parent <= count:
        child = 2 * parent
        if child < count and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[parent] = heap[child]
        parent = child
    heap[parent] = key
    return int(least)
