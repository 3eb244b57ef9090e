"""Chains of element-wise steps, whose arrays go by the names of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from framework.graph_engine.data.graph import Node, Value
from kernels.pieces.broadcast import SAME
from kernels.tiling.expression import Argument, Expression, Source, Step


@dataclass(frozen=True)
class Made:
    """A step whose arguments and value go by the names of the graph."""

    value: str
    op: str
    arguments: tuple[Argument, ...]
    dtype: int


@dataclass(frozen=True)
class Chain:
    """Steps over arrays of n elements in `rows` rows, and the arrays that they read."""

    n: int
    rows: int
    steps: tuple[Made, ...]
    sources: Mapping[str, Source]
    flat: bool
    nodes: tuple[Node, ...]

    @property
    def made(self) -> list[str]:
        """The values of all steps."""
        return [step.value for step in self.steps]

    def expression(self, results: tuple[str, ...]) -> Expression:
        """Return the steps as the kernel names them."""
        names = {name: f"x{i}" for i, name in enumerate(self.sources)}
        names |= {name: f"t{i}" for i, name in enumerate(self.made)}
        steps = tuple(
            Step(s.op, tuple(names[a] if isinstance(a, str) else a for a in s.arguments), s.dtype)
            for s in self.steps
        )
        return Expression(tuple(self.sources.values()), steps, tuple(names[name] for name in results))

    def joined(self, other: Chain) -> Chain | None:
        """Return this chain followed by another one, or None where they are of different lengths."""
        rows = {each.rows for each in (self, other) if each.rows > 1}
        if self.n != other.n or len(rows) > 1:
            return None
        later = {name: source for name, source in other.sources.items() if name not in self.made}
        whole = [name for name in other.sources if name in self.made]
        clash = any(self.sources.get(name, source) != source for name, source in later.items())
        if clash or any(other.sources[name].pattern != SAME for name in whole):
            return None
        new = tuple(step for step in other.steps if step not in self.steps)
        return Chain(
            self.n, max(self.rows, other.rows), self.steps + new, {**self.sources, **later},
            self.flat and other.flat, self.nodes + other.nodes,
        )  # fmt: skip


def number_of(value: Value) -> float:
    """Return the number that a constant of one element holds."""
    assert value.data is not None
    return float(value.data.reshape(-1)[0])
