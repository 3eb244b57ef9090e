"""The instruction queues of one AI core, with the vendor's enumeration values."""

from enum import IntEnum


class Pipe(IntEnum):
    """In-order queues of one core; different pipes run side by side.

    Source: enumeration values of the vendor's tensor iterator kernel (TIK) parameters, CANN 8.1.
    """

    S = 1
    V = 2
    M = 3
    MTE1 = 4
    MTE2 = 5
    MTE3 = 6
    ALL = 10


QUEUED_PIPES = (Pipe.V, Pipe.M, Pipe.MTE1, Pipe.MTE2, Pipe.MTE3)
"""Pipes that have a queue of their own; the scalar unit runs its instructions itself."""

PIPE_NAMES = {int(pipe): pipe.name for pipe in Pipe}
