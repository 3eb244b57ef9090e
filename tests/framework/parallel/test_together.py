"""Ranks that run together: collectives are what NumPy makes of stacked arrays, and nobody waits for ever."""

from __future__ import annotations

from contextvars import ContextVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim.errors import DavinciError, ShapeMismatch, UnknownName
from framework import Tensor, grad, jit, ops, vmap
from framework.parallel import CollectiveError, rank, together

RANKS = st.integers(1, 4)
DTYPES = st.sampled_from(["float16", "float32"])
REDUCTIONS = {"sum": np.sum, "max": np.max, "min": np.min}


@st.composite
def stacks(draw):
    """Return arrays of all ranks, stacked: the first axis of each can be parted among them."""
    ranks = draw(RANKS)
    rows, others = draw(st.integers(0, 3)), draw(st.lists(st.integers(1, 3), max_size=2))
    shape = (ranks, ranks * rows, *others)
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    return generator.standard_normal(shape).astype(draw(DTYPES))


def run(function, stacked, *, compiled=False):
    """Return what each rank gets, as arrays."""
    ranks = len(stacked)
    functions = [jit(function) for _ in range(ranks)] if compiled else function
    return [each.numpy() for each in together(functions, ranks, list(map(Tensor, stacked)))]


@given(stacks(), st.sampled_from(sorted(REDUCTIONS)), st.booleans())
def test_an_all_reduce_is_a_reduction_of_the_stacked_arrays(stacked, op, compiled):
    """In the order of the ranks, half precision in float32; all ranks get the same bits."""
    found = run(lambda x: ops.all_reduce(x, len(stacked), op), stacked, compiled=compiled)
    wanted = REDUCTIONS[op](stacked.astype(np.float32), axis=0).astype(stacked.dtype)
    for each in found:
        np.testing.assert_array_equal(each, wanted)
        assert each.dtype == stacked.dtype


@given(stacks(), st.booleans())
def test_an_all_gather_is_the_stacked_arrays_in_a_row(stacked, compiled):
    """Along the first axis."""
    found = run(lambda x: ops.all_gather(x, len(stacked)), stacked, compiled=compiled)
    for each in found:
        np.testing.assert_array_equal(each, np.concatenate(stacked))


@given(stacks(), st.sampled_from(sorted(REDUCTIONS)), st.booleans())
def test_a_reduce_scatter_is_a_part_of_the_reduction_for_each(stacked, op, compiled):
    """So that an all-gather of the parts is an all-reduce."""
    found = run(lambda x: ops.reduce_scatter(x, len(stacked), op), stacked, compiled=compiled)
    wanted = REDUCTIONS[op](stacked.astype(np.float32), axis=0).astype(stacked.dtype)
    for each, part in zip(found, np.split(wanted, len(stacked)), strict=True):
        np.testing.assert_array_equal(each, part)


def losses(stacked, collective):
    """Return the sum of the losses of all ranks, each of another weight."""

    def loss(x):
        y = collective(x)
        return float((y * ops.arange(y.shape[0]).astype(y.dtype) * (rank() + 1.5)).sum())

    return sum(together(loss, len(stacked), list(map(Tensor, stacked))))


@pytest.mark.parametrize("op", ["sum", "max", "min", None])
@pytest.mark.parametrize("name", ["all_reduce", "reduce_scatter", "all_gather"])
def test_gradients_are_those_of_the_sum_of_all_losses(name, op):
    """Each rank has the slope of the whole by its own data, as differences have it."""
    if (name == "all_gather") != (op is None):
        return
    ranks = 3
    stacked = np.random.default_rng(1).standard_normal((ranks, 6))
    how = {} if op is None else {"op": op}

    def collective(x):
        return getattr(ops, name)(x, ranks, **how)

    def weighted(x, weight):
        y = collective(x)
        return (y * ops.arange(y.shape[0]).astype(y.dtype) * weight).sum()

    weights = [Tensor(np.float64(number + 1.5)) for number in range(ranks)]
    slopes = together(grad(weighted), ranks, list(map(Tensor, stacked)), weights)
    for at in np.ndindex(stacked.shape):
        step = np.zeros_like(stacked)
        step[at] = 1e-6
        slope = (losses(stacked + step, collective) - losses(stacked - step, collective)) / 2e-6
        assert slopes[at[0]].numpy()[at[1]] == pytest.approx(slope, abs=1e-6)


def test_ranks_that_have_the_same_maximum_share_its_cotangent():
    """As the elements of one tensor do."""
    slope = grad(lambda x: ops.all_reduce(x, 2, "max").sum())
    found = together(slope, 2, [Tensor([1.0, 3.0]), Tensor([1.0, 2.0])])
    assert [each.numpy().tolist() for each in found] == [[1.0, 2.0], [1.0, 0.0]]


@pytest.mark.parametrize("name", ["all_reduce", "all_gather", "reduce_scatter"])
def test_a_batch_meets_as_its_items_do(name):
    """Mapped over, a collective is that of each item."""
    x = np.arange(2 * 3 * 4.0).reshape(2, 3, 4)  # ranks, items, rows

    def collective(y):
        return getattr(ops, name)(y, 2)

    found = together(vmap(collective), 2, list(map(Tensor, x)))
    items = [together(collective, 2, list(map(Tensor, x[:, item]))) for item in range(3)]
    for number, each in enumerate(found):
        np.testing.assert_array_equal(each.numpy(), [item[number].numpy() for item in items])


def test_ranks_know_their_number_also_inside_of_each_other():
    """One program on several ranks may run others on several ranks."""

    def outer(_):
        return rank(), together(lambda x: (rank(), ops.all_reduce(x, 2).item()), 2, [Tensor(1), Tensor(2)])

    assert together(outer, 2, [0, 0]) == [(number, [(0, 3), (1, 3)]) for number in range(2)]
    assert rank() == 0


def test_ranks_have_the_context_of_who_calls():
    """What a caller has set for its part of the program holds for theirs, and theirs is their own."""
    setting = ContextVar("setting", default=0)
    setting.set(1)

    def program(own):
        before = setting.get()
        setting.set(own)
        ops.all_reduce(Tensor(1), 2)
        return before, setting.get()

    assert together(program, 2, [5, 6]) == [(1, 5), (1, 6)]
    assert setting.get() == 1


def test_of_one_rank_a_collective_is_what_it_was_given():
    """Nobody else is needed for it."""
    x = np.arange(4.0)
    for collective in (ops.all_reduce, ops.all_gather, ops.reduce_scatter):
        np.testing.assert_array_equal(jit(lambda x, f=collective: f(x, 1))(Tensor(x)).numpy(), x)


def test_constants_meet_when_the_program_runs():
    """Not while it is compiled, which one rank does for all."""
    shared = jit(lambda x: x + ops.all_reduce(ops.zeros_like(x) + 1.0, 3))
    found = together(shared, 3, [Tensor([float(n)]) for n in range(3)])
    assert [each.item() for each in found] == [3.0, 4.0, 5.0]


# Errors


def message(kind, function, *arguments):
    with pytest.raises(kind) as caught:
        function(*arguments)
    return str(caught.value)


def test_a_program_alone_says_how_to_run_it():
    """Instead of waiting."""
    assert message(CollectiveError, lambda: ops.all_reduce(Tensor([1.0]), 4)) == (
        "all_reduce(float32[1], op=sum) is of 4 ranks, and this program runs alone\n"
        "  next: run it on all of them, framework.parallel.together(f, 4, ...)"
    )


def test_another_number_of_ranks_is_refused():
    """A collective is of all."""
    assert message(CollectiveError, together, lambda x: ops.all_gather(x, 4), 2, [Tensor([1.0])] * 2) == (
        "all_gather(float32[1]) is of 4 ranks, and 2 run together\n"
        "  rule: all ranks take part\n  next: ask for 2, or run it together on 4"
    )


def test_different_collectives_do_not_meet():
    """The message has what each rank came for."""

    def program(x):
        return ops.all_reduce(x, 2, "max") if rank() else ops.all_gather(x, 2)

    assert message(CollectiveError, together, program, 2, [Tensor([1.0])] * 2) == (
        "ranks meet in different collectives\n"
        "  rank 0: all_gather(float32[1])\n"
        "  rank 1: all_reduce(float32[1], op=max)\n"
        "  rule: all ranks come to the same ones, in the same order, with the same shapes\n"
        "  next: let what depends on the data of a rank not decide which collectives it comes to"
    )
    with pytest.raises(CollectiveError, match=r"rank 1: all_reduce\(float32\[2\], op=sum\)"):
        together(lambda x: ops.all_reduce(x, 2), 2, [Tensor([1.0]), Tensor([1.0, 2.0])])


@pytest.mark.parametrize("early", [0, 1, 2])
def test_who_waits_for_a_rank_that_has_ended_is_told(early):
    """Whichever it is; nothing hangs."""

    def program(x):
        return x if rank() == early else ops.all_reduce(x, 3)

    waiting = "".join(f"  rank {n} waits in all_reduce(float32[1], op=sum)\n" for n in range(3) if n != early)
    assert message(CollectiveError, together, program, 3, [Tensor([1.0])] * 3) == (
        f"a collective waits for ranks that have ended\n{waiting}  ended: {early}\n"
        "  rule: all ranks come to the same collectives, in the same order\n"
        "  next: let what depends on the data of a rank not decide which collectives it comes to"
    )


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_rank_that_fails_ends_all_with_its_error(failing):
    """Those that wait leave; what they clean up on their way is done."""
    left = []

    def program(x):
        try:
            if rank() == failing:
                raise KeyError("mine")
            return ops.all_reduce(x, 3)
        finally:
            left.append(rank())

    with pytest.raises(KeyError, match="mine") as caught:
        together(program, 3, [Tensor([1.0])] * 3)
    assert caught.value.__notes__ == [f"on rank {failing} of 3"]
    assert set(left) >= {failing, *range(failing)}


def test_wrong_calls_say_what_is_wrong():
    """Ranks, arguments, reductions, shapes."""
    x = Tensor([1.0, 2.0, 3.0])
    assert message(DavinciError, together, len, 0) == (
        "together: ranks is 0, it must be a whole number, 1 or more"
    )
    assert message(ShapeMismatch, together, len, 2, [1]) == (
        "together: 1 items of an argument for 2 ranks\n"
        "  next: give one for each rank, [x] * 2 for the same one"
    )
    assert message(DavinciError, ops.all_reduce, x, 0) == (
        "all_reduce: ranks is 0\n  rule: it says how many take part, a whole number, 1 or more"
    )
    assert message(UnknownName, ops.all_reduce, x, 1, "mean") == (
        "unknown reduction of all_reduce 'mean'; known: max, min, sum"
    )
    assert message(ShapeMismatch, ops.reduce_scatter, x, 2) == (
        "reduce_scatter: 3 rows of float32[3] do not go into 2 parts"
    )
    assert message(ShapeMismatch, ops.all_gather, Tensor(1.0), 1) == (
        "all_gather: float32[] has no axis to go along"
    )
