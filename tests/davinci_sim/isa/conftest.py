"""A bare core: emit an instruction, execute its data, look at the bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from davinci_sim.core.dispatch import execute
from davinci_sim.core.local import new_memory, space_bytes
from davinci_sim.isa import state as st
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

GM_BYTES = 1 << 20


def complete(declared: Any, given: dict[str, Any]) -> list[int | float]:
    """Return all arguments in order: the given ones, and defaults for the rest."""
    return [
        (float if is_float else int)(given.get(name, default))
        for name, default, is_float in declared.parameters
    ]


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
        declared.emitter.py_func(self.core, *complete(declared, given))
        return self.core.words[:1].copy()

    @property
    def refusal(self) -> tuple[int, int]:
        """What went wrong in the last emission: kind, and the number of the field."""
        return int(self.core.state[st.ERROR_KIND]), int(self.core.state[st.ERROR_WHAT])

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
    return given
