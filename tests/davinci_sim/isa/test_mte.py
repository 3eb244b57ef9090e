"""Moves between spaces equal NumPy, with what happens to numbers on the way."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles, transfer_of
from davinci_sim.isa import (
    BF16,
    FP16,
    FP32,
    INT8,
    INT16,
    INT32,
    broadcast_ub_to_l0c,
    data_move,
    l0c_to_ub,
    set_2d,
)
from davinci_sim.isa.mte import MOVES
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

EXAMPLES = settings(max_examples=15)
CHIP = platform("ascend910a")


def fill(machine, space, seed):
    """Fill a space with random bytes and return them."""
    view = machine.view(space)
    view[:] = np.random.default_rng(seed).integers(0, 256, view.size).astype(np.uint8)
    return view.copy()


@pytest.mark.parametrize("way", MOVES, ids=lambda way: f"{Space(way[0])}-{Space(way[1])}")
@EXAMPLES
@given(
    nburst=st.integers(1, 9), burst=st.integers(1, 40), src_gap=st.integers(0, 9), dst_gap=st.integers(0, 9),
    seed=st.integers(0, 9), offset=st.sampled_from([0, 32, 3]),
)  # fmt: skip
def test_a_move_copies_its_runs_and_nothing_else(
    shared_machine, way, nburst, burst, src_gap, dst_gap, seed, offset
):
    """Addresses in device memory may be any byte; elsewhere they are multiples of 32."""
    source, target = Space(way[0]), Space(way[1])
    if source is not target:
        fill(shared_machine, target, seed + 1)
    data = fill(shared_machine, source, seed)
    want = shared_machine.view(target).copy()
    start = offset if source is Space.GM else offset // 32 * 32
    end = 65536 + (offset if target is Space.GM else 0)
    for run in range(nburst):
        s, d = start + run * (burst + src_gap) * 32, end + run * (burst + dst_gap) * 32
        want[d : d + burst * 32] = data[s : s + burst * 32]
    shared_machine.run(
        data_move, dst=shared_machine.handle(target, end), src=shared_machine.handle(source, start),
        nburst=nburst, burst_len=burst, src_gap=src_gap, dst_gap=dst_gap,
    )  # fmt: skip
    assert np.array_equal(shared_machine.view(target), want)


@pytest.mark.parametrize("distance", [-64, -32, 0, 32, 96, 320])
def test_a_run_that_overlaps_its_target_arrives_as_it_was(machine, distance):
    data = fill(machine, Space.UB, 0)
    machine.run(
        data_move, dst=machine.handle(Space.UB, 1024 + distance), src=machine.handle(Space.UB, 1024),
        nburst=1, burst_len=10,
    )  # fmt: skip
    assert np.array_equal(machine.view(Space.UB)[1024 + distance :][:320], data[1024 : 1024 + 320])


@EXAMPLES
@given(
    nburst=st.integers(1, 4), burst=st.integers(1, 5), src_gap=st.integers(0, 3), dst_gap=st.integers(0, 3),
    atomic=st.booleans(), offset=st.sampled_from([0, 32, 3]),
)  # fmt: skip
def test_a_move_says_which_bytes_it_touches(shared_machine, nburst, burst, src_gap, dst_gap, atomic, offset):
    """The runs, not the gaps; an atomic move reads what it adds to."""
    src, dst = shared_machine.handle(Space.UB, 64), shared_machine.handle(Space.GM, offset)
    touched = shared_machine.touched(
        data_move, dst=dst, src=src, nburst=nburst, burst_len=burst, src_gap=src_gap, dst_gap=dst_gap,
        atomic=int(atomic), dtype=FP32,
    )  # fmt: skip
    read = {src + r * (burst + src_gap) * 32 + byte for r in range(nburst) for byte in range(burst * 32)}
    written = {dst + r * (burst + dst_gap) * 32 + byte for r in range(nburst) for byte in range(burst * 32)}
    assert touched == {READ: read, WRITTEN: written, FORWARDED: written if atomic else set()}


ATOMIC = [
    (FP32, np.float32), (FP16, np.float16), (BF16, ml_dtypes.bfloat16), (INT32, np.int32), (INT16, np.int16),
    (INT8, np.int8),
]  # fmt: skip


@pytest.mark.parametrize(("code", "numbers"), ATOMIC, ids=[np.dtype(n).name for _, n in ATOMIC])
@pytest.mark.parametrize("offset", [0, 3])
def test_an_atomic_move_adds_to_what_is_there(machine, code, numbers, offset):
    """In its own type, rounded to nearest even; what lies beside the runs stays as it is."""
    generator = np.random.default_rng(offset)
    made = [
        (generator.standard_normal(3 * 32 // np.dtype(numbers).itemsize) * 50).astype(numbers)
        for _ in range(2)
    ]
    there, more = made
    more[0] = there[0] if np.dtype(numbers).kind == "i" else np.float32(np.inf)
    machine.gm[:] = 9
    machine.gm[offset : offset + 96] = there.view(np.uint8)
    machine.view(Space.UB)[:96] = more.view(np.uint8)
    machine.run(
        data_move, dst=machine.handle(Space.GM, offset), src=machine.handle(Space.UB), nburst=1, burst_len=3,
        atomic=1, dtype=code,
    )  # fmt: skip
    want = (there + more).astype(numbers)
    assert np.array_equal(machine.gm[offset : offset + 96], want.view(np.uint8))
    assert (machine.gm[offset + 96 :][:64] == 9).all()
    assert (machine.gm[:offset] == 9).all()


def test_atomic_sums_of_bfloat16_that_are_no_numbers_stay_none(machine):
    """Infinity less infinity is NaN, whatever rounding does to its bits."""
    there, more = (np.full(16, value, ml_dtypes.bfloat16) for value in (np.inf, -np.inf))
    machine.gm[:32], machine.view(Space.UB)[:32] = there.view(np.uint8), more.view(np.uint8)
    machine.run(
        data_move, dst=machine.handle(Space.GM), src=machine.handle(Space.UB), nburst=1, burst_len=1,
        atomic=1, dtype=BF16,
    )  # fmt: skip
    assert np.isnan(machine.gm[:32].view(ml_dtypes.bfloat16).astype(np.float32)).all()


def test_an_atomic_move_must_end_in_device_memory_and_name_its_numbers(machine):
    """The rules say where, and which types there are."""
    ub, gm = machine.handle(Space.UB), machine.handle(Space.GM)
    machine.emit(data_move, dst=ub, src=gm, nburst=1, burst_len=1, atomic=1, dtype=FP32)
    assert machine.rule(data_move) == "atomic = 1 adds in GM; dst must live there"
    machine.emit(data_move, dst=gm, src=ub, nburst=1, burst_len=1, atomic=1)
    assert machine.rule(data_move).startswith("atomic = 1 takes the type of the numbers: fp32, ")


def test_atomic_moves_get_half_of_the_bandwidth(machine):
    """Bus time doubles, and with it what the move takes beyond its head."""
    costs = costs_of(CHIP)
    sizes, times = [], []
    for atomic in (0, 1):
        words = machine.emit(
            data_move, dst=machine.handle(Space.GM), src=machine.handle(Space.UB), nburst=1, burst_len=512,
            atomic=atomic, dtype=FP32,
        )  # fmt: skip
        sizes.append(transfer_of(words, 0, costs).bus_bytes)
        times.append(int(count_cycles(words, costs)[0]) - CHIP.gm_write_head_cycles)
    assert sizes == [512 * 32, 2 * 512 * 32]
    assert times == [256, 512]


ACCUMULATORS = [
    pytest.param((FP32, np.float32, 0, 1), id="fp32"),
    pytest.param((FP32, np.float32, 1, 1), id="fp32-fp16"),
    pytest.param((INT32, np.int32, 0, 1), id="int32"),
    pytest.param((INT32, np.int32, 1, 0.37), id="int32-fp16"),
    pytest.param((FP16, np.float16, 0, 1), id="fp16"),
    pytest.param((FP16, np.float16, 1, 1.7), id="fp16-fp16"),
]


@pytest.mark.parametrize("case", ACCUMULATORS)
@EXAMPLES
@given(
    nburst=st.integers(1, 4), burst=st.integers(1, 4), src_gap=st.integers(0, 3), dst_gap=st.integers(0, 3),
    relu=st.integers(0, 1),
)  # fmt: skip
def test_accumulators_leave_as_they_are_or_converted(
    shared_machine, case, nburst, burst, src_gap, dst_gap, relu
):
    """Negative ones may become zero, integers and halves be scaled."""
    code, numbers, to_fp16, scale = case
    source = shared_machine.view(Space.L0C, numbers)
    source[:] = np.random.default_rng(burst).standard_normal(source.size) * 100
    values = np.where(source < 0, numbers(0), source) if relu else source
    if scale != 1:
        values = values.astype(np.float32) * np.float32(scale)
    out_type = np.float16 if to_fp16 else numbers
    out = shared_machine.view(Space.UB, out_type)
    out[:] = 1
    want = out.copy()
    run, gap = burst * 256, dst_gap * 32 // want.itemsize
    for index in range(nburst):
        s, d = index * (burst + src_gap) * 256, index * (run + gap)
        want[d : d + run] = values[s : s + run].astype(out_type)
    given = {
        "dst": shared_machine.handle(Space.UB), "src": shared_machine.handle(Space.L0C), "nburst": nburst,
        "burst_len": burst, "src_gap": src_gap, "dst_gap": dst_gap, "to_fp16": to_fp16, "relu": relu,
        "scale": scale, "dtype": code,
    }  # fmt: skip
    shared_machine.run(l0c_to_ub, **given)
    assert np.array_equal(out, want)


def test_accumulators_of_halves_take_half_the_time_and_half_the_bytes(machine):
    """A fractal of them has 512 bytes, and may begin at any multiple of that."""
    ub, c = machine.handle(Space.UB), machine.handle(Space.L0C, 512)
    words = machine.emit(l0c_to_ub, dst=ub, src=c, nburst=1, burst_len=4, dtype=FP16)
    assert count_cycles(words, costs_of(CHIP))[0] == 4 * 512 // CHIP.l0c_to_ub_bytes_per_cycle
    touched = machine.touched(l0c_to_ub, dst=ub, src=c, nburst=2, burst_len=1, src_gap=1, dtype=FP16)
    assert touched[READ] == {c + f * 1024 + byte for f in range(2) for byte in range(512)}
    assert touched[WRITTEN] == {ub + byte for byte in range(1024)}
    machine.emit(l0c_to_ub, dst=ub, src=c, nburst=1, burst_len=4, dtype=FP32)
    assert machine.rule(l0c_to_ub) == "src must be aligned to 1024 bytes, a fractal of four-byte accumulators"
    machine.emit(l0c_to_ub, dst=ub, src=c - 512, nburst=1, burst_len=4, scale=2)
    assert machine.rule(l0c_to_ub) == "a scale goes with to_fp16 = 1 of int32 or fp16"


@pytest.mark.parametrize(("code", "numbers"), [(FP32, np.float32), (INT32, np.int32), (FP16, np.float16)])
@EXAMPLES
@given(nburst=st.integers(1, 5), burst=st.integers(1, 5), src_gap=st.integers(0, 3), gap=st.integers(0, 3))
def test_each_row_becomes_an_accumulator_fractal(shared_machine, code, numbers, nburst, burst, src_gap, gap):
    """16 rows that all equal it; gaps are blocks in UB, fractals in L0C."""
    row_bytes = 16 * np.dtype(numbers).itemsize
    source = fill(shared_machine, Space.UB, burst)
    out = shared_machine.view(Space.L0C)
    out[:] = 7
    src, dst = shared_machine.handle(Space.UB), shared_machine.handle(Space.L0C)
    given = {
        "dst": dst, "src": src, "nburst": nburst, "burst_len": burst, "src_gap": src_gap, "dst_gap": gap,
        "dtype": code,
    }  # fmt: skip
    shared_machine.run(broadcast_ub_to_l0c, **given)
    want = np.full((nburst, burst + gap, 16, row_bytes), 7, np.uint8)
    for run in range(nburst):
        start = run * (burst * row_bytes + src_gap * 32)
        rows = source[start : start + burst * row_bytes].reshape(burst, 1, row_bytes)
        want[run, :burst] = rows
    assert np.array_equal(out[: want.size], want.reshape(-1))
    touched = shared_machine.touched(broadcast_ub_to_l0c, **given)
    assert len(touched[READ]) == nburst * burst * row_bytes
    assert len(touched[WRITTEN]) == nburst * burst * row_bytes * 16


@pytest.mark.parametrize("space", [Space.L1, Space.L0A, Space.L0B])
@pytest.mark.parametrize(("code", "value", "bits"), [(FP16, 1.5, 0x3E00), (INT16, -2, 0xFFFE)])
def test_memory_is_filled_with_one_number(machine, space, code, value, bits):
    """In steps of 512 bytes; L1 by MTE2, the others by MTE1."""
    out = machine.view(space, np.uint16)
    out[:] = 7
    where = machine.handle(space, 512)
    words = machine.emit(set_2d, dst=where, repeat=3, value=value, dtype=code)
    assert machine.execute(words) == -1
    assert (out[256 : 4 * 256] == bits).all()
    assert (out[:256] == 7).all()
    assert (out[4 * 256 :] == 7).all()
    assert int(words[0, 0]) >> 8 & 255 == (Pipe.MTE2 if space is Space.L1 else Pipe.MTE1)
    assert machine.touched(set_2d, dst=where, repeat=3)[WRITTEN] == {where + byte for byte in range(3 * 512)}


def test_short_bursts_fill_whole_slots_of_the_bus(machine):
    """Packets of 8, 4, 3, 2 and 1 blocks take a slot of 8 blocks each."""
    costs = costs_of(CHIP)
    slots = {}
    for burst in (1, 2, 3, 4, 5, 7, 8, 9, 16, 21):
        words = machine.emit(
            data_move, dst=machine.handle(Space.UB), src=machine.handle(Space.GM), nburst=2, burst_len=burst,
            src_gap=-burst % 16,
        )  # fmt: skip
        slots[burst] = transfer_of(words, 0, costs).bus_bytes // CHIP.gm_packet_slot_bytes
    assert slots == {1: 2, 2: 2, 3: 2, 4: 2, 5: 4, 7: 4, 8: 2, 9: 4, 16: 4, 21: 8}


def test_a_transfer_takes_a_head_and_its_bytes_over_the_path(machine):
    """The least that it can take; the path depends on the space."""
    costs = costs_of(CHIP)
    least = {}
    for space in (Space.UB, Space.L1):
        words = machine.emit(
            data_move, dst=machine.handle(space), src=machine.handle(Space.GM), nburst=1, burst_len=1024
        )
        least[space] = int(count_cycles(words, costs)[0]) - CHIP.gm_read_head_cycles
    assert least == {
        Space.UB: -(-1024 * 32 // CHIP.gm_to_ub_bytes_per_cycle),
        Space.L1: -(-1024 * 32 // CHIP.gm_to_l1_bytes_per_cycle),
    }


@pytest.mark.parametrize(
    ("address", "gap", "slow"), [(0, 0, 0), (32, 0, 4), (0, 16, 0), (0, 8, 2), (512, 15, 3)]
)
def test_runs_beside_a_512_byte_boundary_are_slower(machine, address, gap, slow):
    """Each of four runs of 512 bytes that begins beside one gets 70 % of the bandwidth."""
    words = machine.emit(
        data_move, dst=machine.handle(Space.UB), src=machine.handle(Space.GM, address), nburst=4,
        burst_len=16, src_gap=gap,
    )  # fmt: skip
    transfer = transfer_of(words, 0, costs_of(CHIP))
    assert transfer.bus_bytes == (4 - slow) * 512 + slow * 512 * 100 // CHIP.gm_unaligned_percent
    assert (transfer.address, transfer.run_bytes, transfer.runs) == (address, 512, 4)
    assert (transfer.stride_bytes, transfer.is_write) == (512 + gap * 32, 0)


def test_a_move_inside_the_core_takes_its_bytes_over_the_width_of_the_path(machine):
    costs = costs_of(CHIP)
    words = machine.emit(
        data_move, dst=machine.handle(Space.UB), src=machine.handle(Space.L1), nburst=3, burst_len=5
    )
    assert count_cycles(words, costs)[0] == -(-3 * 5 * 32 // CHIP.l1_to_ub_bytes_per_cycle)
    assert transfer_of(words, 0, costs).bus_bytes == 0
