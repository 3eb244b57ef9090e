"""Updates of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import Launch, Types


def apply_momentum(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the update of a weight and its momentum."""
    operands = ("in0", "in1", "in2", "in3", f"scalar:{attrs['momentum']}", "out0", "out1")
    return [Launch("apply_momentum", {"n": ins[0].size}, operands, "fp32", flat=True)]
