"""Random networks compute on the device, whatever is switched on, what they compute on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from framework.graph_engine import Options, Session
from framework.graph_engine.options import FORCE_FP16, KEEP, MIXED, MODES
from framework.graph_engine.service.compile import CompiledGraph, compile_graph
from framework.graph_engine.service.dependencies import accesses
from framework.graph_engine.service.events import at_addresses, races
from framework.graph_engine.service.execute import execute
from framework.graph_engine.service.least import alive_together, held
from framework.graph_engine.service.load import LoadedGraph, load
from framework.ir import evaluate
from tests.framework.graph_engine.random_networks import Example, networks

Results = list[np.ndarray[Any, Any]]
ROUNDING = {KEEP: 0.02, MIXED: 0.03, FORCE_FP16: 0.06}
"""How far results are from the host's, by their norm."""
SCHEDULES = st.tuples(*(st.booleans(),) * 3)
"""Whether values share memory, streams run side by side, and blocks are continuous."""


@st.composite
def options(draw: st.DrawFn) -> Options:
    """Return random options."""
    switches = {name: draw(st.booleans()) for name in ("fusion", "formats", "counters", "reuse", "blocks")}
    return Options(
        **switches,
        streams=draw(st.booleans()),
        fusions=draw(st.sampled_from(("none", "real", "all", "all"))),
        mode=draw(st.sampled_from(MODES)),
        precision=draw(st.sampled_from((KEEP, KEEP, MIXED, FORCE_FP16))),
    )


def state_of(example: Example) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of the variables."""
    names = example.held | set(example.func.updates.values())
    return {name: array for name, array in example.arrays.items() if name in names}


def results_of(example: Example, loaded: LoadedGraph) -> Results:
    """Return what a step gives and then the new variables; before it, its workspace is full of NaN."""
    if loaded.compiled.memory.peak_bytes:
        loaded.chip.words(loaded.workspace, loaded.compiled.memory.peak_bytes, np.uint8)[:] = 255
    for name, array in state_of(example).items():
        if name in loaded.handles:
            loaded.write(name, array)
    outputs = execute(
        loaded, {name: example.arrays[name][np.newaxis] for name in loaded.graph.inputs}
    ).outputs
    shown = [outputs[name][0] for name in loaded.graph.outputs]
    new = example.func.updates.values()
    return [*shown, *(loaded.read(name) if name in loaded.handles else example.arrays[name] for name in new)]


def check_races(compiled: CompiledGraph) -> None:
    """Demand that streams and events order all that share memory."""
    touched = [
        at_addresses(accesses(task, compiled.graph, compiled.homes), compiled.memory.offsets)
        for task in compiled.tasks
    ]
    assert not list(races(compiled.tasks, touched))


def check(example: Example, chosen: Options, schedule: tuple[bool, bool, bool]) -> None:
    """Demand the host's numbers, the same bits in each schedule, and no less memory than foretold."""
    func = example.func
    with np.errstate(all="ignore"):
        found = evaluate(func, [example.arrays[param.name] for param in func.params])
    expected = [each for at, each in enumerate(found) if at not in func.updates]
    expected += [found[at] for at in func.updates]
    session = Session(func, Chip("ascend910a"), state_of(example), chosen)
    check_races(session.compiled)
    least = held(session.placed).total + alive_together(session.placed).total
    assert least <= session.compiled.held_bytes + session.compiled.memory.peak_bytes
    first, again = (results_of(example, session.loaded) for _ in range(2))
    assert [each.tobytes() for each in first] == [each.tobytes() for each in again]
    for ours, theirs in zip(first, expected, strict=True):
        check_near(ours.astype(np.float64), np.asarray(theirs, np.float64), ROUNDING[chosen.precision])
    reuse, streams, blocks = schedule
    other = compile_graph(session.optimized, session.chip.platform, reuse, streams, blocks=blocks)
    check_races(other)
    others = results_of(example, load(other, Chip("ascend910a"), state_of(example)))
    assert [each.tobytes() for each in first] == [each.tobytes() for each in others]


def check_near(ours: Any, theirs: Any, tolerance: float) -> None:
    """Demand that two arrays differ by roundings."""
    assert np.isfinite(theirs).all() == np.isfinite(ours).all()
    if not np.isfinite(theirs).all():
        return
    off = np.linalg.norm(ours - theirs)
    size = np.linalg.norm(theirs) + 0.01 * theirs.size**0.5
    assert off <= tolerance * size, f"differs by {off / size:.3f}"


@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(networks(1), options(), SCHEDULES)
def test_a_random_network_has_the_numbers_of_the_host(example, chosen, schedule):
    """Under any options; and the bits do not depend on streams, on shared memory or on blocks."""
    check(example, chosen, schedule)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(networks(), options(), SCHEDULES)
def test_many_random_networks_have_the_numbers_of_the_host(example, chosen, schedule):
    """With branches and loops in each other."""
    check(example, chosen, schedule)
