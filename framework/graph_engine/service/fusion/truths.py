"""Choices by comparisons: truths have no place in device memory, but within a fused kernel they are 1 and 0.

A `select` takes the comparisons that decide it along, once more for each that they decide, so that it runs on
the cores and not where truths can be stored.
"""

from __future__ import annotations

from dataclasses import dataclass

from davinci_sim.isa.fields import FP16, FP32
from framework.graph_engine.data.graph import AICORE, CONSTANT, Node
from framework.graph_engine.service.fusion.chain import Chain, Made, number_of
from framework.graph_engine.service.fusion.draft import Draft
from framework.ir.types import TensorType
from kernels.pieces.broadcast import COLUMN, NUMBER, ROW, SAME
from kernels.tiling.broadcast import binary_axes
from kernels.tiling.expression import COMPARISONS, Argument, Source

SELECT = "select"
TYPES = {"float16": FP16, "float32": FP32}
LOGIC = {"logical_and": "minimum", "logical_or": "maximum", "logical_not": "logical_not"}
"""Operators on truths, and the kernels that compute them of ones and zeros."""
MIRRORED = {
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}
"""Comparisons whose sides are changed over; the others are what they are."""


@dataclass
class _Steps:
    """What has been collected for one choice."""

    draft: Draft
    n: int
    steps: list[Made]
    sources: dict[str, Source]
    rows: int = 1

    def take(self, name: str, dtype: int, pattern: int = SAME, rows: int = 1) -> bool:
        """Note that an array is read; return whether one pass can do so."""
        source = Source(dtype, pattern)
        is_other = rows > 1 and self.rows > 1 and rows != self.rows
        if is_other or self.sources.setdefault(name, source) != source:
            return False
        self.rows = max(rows, self.rows)
        return True

    def add(self, made: Made) -> str:
        """Note a step, if it is a new one; return the name of its value."""
        if made not in self.steps:
            self.steps.append(made)
        return made.value


def choice_of(draft: Draft, node: Node) -> Chain | None:
    """Return a choice with the comparisons that decide it, or None where the cores cannot compute them."""
    result = draft.values[node.outputs[0]].type
    dtype = TYPES.get(result.dtype.name)
    if node.op != SELECT or node.engine == AICORE or dtype is None:
        return None
    found = _Steps(draft, result.size, [], {})
    truth = _truth(found, node.inputs[0], result, dtype)
    sides = [_side(found, name, result, dtype) for name in node.inputs[1:]]
    if truth is None or None in sides or all(isinstance(side, float) for side in sides):
        return None
    yes, no = (side for side in sides if side is not None)
    if isinstance(yes, float):
        truth = found.add(Made(f"{truth}:not", "logical_not", (truth,), dtype))
        yes, no = no, yes
    found.add(Made(node.outputs[0], SELECT, (truth, yes, no), dtype))
    return Chain(found.n, found.rows, tuple(found.steps), found.sources, flat=False, nodes=(node,))


def _side(found: _Steps, name: str, result: TensorType, dtype: int) -> Argument | None:
    """Return what a choice may give: an array of the full size, or a number that is known."""
    value = found.draft.values[name]
    if value.kind == CONSTANT and value.type.size == 1:
        return number_of(value)
    return name if value.type.shape == result.shape and found.take(name, dtype) else None


def _truth(found: _Steps, name: str, result: TensorType, dtype: int) -> str | None:
    """Return the name of a truth as ones and zeros, its steps noted; None if it is no comparison."""
    maker = found.draft.maker(name)
    if maker is None or found.draft.values[name].type.shape != result.shape:
        return None
    if maker.op in COMPARISONS:
        return _compared(found, maker, dtype)
    if maker.op not in LOGIC:
        return None
    given = [_truth(found, each, result, dtype) for each in maker.inputs]
    known = tuple(each for each in given if each is not None)
    if len(known) < len(given):
        return None
    return found.add(Made(f"{name}:{dtype}", LOGIC[maker.op], known, dtype))


def _compared(found: _Steps, node: Node, dtype: int) -> str | None:
    """Return the name of a comparison's ones and zeros, converted where what is chosen has another type."""
    values = [found.draft.values[name] for name in node.inputs]
    own = TYPES.get(values[0].type.dtype.name)
    if own is None or values[1].type.dtype != values[0].type.dtype:
        return None
    op = node.op
    if values[0].type.size != found.n:
        op, values = MIRRORED.get(op, op), values[::-1]
    first, second = values
    if first.type.size != found.n or not found.take(first.name, own):
        return None
    other = _other(found, first.type, second.name, own)
    if other is None:
        return None
    name = found.add(Made(f"{node.outputs[0]}:{own}", op, (first.name, other), own))
    return name if own == dtype else found.add(Made(f"{node.outputs[0]}:{dtype}", "cast", (name,), dtype))


def _other(found: _Steps, full: TensorType, name: str, dtype: int) -> Argument | None:
    """Return what an array is compared with: another one, which may be broadcast, or a number."""
    value = found.draft.values[name]
    axes = binary_axes(full.shape, value.type.shape)
    pattern, rows = axes["pattern"], axes.get("rows", 1)
    if pattern == NUMBER and value.kind == CONSTANT:
        return number_of(value)
    if pattern not in (SAME, NUMBER, ROW, COLUMN):
        return None
    return name if found.take(name, dtype, pattern, rows) else None


def is_truth(node: Node) -> bool:
    """Tell whether a node computes truths, which nobody needs when all choices have taken them along."""
    return node.op in COMPARISONS or node.op in LOGIC
