"""Programs with control flow give on the device what they give on the host, whatever is switched on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davinci_sim import Chip
from framework import Tensor, ops
from tests.framework.frontend import test_generated as generated
from tests.framework.frontend.generated import sources
from tests.framework.frontend.nestings import INPUTS, name, nestings, program, source
from tests.framework.frontend.programs import made
from tests.framework.frontend.test_nestings import one_of_each_path, tensors
from tests.framework.frontend.test_programs import PROGRAMS, fresh
from tests.framework.frontend.test_programs import total as total_of
from tests.framework.graph_engine import programs_of_devices, programs_of_transforms
from tests.framework.graph_engine.on_device import (
    SCHEDULES,
    Products,
    compared,
    curved,
    over_tensors,
    renewing,
    spread,
    with_slopes,
)
from tests.framework.graph_engine.steps_of_devices import STEPS

SOURCES = (programs_of_devices, programs_of_transforms)  # what they enter
OWN = programs_of_devices.PROGRAMS
ALL, SHALLOW = nestings(), one_of_each_path(nestings((1, 2)))
EXTREMES = ("all", "nothing")
EACH = [schedule for schedule in SCHEDULES if schedule not in EXTREMES]
FEW_INPUTS = INPUTS[:6]
ARGUMENTS = ((0.3, 0.7, 0), (-0.45, 0.7, 2), (1.2, -0.15, 3), (0.3, -0.15, 4))


@pytest.fixture
def chip():
    """Return a chip."""
    return Chip("ascend910a")


def in_turns(cases, schedules):
    """Give each case one of the schedules."""
    chosen = zip(cases, itertools.cycle(schedules))
    return [pytest.param(*case, schedule, id=f"{name(*case)} {schedule}") for case, schedule in chosen]


def each_of(cases, schedules=("all",)):
    """Parametrise a test with nestings and a schedule for each."""
    return pytest.mark.parametrize(("path", "leaf", "schedule"), in_turns(cases, schedules))


def rows_of(dtype, shape, inputs=INPUTS):
    """Return the arguments of nestings as tensors."""
    return [(spread(x, dtype, shape), spread(y, dtype, shape), n) for x, y, n in inputs]


SINGLE, HALF = (np.float32, (3, 8)), (np.float16, (16, 32))


@each_of(SHALLOW, list(SCHEDULES))
def test_a_nesting_over_tensors_has_value_and_slopes_of_the_host(path, leaf, schedule, chip):
    """One of each path up to two deep; the switches take turns."""
    function = over_tensors(source(path, leaf), ops)
    compared(with_slopes(function), rows_of(*SINGLE, FEW_INPUTS), chip, (schedule,))


@each_of(SHALLOW[3::7], list(SCHEDULES))
def test_a_nesting_over_half_precision_matrices_has_the_numbers_of_the_host(path, leaf, schedule, chip):
    """Sines are products of the cube, whose formats go through branches and loops."""
    function = over_tensors(source(path, leaf), Products)
    compared(with_slopes(function), rows_of(*HALF, FEW_INPUTS), chip, (schedule,))


@each_of(SHALLOW[1::7], EXTREMES)
def test_a_nesting_renews_a_parameter_as_on_the_host(path, leaf, schedule, chip):
    """By its own slope, step after step."""
    rows = rows_of(*SINGLE, FEW_INPUTS)
    compared(renewing(over_tensors(source(path, leaf), ops), rows[0][0]), rows, chip, (schedule,))


@pytest.mark.slow
@each_of(ALL)
def test_every_nesting_has_on_the_device_what_it_has_on_the_host(path, leaf, schedule, chip):
    """Of floats on the AI CPU, of tensors, of matrices: values, slopes, curvature and renewed Parameters."""
    floats = [tensors(*each) for each in INPUTS]
    compared(with_slopes(program(path, leaf, ops)), floats, chip, (schedule, "nothing"))
    compared(curved(program(path, leaf, ops)), floats, chip, (schedule,))
    for namespace, rows in ((ops, rows_of(*SINGLE)), (Products, rows_of(*HALF))):
        function = over_tensors(source(path, leaf), namespace)
        for made_of in (lambda f: f, with_slopes):
            compared(made_of(function), rows, chip, (schedule, "nothing"))
        compared(renewing(function, rows[0][0]), rows, chip, EXTREMES)


@pytest.mark.slow
@each_of(one_of_each_path(ALL), EACH)
def test_every_path_goes_with_each_switch(path, leaf, schedule, chip):
    """One is off, or it alone is on."""
    function = over_tensors(source(path, leaf), ops)
    compared(curved(function), rows_of(*SINGLE), chip, (schedule,))
    function = over_tensors(source(path, leaf), Products)
    compared(with_slopes(function), rows_of(*HALF), chip, (schedule,))


OWN_IDS = [function.__name__ for function, _, _ in OWN]


@pytest.mark.parametrize(("function", "rows", "forms"), OWN, ids=OWN_IDS)
def test_a_program_has_on_the_device_what_it_has_on_the_host(function, rows, forms, chip):
    """Counters, rooms, views, products, parts of the host, and errors."""
    compared(function, rows, chip)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "rows", "forms"), OWN, ids=OWN_IDS)
def test_a_program_goes_with_each_switch_and_so_do_its_gradients(function, rows, forms, chip):
    """All schedules there are."""
    for form in (lambda f: f, *forms):
        compared(form(function), rows, chip, tuple(SCHEDULES))


STEP_IDS = [function.func.__name__ for function, _ in STEPS]


@pytest.mark.parametrize(("function", "rows"), STEPS, ids=STEP_IDS)
def test_a_step_renews_its_variables_as_on_the_host(function, rows, chip):
    """Branches and loops choose the new values; one that fails renews none."""
    compared(function, rows, chip)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "rows"), STEPS, ids=STEP_IDS)
def test_a_step_renews_its_variables_with_each_switch(function, rows, chip):
    """All schedules there are."""
    compared(function, rows, chip, tuple(SCHEDULES))


@pytest.mark.slow
@pytest.mark.parametrize(("function", "args"), PROGRAMS, ids=[each.__name__ for each, _ in PROGRAMS])
def test_the_programs_of_the_language_run_on_the_device(function, args, chip):
    """All that the host is tested with, and their slopes where they take tensors."""

    def objective(x, *rest):
        return total_of(function(x, *rest))

    compared(function, [fresh(args)], chip, EXTREMES)
    if isinstance(args[0], Tensor):
        compared(with_slopes(objective), [fresh(args)], chip, EXTREMES)


def random_compared(text, chip, schedules):
    """Compare a random program of floats and its slopes, then one of tensors."""
    floats = [(Tensor(a, "float64"), Tensor(b, "float64"), n) for a, b, n in ARGUMENTS]
    function = made(text, {"ops": ops})
    compared(function, floats, chip, schedules)
    compared(with_slopes(generated.objective_of(function)), floats, chip, schedules)
    rows = [(spread(a), spread(b), n) for a, b, n in ARGUMENTS]
    compared(with_slopes(generated.objective_of(over_tensors(text, ops))), rows, chip, schedules)


@settings(generated.FEW, max_examples=3)
@given(sources(depth=2))
def test_a_random_program_has_on_the_device_what_it_has_on_the_host(text):
    """Conditions, loops, functions and recursion in any nesting."""
    random_compared(text, Chip("ascend910a"), ("all",))


@pytest.mark.slow
@pytest.mark.parametrize("outside", generated.PAIRS, ids="-".join)
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_many_random_programs_have_on_the_device_what_they_have_on_the_host(outside, data):
    """The same, longer: some around each pair of constructs, with any of the schedules."""
    schedules = (data.draw(st.sampled_from(list(SCHEDULES))), "all")
    random_compared(data.draw(sources(outside)), Chip("ascend910a"), schedules)
