"""Branches and loops on the device: the numbers of the host, and no way back to it before the end."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from davinci_sim import Chip
from davinci_sim.errors import DavinciError
from davinci_sim.platforms import platform_names
from framework import Tensor, grad, jit, ops
from framework.autodiff import vjp, vmap
from framework.autodiff.reverse import differentiate
from framework.graph_engine import Options, Session, compile_for_device
from framework.graph_engine.data.graph import MEMCPY
from framework.graph_engine.service.prepare import first_room, prepare
from framework.ir import Builder, TensorType, evaluate
from framework.ir.control import WHILE
from framework.ir.flow import Part, loop, scan
from framework.passes import FLAT, run
from tests.framework.funcs import COUNT, arguments, funcs

X = Tensor(np.linspace(0.1, 1.0, 32, dtype=np.float32))
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def chip():
    """Return one chip for all tests: what a call leaves in its memory must not matter to others."""
    return Chip("ascend910a")


def arrays(found):
    """Return results as NumPy arrays."""
    results = found if isinstance(found, tuple) else (found,)
    return [np.asarray(each.numpy() if isinstance(each, Tensor) else each) for each in results]


def on_both(function, chip, *args):
    """Check that two calls on the device have the same bits, and the numbers of the host; return the jit."""
    device = jit(function, device=chip)
    first, second, host = (arrays(each(*args)) for each in (device, device, jit(function)))
    assert [each.tobytes() for each in first] == [each.tobytes() for each in second]
    for found, expected in zip(first, host, strict=True):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    return device


def power(x, n):
    """Square and add, n times."""
    while n > 0:
        x = x * x + 0.1
        n -= 1
    return ops.reduce_sum(x)


def nested(x, n):
    """Loops in loops, with a branch in the inner one."""
    turns = 0
    for i in range(n):
        k = i
        while k > 0:
            if k % 2 == 0:  # noqa: SIM108 - branches as statements
                x = x * 0.5
            else:
                x = x + 0.25
            k -= 1
            turns += 1
    return x, turns


def halved(x, limit):
    """Halve until the largest is small: how often depends on the data."""
    turns = 0
    while ops.reduce_max(x) > limit:
        x = x * 0.5
        turns += 1
    return x, turns


def chosen(x, limit):
    """Take one of two ways."""
    if ops.reduce_sum(x) > limit:  # noqa: SIM108 - branches as statements
        y = x * 2.0
    else:
        y = x + 1.0
    return y, y * x


def exchanged(a, b, n):
    """Change two values into each other, as Fibonacci numbers do."""
    while n > 0:
        a, b = b, a + b
        n -= 1
    return a, b


def factorial(x, n):
    """Return x to the n, by recursion."""
    if n <= 0:
        return x * 0.0 + 1.0
    return x * factorial(x, n - 1)


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_a_while_runs_on_the_device_without_the_host(chip, turns):
    """One goto per turn, and no round trip."""
    profile = on_both(power, chip, X, turns).profile()
    assert profile.host_round_trips == 0
    assert [profile.timeline.runs(kind) for kind in ("label_goto", "stream_switch")] == [turns, turns + 1]


@pytest.mark.parametrize("platform", sorted(set(platform_names()) - {"ascend910a"}))
def test_every_chip_has_a_task_scheduler_that_jumps(platform):
    """In half precision, which all of them compute."""

    def squares(x, n):
        while n > 0:
            x = x * x
            n -= 1
        return x

    x = Tensor(np.linspace(0.5, 1.0, 16, dtype=np.float16))
    device = jit(squares, device=Chip(platform))
    np.testing.assert_allclose(device(x, 3).numpy(), jit(squares)(x, 3).numpy(), rtol=4e-3)
    assert device.profile().host_round_trips == 0


def test_a_condition_on_data_is_decided_on_the_device(chip):
    """The largest element, compared there, ends the loop."""
    assert on_both(halved, chip, X, 0.01).profile().host_round_trips == 0


def test_a_count_is_compared_by_the_switch_itself(chip):
    """Without fusion the AI CPU compares and counts, and a label switch reads what it found."""
    func = run(jit(power).compiled(X, 2).func, FLAT)
    feeds = {"x": X.numpy()[np.newaxis], "n": np.array([2])}
    found = []
    for fusion in (True, False):
        session = Session(func, chip, options=Options(fusion=fusion))
        (result,) = session.run(feeds).outputs.values()
        timeline = session.profile().timeline
        runs = [timeline.runs(kind) for kind in ("stream_switch", "label_switch", "aicpu")]
        found.append((result.tobytes(), runs, timeline.cycles))
    assert found[0][0] == found[1][0]
    assert [runs for _, runs, _ in found] == [[3, 0, 0], [0, 3, 5]]
    assert found[1][2] - found[0][2] > 3 * chip.platform.aicpu_start_cycles


@pytest.mark.parametrize("limit", [3.0, 300.0])
def test_an_if_takes_one_branch(chip, limit):
    """Only the kernel of the branch that is taken runs."""
    profile = on_both(chosen, chip, X, limit).profile()
    assert profile.host_round_trips == 0
    assert sorted(each.op for each in profile if each.op in ("add", "mul")) == (
        ["mul", "mul"] if limit == 3.0 else ["add", "mul"]
    )


def test_loops_in_loops_run_on_the_device(chip):
    """With a branch inside."""
    assert on_both(nested, chip, X, 4).profile().host_round_trips == 0


def test_values_that_exchange_their_places_are_saved_first(chip):
    """A turn writes all of the next state at once."""
    assert "saved" in on_both(exchanged, chip, X, X * 2.0, 5).tasks


@pytest.mark.parametrize("turns", [0, 3])
def test_the_gradient_of_a_loop_runs_on_the_device(chip, turns):
    """The loop ahead keeps what it needs in a room of the device, the one back reads it."""
    assert on_both(grad(power), chip, X, turns).profile().host_round_trips == 0


@pytest.mark.parametrize("turns", [0, 3])
def test_the_gradient_of_a_loop_in_a_branch_runs_on_the_device(chip, turns):
    """The branch without the loop keeps nothing, and nothing is copied for it."""

    def guarded(x, n):
        y = x * 0.5
        if n > 1:
            while n > 0:
                y = y * y + 0.1 * x
                n -= 1
        return ops.reduce_sum(y)

    device = on_both(grad(guarded), chip, X, turns)
    assert device.profile().host_round_trips == 0
    graph = device._on_device.session.optimized
    rooms = graph.rooms & {name for node in graph.nodes if node.op == MEMCPY for name in node.inputs}
    assert not {name for name in rooms if all(name not in node.outputs for node in graph.nodes)}


def test_the_gradient_of_the_gradient_of_a_loop_runs_on_the_device(chip):
    """Loops and scans again."""

    def second(x, n):
        return grad(lambda y: ops.reduce_sum(grad(power)(y, n)))(x)

    assert on_both(second, chip, X, 2).profile().host_round_trips == 0


def test_the_gradient_of_loops_in_loops_runs_on_the_device(chip):
    """Rooms of rooms: an inner loop keeps values in each turn of the outer one."""

    def total(x, n):
        return ops.reduce_sum(nested(x * x, n)[0] * x)

    assert on_both(grad(total), chip, X, 4).profile().host_round_trips == 0


def test_a_batch_of_loops_runs_on_the_device_until_the_last_lane_has_ended(chip):
    """Lanes that have ended keep their values, in the gradient, too."""

    def settled(x):
        y = x
        while ops.reduce_max(y) > 0.3:
            y = y * 0.6 + 0.01 * x
        return ops.reduce_sum(y * x)

    x = Tensor(np.random.default_rng(0).uniform(0.2, 3, (5, 8)).astype(np.float32))
    for function in (vmap(settled), vmap(grad(settled))):
        assert on_both(function, chip, x).profile().host_round_trips == 0


def test_a_loop_with_more_turns_than_room_begins_anew_with_more(chip):
    """The host is asked once, and it is counted; later calls have the room."""
    device = jit(grad(lambda x, n: power(x * 0.1, n)), device=chip)
    device(X, 70)
    assert device.profile().host_round_trips == 1
    found = device(X, 70).numpy()
    assert device.profile().host_round_trips == 0
    expected = grad(lambda x, n: power(x * 0.1, n))(X, 70).numpy()
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_a_room_that_is_the_state_of_a_loop_lives_from_turn_to_turn(chip, turns):
    """Gradients of gradients that are pulled back in a loop add up what they ask of the values kept."""

    def total(x, n, factor):
        y, back = vjp(lambda x: halved(x * x, 0.2)[0], x)
        for _ in range(n):
            if factor > 0.5:
                x = x + back(x * factor)[0]
        return ops.reduce_sum(x * y)

    for factor in (0.3, 0.7):
        assert on_both(grad(total), chip, X, turns, factor).profile().host_round_trips == 0


def test_functions_that_parts_of_the_host_leave_to_others_are_no_integers(chip):
    """They have no value on the device whose numbers could be followed."""

    def total(x, n):
        found = factorial(x, n)
        return ops.reduce_sum(found * found)

    assert on_both(grad(total), chip, X, 3).profile().host_round_trips == 2


def test_large_values_find_room_for_fewer_turns():
    """A loop in a loop keeps rooms of rooms, which would be thousands of tensors."""

    def loops(depth):
        def total(x, n):
            for _ in range(n):
                x = x * x
                if depth > 1:
                    for _ in range(n):
                        x = x * x
            return ops.reduce_sum(x)

        return total

    x = Tensor(np.ones((256, 256), np.float32))
    funcs = (run(jit(grad(loops(depth))).compiled(x, 2).func, FLAT) for depth in (1, 2))
    assert [first_room(func) for func in funcs] == [64, 4]


def test_recursion_runs_on_the_host_and_is_counted(chip):
    """The table of step 2 says so, and the profile has a round trip for each."""
    device = on_both(factorial, chip, X, 4)
    assert device.profile().host_round_trips == 1
    *_, row, total = device.profile().text().splitlines()
    assert (row.split(), total.split()) == (["1", "host", "host_part.0"], ["host_round_trips", "1"])
    assert "no frames for recursion" in device._on_device.session.texts()["2 split"]


def test_products_in_a_loop_have_the_numbers_of_the_host(chip):
    """In half precision; the state of the loop lies in the format of the cube."""
    generator = np.random.Generator(np.random.Philox(1))
    w = Tensor((generator.standard_normal((32, 32)) * 0.2).astype(np.float16))

    def network(x, n):
        while n > 0:
            x = ops.relu(ops.matmul(x, w))
            n -= 1
        return x

    device = jit(network, device=chip)
    x = Tensor(np.ones((16, 32), np.float16))
    found, expected = (each(x, 3).numpy().astype(np.float32) for each in (device, jit(network)))
    np.testing.assert_allclose(found, expected, rtol=4e-3, atol=4e-3)
    assert device.profile().host_round_trips == 0


def test_weights_and_the_first_state_are_converted_once_before_the_loop(chip):
    """From then on all turns find them in the format of the cube; the last state is converted behind it."""

    def network(x, w, n):
        while n > 0:
            x = ops.relu(ops.matmul(x, w))
            n -= 1
        return x

    device = jit(network, device=chip)
    device(Tensor(np.ones((16, 32), np.float16)), Tensor(np.ones((32, 32), np.float16)), 3)
    runs = {each.name: each.runs for each in device.profile() if each.op == "trans_data"}
    assert list(runs.values()) == [1, 1, 1]
    assert {"trans_data.x.NZ", "trans_data.w.NZ"} < set(runs)


def test_what_has_no_kernel_runs_on_the_ai_cpu_in_a_loop(chip):
    """Of this size: in each turn a way to the host would take longer."""

    def waves(x, n):
        while n > 0:
            x = ops.sin(x)
            n -= 1
        return x

    x = Tensor(np.linspace(0, 2, 1 << 14, dtype=np.float32))
    profile = on_both(waves, chip, x, 2).profile()
    assert profile.host_round_trips == 0
    assert {each.bound for each in profile if each.op == "sin"} == {"aicpu"}


def test_an_operator_on_the_ai_cpu_that_refuses_its_inputs_names_the_line(chip):
    """As it does on the host."""

    def total(x, n):
        found = 0.0
        for i in range(n):
            found = found + x[i]
        return found

    device = jit(total, device=chip)
    assert on_both(total, chip, X, 4).profile().host_round_trips == 0
    with pytest.raises(DavinciError) as caught:
        device(X, 40)
    assert str(caught.value).startswith("index: position 32 is outside axis 0 of [32]")
    assert "found = found + x[i]" in str(caught.value)


def test_variables_are_renewed_once_however_often_a_run_begins_anew(chip):
    """What a loop keeps has no room at first; the steps before must not count twice."""
    builder = Builder()
    total, n = builder.param(TensorType.of(X.numpy()), "total"), builder.param(COUNT, "n")
    step = Builder(builder)
    x, k = step.param(total.type), step.param(COUNT)
    cond = Builder(builder)
    cond.param(total.type)
    more = cond.param(COUNT) > 0
    *_, stack = loop(
        builder, [total, n], Part(cond, [more], "cond"), Part(step, [x * 0.5, k - 1, x], "body"), saves=1
    )
    back = Builder(builder)
    element, sum_ = back.param(total.type), back.param(total.type)
    (found,) = scan(builder, [stack], [total * 0.0], Part(back, [element + sum_], "back"))
    func = builder.finish("renewing", [found], {0: "total"})
    session = Session(func, chip, {"total": X.numpy()})
    result = session.run({"n": np.array([1, 2, 70])})
    expected = X.numpy() * np.float32(1.5 * 2)
    np.testing.assert_allclose(session.variables()["total"], expected, rtol=TOLERANCE)
    assert (result.host_calls, session.host_round_trips) == (2, 1)


def test_a_profile_writes_a_trace_with_labels_and_switches(chip, tmp_path):
    """A Chrome trace: an event for each task that ran."""
    device = on_both(power, chip, X, 2)
    device.profile().write(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    kinds = [event["cat"] for event in events if event["ph"] == "X"]
    assert (kinds.count("stream_switch"), kinds.count("label_goto")) == (3, 2)


def test_the_task_list_shows_labels_and_where_jumps_go(chip):
    """Like a disassembly; the timeline says which loop of the source it was."""
    device = jit(power, device=chip)
    device(X, 1)
    kinds = [line.split()[2] for line in device.tasks.splitlines()[1:-1]]
    assert [kind for kind in kinds if kind.startswith(("label", "stream"))] == [
        "label", "stream_switch", "label", "label_goto", "label",
    ]  # fmt: skip
    assert "turn of while test_flow.py:" in device.profile().timeline.text()


def test_a_profile_of_a_loop_that_has_not_run_is_refused(chip):
    """Nobody knows how many turns it takes."""
    func = run(jit(power).compiled(X, 2).func, FLAT)
    with pytest.raises(DavinciError) as caught:
        compile_for_device(func, chip).profile()
    assert str(caught.value) == (
        "power has branches or loops, and has not run\n  rule: what they take depends on the data\n"
        "  next: call it first"
    )


def test_an_assertion_stops_the_stream_and_names_the_line(chip):
    """The message has the values of the device, and the user's line."""

    def positive(x, n):
        while n > 0:
            n -= 1
            assert n != 2, f"n is {n}"
            x = x + 1.0
        return x

    device = jit(positive, device=chip)
    np.testing.assert_array_equal(device(X, 2).numpy(), X.numpy() + 1 + 1)
    with pytest.raises(DavinciError, match="n is 2") as caught:
        device(X, 5)
    assert 'assert n != 2, f"n is {n}"' in str(caught.value)
    np.testing.assert_array_equal(device(X, 2).numpy(), X.numpy() + 1 + 1)


@pytest.mark.parametrize("reuse", [True, False])
def test_a_step_that_fails_leaves_the_variables_as_they_were(chip, reuse):
    """Whichever of them had been renewed by then; the steps before it count."""

    def step(total, changed, x, n):
        changed = changed + x
        if n > 2:
            total = total + changed
        for turn in range(n):
            assert turn < 4, f"turn {turn}"
        return total, changed

    func = run(jit(step).compiled(X, X, X, 2).func, FLAT)
    func = replace(func, updates={0: "total", 1: "changed"})
    state = {"total": X.numpy(), "changed": X.numpy() * 2}
    session = Session(func, chip, state, Options(reuse=reuse))
    with pytest.raises(DavinciError, match="turn 4"):
        session.run({"x": np.stack([X.numpy()] * 2), "n": np.array([3, 5])})
    expected = {"total": X.numpy() + X.numpy() * 3, "changed": X.numpy() * 3}
    for name, array in session.variables().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6)


def test_a_stack_has_no_way_to_the_device_and_back():
    """Only tensors are given and taken."""
    builder = Builder()
    x = builder.param(TensorType((), Tensor(1.0).dtype), "x")
    inside = Builder(builder)
    part = inside.finish("f", [x], captured=[x])
    func = builder.finish("f", builder.bind("closure", [x], {"func": part}))
    with pytest.raises(DavinciError) as caught:
        prepare(func)
    assert str(caught.value) == (
        "@f takes or gives fn() -> (float32[])\n  rule: only tensors go to a device and come back\n"
        "  next: apply the function, or take the gradient, inside of what is compiled"
    )


def test_the_derivative_on_the_device_holds_a_loop_not_copies(chip):
    """The list of tasks is as long for 2 turns as for 5."""
    device = jit(grad(power), device=chip)
    device(X, 2)
    short = device.tasks
    device(X, 5)
    assert device.tasks == short
    assert WHILE in str(jit(grad(power)).compiled(X, 2).func)


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(funcs(2, ("op", "if", "while", "scan", "call")))
def test_random_programs_give_on_the_device_what_they_mean(chip, func):
    """Branches, loops, scans over what loops keep, and calls, nested; none comes back to the host."""
    device = compile_for_device(func, chip)
    for found, expected in zip(device(arguments()), evaluate(func, arguments()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert device.host_round_trips == 0


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(funcs(2, ("op", "if", "while", "scan", "call")))
def test_gradients_of_random_programs_run_on_the_device(chip, func):
    """Loops that keep values, scans back over them, sums of what they kept: all without the host."""
    gradient = run(differentiate(func, (0, 1)), FLAT)
    device = compile_for_device(gradient, chip)
    for found, expected in zip(device(arguments()), evaluate(gradient, arguments()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert device.host_round_trips == 0


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(funcs(2))
def test_random_programs_with_functions_as_values_run_in_part_on_the_host(chip, func):
    """What of them the device cannot run is computed there."""
    device = compile_for_device(func, chip)
    for found, expected in zip(device(arguments()), evaluate(func, arguments()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
