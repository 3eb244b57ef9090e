"""Every cycle of every pipe is charged to exactly one cause, and the right one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip.engine.l2 import content_of, l2_with, new_l2
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import simulate, simulate_launches
from davinci_sim.core.program import parse
from davinci_sim.core.reference import Core
from davinci_sim.core.trace import SYNC
from davinci_sim.errors import DavinciError, UnknownName
from davinci_sim.isa.pipes import Pipe
from davinci_sim.platforms import assumed, platform, platform_names
from davinci_sim.trace.ledger import CAUSES, NAMES, PIPE_NAMES, Flag, hand_backs, ledger, partners
from tests.davinci_sim.chip.programs import programs

CHIP = platform("ascend910a")
NARROW = CHIP.with_figures(
    "narrow",
    queue_depth=assumed(2, "", "so that queues fill up"),
    hbm_bytes_per_cycle=assumed(50, "B/cycle", "so that cores contend"),
    l2_chip_bytes_per_cycle=assumed(130, "B/cycle", "so that cores contend"),
    l2_bytes=assumed(1 << 17, "B", "so that lines have to go"),
    ai_cores=assumed(3, "", "so that blocks stand in line"),
    dispatch_cycles=assumed(3, "cycles", "so that the scalar unit matters"),
)


def charged(launches, chip, cache=None):
    """Return the ledger of launches, after checking that every column sums to the time."""
    before = new_l2(chip) if cache is None else cache
    after = l2_with(content_of(before), chip)
    trace = simulate_launches(launches, chip, "fast", after)
    book = ledger(launches, chip, trace, before)
    assert (book.table >= 0).all()
    assert (book.table.sum(axis=2) == book.cycles).all()
    assert content_of(before).tobytes() == content_of(after).tobytes()
    for pipe in trace.pipes():
        assert book.work_cycles(pipe) == trace.busy_cycles(pipe)
    if len(launches) == 1 and 0 < len(trace.cores) == sum(map(bool, map(len, launches[0].programs))):
        began = book.cycles_of("S", "block_start", book.critical_core)
        assert sum(step.cycles for step in book.path) == book.cycles - began
    return book


def one(chip, *lines, **options):
    """Return the ledger of a program of one core, as {pipe: {cause: cycles}} of that core, and itself."""
    book = charged([Launch((parse("\n".join(lines)),), **options)], chip)
    return book.as_json()["critical"], book


@settings(max_examples=40, deadline=None)
@given(st.lists(programs(), min_size=1, max_size=6), st.sampled_from([CHIP, NARROW]))
def test_columns_of_random_programs_sum_to_the_time(blocks, chip):
    """Whatever the pipes, flags, barriers and transfers."""
    charged([Launch(tuple(blocks))], chip)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(programs(most=12), max_size=4),
            st.integers(0, 500),
            st.sampled_from([0, 7, 82]),
            st.sets(st.integers(0, 5)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_columns_of_several_launches_sum_to_the_time(drawn):
    """Blocks stand in line for cores, launches wait for each other."""
    launches = [
        Launch(tuple(blocks), start, spacing, tuple(sorted(e for e in after if e < number)))
        for number, (blocks, start, spacing, after) in enumerate(drawn)
    ]
    charged(launches, NARROW)


def test_the_second_launch_meets_what_the_first_left_in_l2(narrow, words):
    """The same load from a warm L2 waits neither for a miss nor for the device memory."""
    launch, cache = Launch((words.program(words.load(4000)),)), new_l2(narrow)
    cold, warm = charged([launch], narrow, cache), charged([launch], narrow, cache)
    assert cold.cycles_of("MTE2", "l2_miss") > 0
    assert warm.cycles_of("MTE2", "l2_miss") == warm.cycles_of("MTE2", "hbm_share") == 0
    assert warm.cycles_of("MTE2", "busy") == cold.cycles_of("MTE2", "busy")


@pytest.mark.parametrize("name", platform_names())
def test_every_chip_has_a_ledger(name, words):
    """With L2 or without, with few cores or many."""
    chip = platform(name)
    program = words.program(
        words.load(300), words.set_flag(words.MTE2, words.V), words.wait_flag(words.MTE2, words.V),
        words.work(50), words.set_flag(words.V, words.MTE3), words.wait_flag(words.V, words.MTE3),
        words.store(300),
    )  # fmt: skip
    charged([Launch((program,) * 3, block_cycles=int(chip.block_start_cycles))], chip)


def test_a_pipe_without_work_and_a_core_without_a_block_say_so(words):
    columns, book = one(CHIP, words.work(10))
    assert columns["M"] == {"unused": book.cycles}
    assert set(columns["V"]) == {"busy", "fill", "drain"}
    assert (book.table[1:, :, NAMES.index("no_block")] == book.cycles).all()


def test_a_flag_is_charged_between_the_first_and_the_last_work(words):
    """V adds, waits for a load of 100 + 20 * 256 / 110 cycles, and adds again."""
    lines = (
        words.work(4),
        words.load(160),
        words.set_flag(words.MTE2, words.V),
        words.wait_flag(words.MTE2, words.V),
        words.work(4),
    )
    columns, book = one(CHIP, *(f"{line}  # kernel.py:{n}" for n, line in enumerate(lines, start=1)))
    load = 100 + -(-160 * 32 // 110)
    assert columns["MTE2"]["busy"] + columns["MTE2"]["transfer_head"] == load
    assert columns["MTE2"]["transfer_head"] == 100
    # the load starts at 2 and the flag is set a cycle after its end; V has added until 5
    assert columns["V"]["flag"] == (2 + load + 1) - 5
    (wait,) = book.flags
    assert (wait.flag, wait.is_hand_back, wait.count) == (Flag(words.MTE2, words.V, 0), False, 1)
    assert (wait.wait, wait.set, wait.cycles) == ("kernel.py:4", "kernel.py:3", columns["V"]["flag"])


def test_a_flag_against_the_flow_of_data_is_a_buffer_that_is_not_free(words):
    """MTE2 may load again when V has used up what was loaded."""
    lines = (
        words.load(1),
        words.work(255),
        words.set_flag(words.V, words.MTE2),
        words.wait_flag(words.V, words.MTE2),
        words.load(1),
    )
    columns, book = one(CHIP, *lines)
    assert columns["MTE2"]["buffer_full"] > 0
    assert "flag" not in columns["MTE2"]
    assert book.flags[0].is_hand_back


def test_queues_of_a_kernel_know_better_than_the_flow(words):
    """V to MTE2 is forward where the kernel says so; a flag that is both goes by the flow."""
    upwards, downwards = Flag(words.V, words.MTE2, 1).number, Flag(words.MTE2, words.V, 1).number
    from_v = np.array([[words.V, words.MTE2, 2, 0, 0]])
    from_mte2 = np.array([[words.MTE2, words.V, 2, 0, 0]])
    cases = [([], True, False), ([from_v], False, True), ([from_mte2], True, False)]
    for queues, up, down in [*cases, ([from_v, from_mte2], True, False)]:
        found = hand_backs(queues)
        assert (found[upwards], found[downwards]) == (up, down)


def test_banks_of_ub_are_charged_apart(words):
    """Operands in one bank group cost the vector unit a second cycle a repeat."""
    plain, _ = one(CHIP, words.add(100, d=0x20000, b=0x100))
    slow, _ = one(CHIP, words.add(100, d=0x20000, b=0x200))
    assert "bank_conflict" not in plain["V"]
    assert slow["V"]["bank_conflict"] > 0
    assert slow["V"]["busy"] == plain["V"]["busy"] == 100


def test_padding_of_fractals_is_charged_apart():
    """17 rows are two fractals, and k = 40 three: 6 products for 17 * 40 * 16 / 4096 of them."""
    line = (
        "PIPE_M mmad c=L0C+0x0 a=L0A+0x0 b=L0B+0x0 m=17 k=40 n=16 accumulate=0 to_fp16=0 b_int8=0 dtype=fp16"
    )
    columns, _ = one(CHIP, line)
    assert columns["M"]["ragged_fractals"] == 6 - 3
    assert columns["M"]["busy"] == 3 + int(CHIP.mmad_head_cycles)
    assert columns["M"]["bank_conflict"] == 1


def test_what_the_problem_needs_is_shared_out_exactly():
    """Two products of 6 fractals each for a problem of 5 in all: 7 cycles are padding."""
    line = (
        "PIPE_M mmad c=L0C+0x0 a=L0A+0x0 b=L0B+0x0 m=17 k=40 n=16 accumulate=0 to_fp16=0 b_int8=0 dtype=fp16"
    )
    launch = Launch((parse(f"{line}\n{line}"),))
    trace = simulate_launches([launch], CHIP)
    assert ledger([launch], CHIP, trace, macs=5 * 4096).cycles_of("M", "ragged_fractals") == 7


def test_a_full_queue_names_the_pipe_that_fills_it(words):
    """Behind two slow instructions in the queue of V and one at work the load is out of reach."""
    columns, book = one(NARROW, words.load(1), *[words.work(255)] * 4, words.load(1))
    assert columns["S"]["queue_full"] > 200
    assert columns["MTE2"]["queue_full"] > 0
    assert book.queues[PIPE_NAMES.index("MTE2"), PIPE_NAMES.index("V")] == columns["MTE2"]["queue_full"]


def test_the_scalar_units_own_pace_is_dispatch(words):
    """Each instruction of one repeat takes V 4 cycles; 9 of a slow scalar unit lie between two."""
    slow = CHIP.with_figures("slow", dispatch_cycles=assumed(9, "cycles", "slower than the vector unit"))
    columns, _ = one(slow, *[words.work(1)] * 3)
    assert columns["V"]["dispatch"] == 2 * (9 - 4)
    assert columns["S"]["dispatch"] == 27


def test_a_barrier_waits_for_the_results_of_its_own_pipe(words):
    columns, _ = one(CHIP, words.work(100), words.pipe_barrier(words.V), words.work(100))
    assert columns["V"]["barrier"] == int(CHIP.vector_drain_cycles)
    assert columns["V"]["hand_off"] == 1


def test_a_barrier_of_all_pipes_holds_the_scalar_unit(words):
    columns, _ = one(CHIP, words.load(10), words.work(100), words.barrier, words.work(4))
    assert columns["S"]["barrier"] > 0
    assert columns["V"]["scalar_wait"] > 0


def test_blocks_start_one_after_the_other_and_wait_for_the_last(words):
    """Two equal blocks, 82 cycles apart: the first core waits behind, the second before."""
    program = words.program(words.work(100))
    book = charged([Launch((program, program), block_cycles=82)], CHIP)
    assert book.critical_core == 1
    assert book.cycles_of("V", "imbalance", 0) == book.cycles_of("V", "block_start", 1) == 82


def test_cores_share_the_device_memory(words):
    """32 cores load at once: beyond what each needs alone, they wait for each other."""
    loads = tuple(words.program(words.load(2000, s=core * 64000)) for core in range(32))
    alone = charged([Launch(loads[:1])], CHIP)
    together = charged([Launch(loads)], CHIP)
    assert alone.cycles_of("MTE2", "hbm_share") == alone.cycles_of("MTE2", "l2_share") == 0
    assert together.cycles_of("MTE2", "busy", 5) == alone.cycles_of("MTE2", "busy", 0)
    assert together.cycles_of("MTE2", "hbm_share") > 0


def test_short_bursts_waste_slots_of_the_bus(words):
    """32 bytes take the slot of 256, and addresses beside 512 bytes 10 / 7 of it."""
    columns, _ = one(CHIP, words.load(1, s=32))
    bus = 256 * 100 // 70
    flow = -(-bus // 110)
    assert columns["MTE2"]["short_bursts"] == flow * (bus - 32) // bus


def test_the_critical_path_leads_from_the_last_result_to_the_first_instruction(words):
    """A load, the flag of it, an addition: beside it a store of old data, which is done before."""
    lines = (
        words.load(160),
        words.set_flag(words.MTE2, words.V),
        words.store(1),
        words.wait_flag(words.MTE2, words.V),
        words.work(100),
    )
    _, book = one(CHIP, *(f"{line}  # kernel.py:{n}" for n, line in enumerate(lines, start=1)))
    found = {(step.pipe, step.cause, step.source): step.cycles for step in book.path}
    load = -(-160 * 32 // 110)
    assert found == {
        ("S", "dispatch", "kernel.py:1"): 1,
        ("MTE2", "transfer_head", "kernel.py:1"): 100,
        ("MTE2", "busy", "kernel.py:1"): load,
        ("MTE2", "hand_off", "kernel.py:2"): 1,
        ("V", "hand_off", "kernel.py:4"): 1,
        ("V", "busy", "kernel.py:5"): 100,
        ("V", "latency", "kernel.py:5"): int(CHIP.vector_drain_cycles),
    }


def test_the_critical_path_passes_a_full_queue(words):
    """The fourth addition has room when the second is at work, which the first one has to end for."""
    _, book = one(NARROW, *[words.work(255)] * 4, words.load(4000))
    path = {(step.pipe, step.cause): step.cycles for step in book.path}
    assert path["V", "busy"] == 255
    assert path["S", "dispatch"] == 3 + 3
    assert sum(path.values()) == book.cycles


def test_flags_are_paired_in_the_order_of_their_pipes(words):
    """The n-th set goes with the n-th wait, also where the wait comes first in the program."""
    there, back = (words.MTE2, words.V), (words.V, words.MTE2)
    program = words.program(
        words.set_flag(*there), words.wait_flag(*there), words.wait_flag(*back), words.set_flag(*back),
        words.wait_flag(*there), words.set_flag(*there), words.set_flag(*back),
    )  # fmt: skip
    assert partners(program).tolist() == [1, 0, 3, 2, 5, 4, -1]


def test_json_says_everything_by_name(words):
    _, book = one(CHIP, words.load(1), words.work(1))
    found = book.as_json()
    assert [each["name"] for each in found["causes"]] == list(NAMES) == [cause.name for cause in CAUSES]
    assert found["pipes"] == list(PIPE_NAMES)
    assert np.array(found["table"]).sum() == 6 * found["cores"] * found["cycles"]
    assert sum(found["mean"]["V"].values()) == found["cycles"]


def test_a_trace_of_other_launches_is_refused(words):
    ours, theirs = (Launch((words.program(*[words.work(4)] * n),)) for n in (1, 2))
    trace = simulate_launches([theirs], CHIP)
    with pytest.raises(DavinciError) as error:
        ledger([ours], CHIP, trace)
    assert str(error.value) == (
        "the trace is not one of these launches: the trace has 2 records, the launches have 1\n"
        "  rule: a ledger is made from launches and from the trace of the same launches\n"
        "  next: simulate the launches and give the ledger that trace"
    )


def test_times_that_cannot_be_are_refused(words):
    launch = Launch((words.program(words.work(4), words.work(4)),))
    trace = simulate_launches([launch], CHIP)
    records = trace.records.copy()
    records["start"][1] -= 1
    with pytest.raises(DavinciError, match="record 1 of block 0 starts before it could"):
        ledger([launch], CHIP, replace(trace, records=records))


def test_a_trace_from_another_content_of_l2_is_refused(narrow, words):
    launch, cache = Launch((words.program(words.load(4000)),)), new_l2(narrow)
    simulate_launches([launch], narrow, "fast", cache)
    warm = simulate_launches([launch], narrow, "fast", cache)
    with pytest.raises(DavinciError) as error:
        ledger([launch], narrow, warm)
    assert str(error.value) == (
        "the trace belongs to another content of L2\n"
        "  rule: a ledger is made from a trace and from what L2 held before it\n"
        "  next: simulate with new_l2(platform), and give the ledger another new_l2(platform)"
    )


def test_unknown_names_are_refused(words):
    _, book = one(CHIP, words.work(1))
    with pytest.raises(UnknownName, match="unknown pipe 'MTE4': did you mean"):
        book.cycles_of("MTE4", "busy")
    with pytest.raises(UnknownName, match="unknown cause 'flags': did you mean flag"):
        book.cycles_of("V", "flags")


class Observed:
    """When the SimPy definition takes each record from its queue: what the ledger finds out afterwards."""

    def __init__(self, programs, chip):
        self.taken = {}
        observer, run = self, Core.run

        def observed(core, record):
            observer.taken[core.number, record] = core.now
            return run(core, record)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Core, "run", observed)
            self.trace = simulate(programs, chip, engine="reference")

    def waits(self, core, pipe):
        """Return how long a pipe waits for records, for flags and for barriers between its works."""
        mine = self.trace.records[(self.trace.records["core"] == core) & (self.trace.records["pipe"] == pipe)]
        names = [self.trace.op_names[op] for op in mine["op"]]
        work = [at for at, name in enumerate(names) if name not in SYNC]
        late, flags, barriers = 0, 0, 0
        for at in range(work[0] + 1, work[-1] + 1) if work else ():
            taken = self.taken[core, int(mine["index"][at])]
            late += taken - int(mine["end"][at - 1])
            waited = int(mine["start"][at]) - taken
            flags += waited if names[at] == "wait_flag" else 0
            barriers += waited if names[at] == "pipe_barrier" else 0
        return late, flags, barriers


@settings(max_examples=25, deadline=None)
@given(st.lists(programs(), min_size=1, max_size=3), st.sampled_from([CHIP, NARROW]))
def test_what_pipes_wait_for_is_what_the_definition_shows(blocks, chip):
    """An observer in the SimPy model sees the same waits for records, flags and barriers."""
    seen = Observed(blocks, chip)
    book = ledger([Launch(tuple(blocks))], chip, seen.trace)
    kinds = (("dispatch", "queue_full", "scalar_wait"), ("flag", "buffer_full"), ("barrier",))
    for core in seen.trace.cores:
        for pipe in PIPE_NAMES[1:]:
            charged_to = tuple(sum(book.cycles_of(pipe, cause, core) for cause in kind) for kind in kinds)
            assert charged_to == seen.waits(core, int(Pipe[pipe]))
