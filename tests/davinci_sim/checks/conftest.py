"""Check small programs, written as text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from davinci_sim.chip.task import Tensor
from davinci_sim.core.checks import Finding, check_programs
from davinci_sim.core.program import Program
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

STORE = (
    "PIPE_MTE3 data_move dst=GM+0x{d:x} src=UB+0x{s:x} nburst=1 burst_len={n} src_gap=0 dst_gap=0 dtype=uint8"
)
TENSORS = (Tensor("x", 0, 4096), Tensor("y", 4096, 4096, is_output=True))
OUT = 4096


def store(blocks: int = 1, d: int = OUT, s: int = 0) -> str:
    """Write a move of `blocks` from UB to GM."""
    return STORE.format(n=blocks, d=d, s=s)


def buffers(*rows: tuple[Space, int, int, int]) -> np.ndarray:
    """Return the table of buffers (space, start, nbytes, slots)."""
    return np.array([(*row, 0) for row in rows], dtype=np.int64)


WHOLE_UB = buffers((Space.UB, 0, 65536, 1))


@pytest.fixture(scope="session")
def findings() -> Callable[..., list[Finding]]:
    """Return a function that checks the programs of some blocks that have the same buffers."""

    def check(*programs: Program, table: np.ndarray = WHOLE_UB) -> list[Finding]:
        return check_programs(programs, platform("ascend910a"), TENSORS, [table] * len(programs))

    return check


@pytest.fixture(scope="session")
def rules(findings) -> Callable[..., list[str]]:
    """Return a function that checks one program and returns the names of the broken rules."""

    def check(*programs: Program, table: np.ndarray = WHOLE_UB) -> list[str]:
        return [found.rule for found in findings(*programs, table=table)]

    return check
