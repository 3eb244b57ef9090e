"""Step 1, preparation: from a Func to a graph with typed values, variables, inputs and constants."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from davinci_sim.errors import DavinciError
from framework.graph_engine.data.graph import INPUT, PUSH, TURN, VARIABLE, Graph, Value
from framework.graph_engine.service.straighten import Straightener
from framework.graph_engine.service.validate import typed, validated
from framework.ir.nodes import Func
from framework.ir.types import TensorType
from framework.ir.verify import verify

FIRST_ROOM = 64
"""Turns of a loop whose values find room at first, where a loop keeps some for its gradient;"""
LEAST_ROOM, MOST_KEPT_BYTES = 4, 64 << 20
"""a quarter of that while all rooms together would take more bytes than so many."""

MOST_ROOM = int(np.iinfo(TURN).max)


def prepare(func: Func, room: int = FIRST_ROOM, held: Container[str] = ()) -> Graph:
    """Return the graph of a verified Func, its branches and loops as jumps.

    Parameters that some result renews become variables, which stay on the device, and so do those that are
    `held`: weights that are only read. The others are inputs of every step. Equal constants are kept once.
    Loops that keep values have room for so many turns.

    Raises:
        DavinciError: the Func takes or gives functions or stacks.
    """
    verify(func)
    for each in (*func.params, *func.results):
        if not isinstance(each.type, TensorType):
            raise DavinciError(
                f"@{func.name} takes or gives {each.type}\n"
                "  rule: only tensors go to a device and come back\n"
                "  next: apply the function, or take the gradient, inside of what is compiled"
            )
    kept = {param.name for param in func.params if param.name in held} | set(func.updates.values())
    writer = Straightener(room)
    for param in func.params:
        kind = VARIABLE if param.name in kept else INPUT
        writer.values[param.name] = Value(param.name, param.tensor, kind)
    results = [name for (name,) in writer.write(func)]
    updates = writer.renewals({name: results[index] for index, name in func.updates.items()})
    outputs = tuple(name for index, name in enumerate(results) if index not in func.updates)
    inputs = tuple(p.name for p in func.params if p.name not in kept)
    return typed(validated(Graph(func.name, writer.values, tuple(writer.nodes), inputs, outputs, updates)))


def first_room(func: Func) -> int:
    """Return for how many turns there is room in the beginning."""
    room = FIRST_ROOM
    while room > LEAST_ROOM and _kept_bytes(prepare(func, room)) > MOST_KEPT_BYTES:
        room //= 4
    return room


def more_room(room: int) -> int:
    """Return for how many turns there is room when so much is full: four times as many.

    Raises:
        DavinciError: turns are not counted so far.

    >>> more_room(64), more_room(1 << 30) == MOST_ROOM
    (256, True)
    """
    if room == MOST_ROOM:
        raise DavinciError(
            f"a loop keeps values of more than {room:,} turns for its gradient\n"
            "  rule: turns on the device are counted in 32 bits\n"
            "  next: recompute(...) a loop of many turns inside of one of few"
        )
    return min(4 * room, MOST_ROOM)


def _kept_bytes(graph: Graph) -> int:
    """Return the bytes of what all loops keep."""
    rooms = {name for node in graph.nodes if node.op == PUSH for name in node.outputs}
    return sum(graph.values[name].nbytes for name in rooms)
