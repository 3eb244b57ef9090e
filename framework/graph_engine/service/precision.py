"""Precision modes: casts around the operators that compute in float16, before anything is placed.

keep         element types stay as they are
mixed        what the cube multiplies is float16; its sums, and all else, stay float32
force_fp16   each operator whose kernels take float16 computes in it, but with constants that it has not;
             inputs, variables, results stay float32
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from davinci_sim.errors import DavinciError
from davinci_sim.platforms import Platform
from framework.dtypes import dtype
from framework.graph_engine.data.graph import AICORE, CONSTANT, FLOW, Graph, Node, Value, free_name
from framework.graph_engine.options import FORCE_FP16, KEEP
from framework.graph_engine.service.engines import OF_THE_CUBE, VIEWS
from framework.graph_engine.service.split import place
from framework.graph_engine.service.validate import typed, validated
from framework.ir.registry import OPERATORS
from framework.ir.types import TensorType

WIDE, HALF = "float32", "float16"
CAST = "cast"
MOST = float(np.finfo(np.float16).max)
_NAME = "precision."
"""Begins the names of casts that were put in."""


def with_precision(graph: Graph, mode: str, platform: Platform) -> Graph:
    """Return the graph in a precision mode.

    before  %y: f32 = matmul(%a, %b)
    after   %a.half = cast(%a); %b.half = cast(%b); %y: f32 = matmul(%a.half, %b.half)
    """
    if mode == KEEP:
        return graph
    return typed(validated(_Writer(graph, platform, mode == FORCE_FP16).write(), f"precision {mode}"))


class _Writer:
    """Writes the nodes anew, with casts in front of and behind those that compute in float16."""

    def __init__(self, graph: Graph, platform: Platform, everything: bool) -> None:
        self.graph, self.platform, self.everything = graph, platform, everything
        self.values = dict(graph.values)
        self.nodes: list[Node] = []
        self.halves: dict[str, str] = {}
        """Wide value -> the same in float16, where there is one."""

    def write(self) -> Graph:
        """Return the graph with its casts; those that nobody reads are left out."""
        for node in self.graph.nodes:
            if node.op in FLOW:
                self._pass(node)
            narrow = None if node.op in FLOW else self._narrow(node)
            self.nodes += [node] if narrow is None else narrow
        read = {name for node in self.nodes for name in node.inputs}
        read |= {*self.graph.outputs, *self.graph.updates}
        kept = tuple(n for n in self.nodes if not n.name.startswith(_NAME) or n.outputs[0] in read)
        return self.graph.with_nodes(kept, self.values)

    def _pass(self, node: Node) -> None:
        """Forget what may not be there behind a jump, and what is renewed."""
        jumps = not node.outputs
        self.halves = {
            name: half
            for name, half in self.halves.items()
            if self.values[name].kind == CONSTANT or not (jumps or name in node.outputs)
        }

    def _narrow(self, node: Node) -> list[Node] | None:
        """Return the nodes that compute this one in float16, None where it stays as it is."""
        wide = [name for name in node.inputs if self._is_wide(name)]
        if not wide or node.op == CAST or not (self.everything or node.op in OF_THE_CUBE):
            return None
        if any(self._is_beyond(name) for name in wide):
            return None
        casts: list[Node] = []
        inputs = tuple(self._half(name, casts) if name in wide else name for name in node.inputs)
        types = self._types(node, inputs)
        if types is None:
            self._forget(casts)
            return None
        outputs = tuple(
            name if type_ == self.values[name].type else self._narrow_value(name, type_)
            for name, type_ in zip(node.outputs, types, strict=True)
        )
        made = replace(node, inputs=inputs, outputs=outputs)
        if node.op not in VIEWS and place(self._graph(), made, self.platform).engine != AICORE:
            self._forget(casts)
            return None
        pairs = zip(outputs, node.outputs, strict=True)
        backs = [self._cast(half, name) for half, name in pairs if half != name]
        self.halves |= {name: half for half, name in zip(outputs, node.outputs, strict=True) if half != name}
        return [*casts, made, *backs]

    def _types(self, node: Node, inputs: Sequence[str]) -> tuple[TensorType, ...] | None:
        """Return what the operator gives for these inputs, None where it refuses them."""
        try:
            return OPERATORS[node.op].infer_types([self.values[name].type for name in inputs], node.attrs)
        except DavinciError:
            return None

    def _graph(self) -> Graph:
        return replace(self.graph, values=self.values)

    def _is_wide(self, name: str) -> bool:
        return self.values[name].type.dtype.name == WIDE

    def _is_beyond(self, name: str) -> bool:
        """Tell whether a value is known to have numbers that float16 has not, as the -1e9 of a mask."""
        data = self.values[name].data
        return data is not None and bool(np.any(np.isfinite(data) & (np.abs(data) > MOST)))

    def _half(self, name: str, casts: list[Node]) -> str:
        """Return the value in float16; a cast is made where there is none."""
        if name not in self.halves:
            value = self.values[name]
            half = self._narrow_value(name, value.type.with_dtype(HALF))
            if value.kind == CONSTANT and value.data is not None:
                data = value.data.astype(dtype(HALF).numpy)
                self.values[half] = replace(self.values[half], kind=CONSTANT, data=data)
            else:
                casts.append(self._cast(name, half))
            self.halves[name] = half
        return self.halves[name]

    def _narrow_value(self, name: str, type_: TensorType) -> str:
        half = free_name(f"{name}.half", self.values)
        self.values[half] = Value(half, type_)
        return half

    def _cast(self, source: str, target: str) -> Node:
        named = {"dtype": self.values[target].type.dtype.name}
        return Node(f"{_NAME}{target}", CAST, (source,), (target,), named)

    def _forget(self, casts: Sequence[Node]) -> None:
        for cast in casts:
            del self.halves[cast.inputs[0]]
