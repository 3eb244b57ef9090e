"""In which formats the parts of a join or a split lie one behind the other, and how they are copied there.

In ND that is so along the first axis that is longer than 1. Columns of fractals are outermost in NZ, so that
there it is so along the last axis, for parts of whole columns: heads, gates, halves of a matrix.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from davinci_sim.memory.dtypes import c0
from davinci_sim.memory.layout import LAYOUTS
from framework.graph_engine.data.graph import AICORE, Graph, Node, Value
from framework.graph_engine.data.operators import CONVERTIBLE
from framework.graph_engine.data.storage import PLAIN, element
from framework.ir.types import TensorType

JOIN, PART = "concat", "index"
FULL = ("slice", None, None, None)
FORMATS = ("NZ", "NC1HWC0", "FRACTAL_Z")


class Pieces(NamedTuple):
    """A tensor, an axis of it, and where parts of it begin and end there."""

    whole: str
    axis: int
    bounds: tuple[int, ...]


def pieces_of(values: Mapping[str, Value], node: Node) -> Pieces | None:
    """Return what a node joins, or what it takes a part of; None if it does something else."""
    if node.engine != AICORE:
        return None
    if node.op == JOIN:
        axis = int(node.attrs["axis"])
        lengths = (values[name].type.shape[axis] for name in node.inputs)
        return Pieces(node.outputs[0], axis, (0, *itertools.accumulate(lengths)))
    if node.op != PART or [launch.kernel for launch in node.launches] != ["slice_axis"]:
        return None
    spec, axes = node.attrs["spec"], node.launches[0].axes
    cut = [axis for axis, item in enumerate(spec) if item != FULL]
    ranks = {values[name].type.ndim for name in (node.inputs[0], node.outputs[0])}
    if len(cut) != 1 or len(ranks) != 1 or axes["step"] != 1:
        return None
    return Pieces(node.inputs[0], cut[0], (axes["start"], axes["start"] + axes["k"]))


def formats_of(graph: Graph, node: Node) -> frozenset[str]:
    """Return the formats beside ND in which what a node joins or parts lies one behind the other."""
    pieces = pieces_of(graph.values, node)
    if pieces is None or graph.values[pieces.whole].type.dtype.name not in CONVERTIBLE:
        return frozenset()
    return frozenset(form for form in FORMATS if _is_adjacent(graph.values[pieces.whole].type, form, pieces))


def _is_adjacent(type_: TensorType, form: str, pieces: Pieces) -> bool:
    unit = unit_of(type_, form, pieces.axis)
    length = type_.shape[pieces.axis]
    return unit is not None and all(at % unit == 0 or at == length for at in pieces.bounds)


def unit_of(type_: TensorType, form: str, axis: int) -> int | None:
    """Return how many places of an axis lie together, if it is the outermost one stored; else None.

    >>> from framework.ir.types import parse_type
    >>> matrix = parse_type("float16[32, 64]")
    >>> [unit_of(matrix, form, axis) for form in ("ND", "NZ") for axis in (0, 1)]
    [1, None, None, 16]
    """
    layout, rank = LAYOUTS[form], type_.ndim
    if form != PLAIN and rank not in ((2, 3) if form == "NZ" else (4,)):
        return None
    parts = layout.split(type_.shape, c0(element(type_)))
    flat = [length for part in parts for length in part]
    own = sum(map(len, parts[:axis]))
    for place in layout.order(len(parts)):
        if place == own:
            return parts[axis][1] if len(parts[axis]) > 1 else 1
        if flat[place] > 1:
            return None
    return None


def as_stored(node: Node, values: Mapping[str, Value]) -> Node:
    """Return a node that copies the parts of a join, or a part, as they are stored in their format."""
    pieces = pieces_of(values, node)
    if pieces is None or values[pieces.whole].format == PLAIN:
        return node
    whole = values[pieces.whole]
    (launch,) = node.launches
    if node.op == JOIN:
        widths = zip("abcd", (values[name].elements for name in node.inputs), strict=False)
        return replace(node, launches=(replace(launch, axes={"m": 1, **dict(widths)}),))
    unit = unit_of(whole.type, whole.format, pieces.axis) or 1
    units = -(-whole.type.shape[pieces.axis] // unit)
    start = pieces.bounds[0] // unit * (whole.elements // units)
    axes = {"m": 1, "n": whole.elements, "k": values[node.outputs[0]].elements, "start": start, "step": 1}
    return replace(node, launches=(replace(launch, axes={**axes, "d": 1}),))
