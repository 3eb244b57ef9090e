"""Cube, moves and loads touch what they say, and nothing else: their data are run twice to see it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from davinci_sim.isa import INSTRUCTIONS, state
from davinci_sim.isa.fields import ImmediateField, Operand
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN
from davinci_sim.memory.spaces import Space

NAMES = ("mmad", "data_move", "l0c_to_ub", "broadcast_ub_to_l0c", "set_2d", "load2d", "load3d")
MOST = {"m": 50, "k": 80, "n": 50, "position": 60, "k_start": 12, "repeat": 6, "burst_len": 4}
OTHERS = 3  # the most of any other number, so that boxes stay small


@st.composite
def calls(draw, name):
    """Draw a legal call of an instruction: operands apart from each other, numbers small."""
    declared = INSTRUCTIONS[name]
    given = {"dtype": draw(st.sampled_from(declared.dtypes))}
    route = draw(st.sampled_from(sorted(declared.routes))) if declared.routes else None
    for position, field in enumerate(declared.fields):
        if isinstance(field, Operand):
            space = Space(route[1] if field.written else route[0]) if route else field.spaces[0]
            given[field.name] = int(space) << state.SPACE_SHIFT | position * 0x4000
        elif isinstance(field, ImmediateField):
            given[field.name] = 1.0
        else:
            most = min(field.high, MOST.get(field.name, OTHERS))
            given[field.name] = draw(st.integers(field.low, most))
    return given


def addressed(machine, handles):
    """Return handles by space, as addresses."""
    found = {}
    for handle in handles:
        found.setdefault(Space(handle >> state.SPACE_SHIFT), []).append(handle & state.ADDRESS_MASK)
    return {space: np.array(sorted(addresses)) for space, addresses in found.items()}


def everything(machine):
    """Return copies of device memory and of the core's own."""
    return {Space.GM: machine.gm.copy()} | {
        space: machine.view(space).copy() for space in (Space.L1, Space.L0A, Space.L0B, Space.L0C, Space.UB)
    }


def fill(machine, generator, kept):
    """Fill all memory with random bytes but for those that are kept: {space: (addresses, bytes)}."""
    machine.gm[:] = generator.integers(0, 256, machine.gm.size, dtype=np.uint8)
    machine.memory.local[:] = generator.integers(0, 256, machine.memory.local.size, dtype=np.uint8)
    for space, (addresses, data) in kept.items():
        machine.view(space)[addresses] = data


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(data=st.data(), seed=st.integers(0, 99))
def test_an_instruction_touches_the_bytes_that_it_says(shared_machine, name, data, seed):
    """Bytes outside what it writes stay; bytes outside what it reads change nothing of the result."""
    machine, emitter = shared_machine, INSTRUCTIONS[name].emitter
    call = data.draw(calls(name))
    words = machine.emit(emitter, **call)
    assume(machine.refusal == (state.NO_ERROR, 0))
    touched = machine.touched(emitter, **call)
    reads = addressed(machine, touched[READ] | touched[FORWARDED])
    writes = addressed(machine, touched[WRITTEN])
    generator = np.random.default_rng(seed)
    results, kept = [], {}
    for _ in range(2):
        fill(machine, generator, kept)
        before = everything(machine)
        assert machine.execute(words) == -1
        after = everything(machine)
        for space, start in before.items():
            changed = np.flatnonzero(start != after[space])
            assert np.isin(changed, writes.get(space, [])).all(), space
        results.append({space: after[space][addresses] for space, addresses in writes.items()})
        kept = {space: (addresses, before[space][addresses]) for space, addresses in reads.items()}
    for space in writes:
        assert np.array_equal(results[0][space], results[1][space]), space
