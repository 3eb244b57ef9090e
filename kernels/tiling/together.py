"""How long pipes take that work at the same time, and loads beside them, in estimates of convolutions."""

from collections.abc import Sequence

from kernels.rules import overlapped

HINDRANCE, CROWDING, CROWDED = 0.05, 0.9, 0.7
"""What the work of a pipe costs the busiest one, by its share; beyond the last figure much more.

Estimates only rank tilings; this and the next one were found on ResNet-50's layers, simulated on the 910A.
"""


def together(pipes: Sequence[float]) -> float:
    """Return the time of pipes that are busy so long: those that are so nearly all the time make others wait.

    >>> round(together([100.0, 50.0]), 6)
    102.5
    """
    longest = max(pipes)
    shares = [cycles / longest for cycles in pipes]
    waiting = sum(HINDRANCE * share + CROWDING * max(0.0, share - CROWDED) for share in shares)
    return longest * (1 + waiting - HINDRANCE - CROWDING * (1 - CROWDED))


def least_together(pipes: Sequence[float]) -> float:
    """Return what is never above the time of pipes that are each busy so long or longer."""
    return (1 - HINDRANCE) * max(pipes) + HINDRANCE * sum(pipes)


def loaded(computing: float, reads: float, memory: float) -> float:
    """Return the time of pipes and of loads beside them, which take at least what device memory takes.

    Loads have deep buffers: they share time with pipes as the norm says.
    """
    return overlapped(computing, max(reads, memory) + HINDRANCE * min(reads, memory))
