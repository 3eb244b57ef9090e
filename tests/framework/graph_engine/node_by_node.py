"""A step of the simulated chip that is stopped after every node, to compare it with NumPy there.

Deep networks with batch normalisation are chaotic: a rounding of the input becomes a gradient of another
direction. Each node by itself, with the inputs that it had on the device, is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from davinci_sim import Chip
from framework.graph_engine.control.session import Options, Session
from framework.graph_engine.data.graph import TRANS_DATA, Graph, Node
from framework.graph_engine.service.load import LoadedGraph
from framework.ir import Func
from framework.ops import OPERATORS

State = Mapping[str, np.ndarray]


class Difference(NamedTuple):
    """How far a result of a node on the device is from NumPy's, relative to NumPy's largest number."""

    node: Node
    result: int
    dtype: str
    relative: float


def differences(func: Func, state: State, feeds: State) -> Iterator[Difference]:
    """Yield the difference of every result of every node that runs on the AI cores, in order."""
    session = Session(func, Chip("ascend910a"), state, Options(fusion=False, streams=False))
    session.run(feeds)  # reserves and fills the queues of the inputs
    session.set_variables(state)
    loaded = session.loaded
    last = {task.spec.node.name: number for number, task in enumerate(loaded.tasks) if task.task is not None}
    given = None
    for number, task in enumerate(loaded.tasks):
        node = task.spec.node
        if task.task is not None and given is None:
            given = [loaded.read(name) for name in node.inputs]
        task.item.run(session.chip)
        if task.task is not None and last[node.name] == number:
            yield from _differences_of(loaded, node, given)
            given = None


def _differences_of(loaded: LoadedGraph, node: Node, given: list) -> Iterator[Difference]:
    graph = loaded.graph
    attrs = {key: value for key, value in node.attrs.items() if key != "few"}  # how it runs, not what it is
    wanted = given if node.op == TRANS_DATA else OPERATORS[node.op].run(given, attrs)
    for number, (name, array) in enumerate(zip(node.outputs, wanted, strict=True)):
        if not _is_read(graph, name):
            continue  # its room may be anybody's
        found = loaded.read(name).astype(np.float64)
        apart = np.abs(found - array).max() / max(float(np.abs(array).max()), np.finfo(np.float32).tiny)
        yield Difference(node, number, str(array.dtype), float(apart))


def _is_read(graph: Graph, name: str) -> bool:
    return any(name in node.inputs for node in graph.nodes) or name in (*graph.outputs, *graph.updates)
