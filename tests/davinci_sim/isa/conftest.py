"""A bare core: emit an instruction, execute its data, look at the bytes."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
import pytest

from davinci_sim.core.dispatch import execute
from davinci_sim.core.local import new_memory, space_bytes
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa import state as st
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

GM_BYTES = 1 << 20


def complete(declared: Any, given: dict[str, Any]) -> list[int | float]:
    """Return all arguments in order: the given ones, and defaults for the rest."""
    return [
        (float if is_float else int)(given.get(name, default))
        for name, default, is_float in declared.parameters
    ]


@functools.cache
def compiled_accesses(name: str) -> Any:
    """Return the compiled function from words and a record to the regions of an instruction."""
    accesses, decode = INSTRUCTIONS[name].accesses, INSTRUCTIONS[name].decode
    return numba.njit(lambda words, r: accesses(decode(words, r)))


def bytes_of(box: Any) -> set[int]:
    """Return the addresses in a region, with the space."""
    starts = [
        box.handle + i * box.inner_stride_bytes + o * box.outer_stride_bytes
        for o in range(box.outer)
        for i in range(box.inner)
    ]
    return {start + byte for start in starts for byte in range(box.run_bytes)}


class Machine:
    """The memories of one core, and a state to emit into."""

    def __init__(self) -> None:
        chip = platform("ascend910a")
        self.gm = np.zeros(GM_BYTES, dtype=np.uint8)
        self.memory = new_memory(chip, self.gm)
        self.core = st.new_core_state(4, space_bytes(chip, GM_BYTES), 4)

    def handle(self, space: Space, byte: int = 0) -> int:
        """Return the handle of a byte."""
        return int(space) << st.SPACE_SHIFT | byte

    def view(self, space: Space, dtype: Any = np.uint8) -> np.ndarray:
        """Return a live view of a whole space."""
        if space is Space.GM:
            return self.gm.view(dtype)
        start, size = int(self.memory.base[space]), int(self.memory.size[space])
        return self.memory.local[start : start + size].view(dtype)

    def emit(self, emitter: Any, **given: Any) -> np.ndarray:
        """Emit one instruction as plain Python and return its record as words[1, 8]."""
        st.begin_block(self.core, 0, 1)
        declared = emitter.instruction
        emit = getattr(declared.emitter, "py_func", declared.emitter)  # itself where nothing is compiled
        emit(self.core, *complete(declared, given))
        return self.core.words[:1].copy()

    @property
    def refusal(self) -> tuple[int, int]:
        """What went wrong in the last emission: kind, and the number of the field."""
        return int(self.core.state[st.ERROR_KIND]), int(self.core.state[st.ERROR_WHAT])

    def touched(self, emitter: Any, **given: Any) -> dict[int, set[int]]:
        """Return the bytes that an instruction says it touches, by READ, WRITTEN and FORWARDED."""
        words = self.emit(emitter, **given)
        assert self.refusal == (st.NO_ERROR, 0), (emitter.instruction.name, given)
        found: dict[int, set[int]] = {READ: set(), WRITTEN: set(), FORWARDED: set()}
        for box in compiled_accesses(emitter.instruction.name)(words, 0):
            found[box.written] |= bytes_of(box)
        return found

    def rule(self, emitter: Any) -> str:
        """Return the rule between operands that the last emission broke, as it is declared."""
        declared = emitter.instruction
        position = self.refusal[1] - len(declared.fields) - 3
        return declared.refusals[position][1] if self.refusal[0] == st.REJECTED and position >= 0 else ""

    def execute(self, words: np.ndarray) -> int:
        """Execute records; return the index of one that leaves its memory, or -1."""
        return execute(words, 0, len(words), self.memory)

    def run(self, emitter: Any, **given: Any) -> None:
        """Emit and execute a legal instruction."""
        words = self.emit(emitter, **given)
        assert self.refusal == (st.NO_ERROR, 0), (emitter.instruction.name, given)
        assert self.execute(words) == -1, (emitter.instruction.name, given)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture(scope="module")
def shared_machine() -> Machine:
    """One machine for all examples of a property; a test writes what it reads."""
    return Machine()


@pytest.fixture
def legal() -> Any:
    """Return a function that gives legal arguments of any declared instruction, at least size `size`."""

    def arguments(declared: Any, size: int = 1) -> dict[str, Any]:
        return legal_arguments(declared, size)

    return arguments


LEGAL = {
    "set_flag": {"src": 2, "dst": 3, "event_id": 3},
    "wait_flag": {"src": 2, "dst": 3, "event_id": 3},
    "mmad": {"to_fp16": 0, "b_int8": 0},
    "data_move": {"atomic": 0},
    "load2d": {"transpose": 0},
    "load3d": {"filter_h": 1, "filter_w": 1},
    "l0c_to_ub": {"scale": 1.0},
}
"""Numbers that rules between operands ask for, whatever the size."""


def legal_arguments(declared: Any, size: int = 1) -> dict[str, Any]:
    """Return the smallest legal arguments with every number at least `size` where that is legal."""
    given: dict[str, Any] = {"dtype": declared.dtypes[0]}
    routes = next(iter(declared.routes), None)
    for field in declared.fields:
        if field in declared.operands:
            space = field.spaces[0]
            if routes is not None:
                space = Space(routes[1] if field.written else routes[0])
            given[field.name] = int(space) << st.SPACE_SHIFT
        elif field.default is None or size > 1:
            given[field.name] = min(max(field.low, size), field.high or size)
    return given | {name: value for name, value in LEGAL.get(declared.name, {}).items() if name in given}
