"""Collectives on chips: an engine of their own, links that work beside the cores, the numbers of the host."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.chip.collectives import NoLinks, collective_cycles
from davinci_sim.errors import DavinciError
from davinci_sim.platforms import platform
from framework import Tensor, grad, jit, ops
from framework.frontend.trace import trace
from framework.graph_engine import Options, Session
from framework.graph_engine.data.graph import COLLECTIVE
from framework.graph_engine.service.dependencies import accesses
from framework.graph_engine.service.events import at_addresses, races
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import placement, split
from framework.parallel import CollectiveError, together
from framework.passes import run
from tests.framework.frontend.programs import made

P = platform("ascend910a")


def session_of(function, *arrays, options=None):
    """Return a function on a chip without data."""
    func = run(trace(function, [Tensor(each) for each in arrays], {}).func)
    return Session(func, Chip(P, data=False), options=options)


def on_chips(function, ranks):
    """Return a function per rank, each on a chip of its own."""
    return [jit(function, device=Chip(P)) for _ in range(ranks)]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_chips_together_have_the_bits_of_the_host(dtype, ranks):
    """All three collectives, among kernels; one rank needs nobody."""

    def program(x):
        y = ops.relu(ops.all_reduce(x, ranks, "max"))
        return ops.all_gather(ops.neg(ops.reduce_scatter(y, ranks)), ranks)

    generator = np.random.default_rng(1)
    arrays = [Tensor(generator.standard_normal((6, 5)).astype(dtype)) for _ in range(ranks)]
    found = together(on_chips(program, ranks), ranks, arrays)
    for device, host in zip(found, together(program, ranks, arrays), strict=True):
        np.testing.assert_array_equal(device.numpy(), host.numpy())


def test_tables_and_task_lists_tell_who_takes_part():
    """Placement, graph, task list, profile."""

    def program(x):
        return ops.all_gather(ops.all_reduce(ops.relu(x), 8), 8)

    session = session_of(program, np.ones((8, 16), np.float32))
    assert placement(session.placed) == (
        "subgraph 0 on aicore: 3 nodes\n"
        "  relu.0                           aicore  relu\n"
        "  all_reduce.1                     collective sum of 8 ranks\n"
        "  all_gather.2                     collective 8 ranks\n"
    )
    assert "= all_reduce(%0)  [collective: sum of 8 ranks]" in session.optimized.text()
    assert "s0 collective   all_reduce.1                       sum of 8 ranks in0=" in session.compiled.text()
    times = {each.op: each for each in session.profile()}
    expected = session.chip.start_cycles + collective_cycles(P, "all_gather", 8 * 8 * 16 * 4, 8)
    assert (times["all_gather"].cycles, times["all_gather"].bound) == (expected, "link")
    assert times["all_reduce"].kernel == COLLECTIVE


def test_a_chip_without_links_refuses_collectives_of_several():
    """They never run anywhere else; of one rank they need no links."""
    x = np.ones(4, np.float32)
    func = run(trace(lambda x: ops.all_reduce(x, 2), [Tensor(x)], {}).func)
    with pytest.raises(NoLinks, match="ascend310 has no links to other chips"):
        split(prepare(func), platform("ascend310"))
    alone = jit(lambda x: ops.all_reduce(x, 1), device=Chip("ascend310"))
    np.testing.assert_array_equal(alone(Tensor(x)).numpy(), x)


def test_a_gradient_is_reduced_in_the_format_in_which_it_lies():
    """An all-reduce goes by element: of a matrix in fractals nothing is converted for it."""

    def program(x, w):
        return ops.relu(ops.all_reduce(ops.matmul(x, w), 2)) @ w

    half = np.ones((32, 32), np.float16)
    graph = session_of(program, half, half).optimized
    (node,) = (node for node in graph.nodes if node.op == "all_reduce")
    assert {graph.values[name].format for name in (*node.inputs, *node.outputs)} == {"NZ"}


def layered(x, v, w):
    """An all-reduce of something large, and beside it a long row of kernels that does not need it."""
    reduced = ops.all_reduce(ops.relu(v), 8)
    y = ops.relu(ops.relu(ops.relu(x @ w) @ w) @ w)
    return reduced * 2.0, y


def test_kernels_that_need_nothing_of_a_collective_run_beside_it():
    """So that most of it costs no time; streams and events leave no race."""
    half, large = np.ones((512, 512), np.float16), np.ones((256, 1024), np.float32)
    session = session_of(layered, half, large, half)
    compiled, profile = session.compiled, session.profile()
    touched = [accesses(task, compiled.graph, compiled.homes) for task in compiled.tasks]
    placed = [at_addresses(each, compiled.memory.offsets) for each in touched]
    assert not list(races(compiled.tasks, placed))
    (link,) = (task for task in compiled.tasks if task.kind == COLLECTIVE)
    beside = [task for task in compiled.tasks if task.group == link.group and task is not link]
    assert len(beside) >= 3
    assert link.stream not in {task.stream for task in beside}
    assert sum(each.own_us for each in profile) == pytest.approx(profile.us)
    one_by_one = session_of(layered, half, large, half, options=Options(streams=False)).profile()
    assert one_by_one.us - profile.us > 0.9 * min(
        sum(each.us for each in one_by_one if each.name in {task.name for task in beside}),
        sum(each.us for each in one_by_one if each.op == "all_reduce"),
    )


def test_collectives_are_made_in_the_order_in_which_they_can_be():
    """The first of a program may be the last to be ready: that of the gradient of the first layer."""

    def program(x):
        y = ops.relu(x)
        return ops.all_reduce(ops.softmax(y), 2), ops.all_reduce(y, 2)

    x = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(3, 4)
    names = [task.name for task in session_of(program, x).compiled.tasks if task.kind == COLLECTIVE]
    assert names == ["all_reduce.3", "all_reduce.2"]
    ranks = [Tensor(x), Tensor(2 * x)]
    for found, expected in zip(
        together(on_chips(program, 2), 2, ranks), together(program, 2, ranks), strict=True
    ):
        for device, host in zip(found, expected, strict=True):
            np.testing.assert_allclose(device.numpy(), host.numpy(), rtol=1e-6)


def test_a_chip_does_not_meet_the_host():
    """They may come to collectives in different orders, and equal ones would be taken for each other."""
    both = [jit(lambda x: ops.all_reduce(x, 2), device=Chip(P)), lambda x: ops.all_reduce(x, 2)]
    with pytest.raises(
        CollectiveError, match=r"rank 0: all_reduce\(float32\[1\], op=sum\) as all_reduce.0 of"
    ):
        together(both, 2, [Tensor([1.0])] * 2)


def random_program(seed):
    """Return a program of kernels and collectives that take what earlier ones made."""
    chance = random.Random(seed)
    forms = (
        "relu({0} + 0.1)", "softmax({0})", "mul({0}, {1})", "all_reduce({0}, 2)", "all_reduce({1}, 2, 'max')",
    )  # fmt: skip
    lines, names = [], ["x", "y"]
    for number in range(14):
        a, b = chance.choice(names), chance.choice(names)
        lines.append(f"    v{number} = ops.{chance.choice(forms).format(a, b)}\n")
        names.append(f"v{number}")
    source = f"def program(x, y):\n{''.join(lines)}    return {', '.join(names[-4:])}\n"
    return made(source, {"ops": ops})


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_have_no_races_and_the_numbers_of_the_host(seed):
    """Whatever runs beside whatever; and they are not slower than one task after the other."""
    program, generator = random_program(seed), np.random.default_rng(seed)
    arrays = [[generator.standard_normal((16, 64)).astype(np.float32) for _ in range(2)] for _ in range(2)]
    session = session_of(program, *arrays[0])
    compiled = session.compiled
    touched = [accesses(task, compiled.graph, compiled.homes) for task in compiled.tasks]
    placed = [at_addresses(each, compiled.memory.offsets) for each in touched]
    assert not list(races(compiled.tasks, placed))
    one_by_one = session_of(program, *arrays[0], options=Options(streams=False))
    assert session.step_us() <= one_by_one.step_us()
    given = [list(map(Tensor, each)) for each in arrays]
    found = together(on_chips(program, 2), 2, *given)
    for devices, hosts in zip(found, together(program, 2, *given), strict=True):
        for device, host in zip(devices, hosts, strict=True):
            np.testing.assert_allclose(device.numpy(), host.numpy(), rtol=1e-5, atol=1e-6)


def test_collectives_never_pass_each_other():
    """They share the links, and ranks have to meet in one order."""

    def program(x, y):
        return ops.all_reduce(x, 2), ops.all_reduce(y, 2), ops.all_gather(x, 2)

    x = np.ones((64, 64), np.float32)
    session = session_of(program, x, x)
    spans = [
        (int(row["start"]), int(row["end"]))
        for task, row in zip(session.compiled.tasks, session.profile().timeline.spans, strict=True)
        if task.kind == COLLECTIVE
    ]
    assert len(spans) == 3
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_ranks_that_share_a_chip_are_told():
    """One would write over what the other still needs."""
    shared = jit(lambda x: ops.all_reduce(ops.relu(x), 2) + x, device=Chip(P))
    with pytest.raises(DavinciError) as caught:
        together(shared, 2, [Tensor([1.0]), Tensor([2.0])])
    assert str(caught.value).endswith(
        " is amid a step on ascend910a\n"
        "  rule: its values lie in the memory of one chip, once\n"
        "  next: compile it for each rank by itself, [jit(f, device=Chip(...)) for _ in range(ranks)]"
    )


# Training with a part of the batch on each rank

STEPS, RATE = 4, 0.1
GENERATOR = np.random.default_rng(7)
BATCH = (
    GENERATOR.standard_normal((8, 6)).astype(np.float32),
    GENERATOR.standard_normal((8, 3)).astype(np.float32),
)
WEIGHT = GENERATOR.standard_normal((6, 3)).astype(np.float32)


def loss(w, x, y):
    """Return the mean square of the errors of a layer."""
    error = ops.tanh(ops.reduce_sum(ops.expand_dims(x, 2) * ops.expand_dims(w, 0), 1)) - y
    return ops.reduce_mean(error * error)


def trained(ranks):
    """Return a program of some steps, with the mean of the gradients of all ranks."""
    slope = grad(loss)

    def program(w, x, y):
        for _ in range(STEPS):
            w = w - RATE / ranks * ops.all_reduce(slope(w, x, y), ranks)
        return w

    return program


@pytest.mark.parametrize("device", [False, True], ids=["host", "chips"])
def test_two_ranks_with_half_of_the_batch_each_train_as_one_with_all_of_it(device):
    """The mean of the gradients of the halves is the gradient of the whole, within rounding."""
    whole = jit(trained(1))(*map(Tensor, (WEIGHT, *BATCH))).numpy()
    program = trained(2)
    functions = on_chips(program, 2) if device else [jit(program) for _ in range(2)]
    parts = [list(map(Tensor, np.split(each, 2))) for each in BATCH]
    first, second = together(functions, 2, [Tensor(WEIGHT)] * 2, *parts)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    np.testing.assert_allclose(first.numpy(), whole, rtol=1e-5, atol=1e-6)
    assert np.abs(whole - WEIGHT).max() > 0.01
