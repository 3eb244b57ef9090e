"""Tilings of gradients to inputs that other gradients or the mask of relu join."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kernels.tiling.conv2d import ConvTiling
from kernels.tiling.conv2d_shape import Problem


@dataclass(frozen=True)
class JoinedTiling(ConvTiling):
    """How a gradient to the input is cut that others join: like one that none do, in smaller pieces."""

    @classmethod
    def problem(cls, shape: Any) -> Problem:
        """Return what the pipeline computes."""
        return replace(Problem.backward_input(shape), adds=shape.ADDS, keeps=shape.KEEPS)
