"""The operators on the picture: published ones, and those of the simulated curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.operators.cover import Launch, cover, launch
from experiments.operators.records import read_published

MB = 10**6


@dataclass(frozen=True)
class Operator:
    """One element-wise operator, and what a real 910A took for it.

    Attributes:
        op: its name in the profile, with its tensors.
        launch: the kit's kernel and the shape.
        us: the published time; NaN where none is.
    """

    op: str
    launch: Launch
    us: float = math.nan

    @property
    def moved_bytes(self) -> int:
        """The bytes of all inputs and of the result."""
        return sum(operand.nbytes for operand in self.launch.kernel.operands(self.launch.shape))

    def gbps(self, us: float) -> float:
        """Return the bandwidth of a time, in GB/s."""
        return self.moved_bytes / us / 1000


def published_operators() -> list[Operator]:
    """Return all arithmetic of one result in the profile of Wide & Deep that moves 1 MB or more."""
    covered = [cover(record) for record in read_published("wide_and_deep")]
    found = [
        Operator(f"{each.record.op} {each.record}", each.launches[0], each.record.us)
        for each in covered
        if each.kind == "element-wise"
    ]
    return [each for each in found if each.moved_bytes >= MB]


def relu(count: int) -> Operator:
    """Return an operator of the curve, which reads one array of fp32 and writes one."""
    return Operator("ReLU", launch("relu", {"n": count}, "fp32"))
