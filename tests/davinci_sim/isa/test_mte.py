"""Moves between spaces, fractal loads and img2col equal NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles
from davinci_sim.isa import broadcast_ub_to_l0c, data_move, l0c_to_ub, load2d, load3d
from davinci_sim.isa.mte import MOVES
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


@pytest.mark.parametrize("code", [1, 2], ids=["fp32", "int32"])
@EXAMPLES
@given(
    nburst=st.integers(1, 4), burst=st.integers(1, 4), src_gap=st.integers(0, 3), dst_gap=st.integers(0, 3),
    to_fp16=st.integers(0, 1),
)  # fmt: skip
def test_accumulators_leave_as_they_are_or_as_halves(
    shared_machine, code, nburst, burst, src_gap, dst_gap, to_fp16
):
    source = shared_machine.view(Space.L0C, np.float32)
    source[:] = np.random.default_rng(burst).standard_normal(source.size)
    out_type = np.float16 if to_fp16 else np.float32
    out = shared_machine.view(Space.UB, out_type)
    out[:] = 1
    want = out.copy()
    run, gap = burst * 256, dst_gap * 32 // want.itemsize
    for index in range(nburst):
        s, d = index * (burst + src_gap) * 256, index * (run + gap)
        want[d : d + run] = source[s : s + run]
    shared_machine.run(
        l0c_to_ub, dst=shared_machine.handle(Space.UB), src=shared_machine.handle(Space.L0C), nburst=nburst,
        burst_len=burst, src_gap=src_gap, dst_gap=dst_gap, to_fp16=to_fp16, dtype=code,
    )  # fmt: skip
    assert np.array_equal(out, want)


@EXAMPLES
@given(nburst=st.integers(1, 5), burst=st.integers(1, 5), gap=st.integers(0, 3))
def test_a_row_is_repeated_over_accumulator_fractals(shared_machine, nburst, burst, gap):
    rows = shared_machine.view(Space.UB, np.float32)[: nburst * 16].reshape(nburst, 16)
    rows[:] = np.random.default_rng(gap).standard_normal(rows.shape)
    out = shared_machine.view(Space.L0C, np.float32)
    out[:] = 0
    shared_machine.run(
        broadcast_ub_to_l0c, dst=shared_machine.handle(Space.L0C), src=shared_machine.handle(Space.UB),
        nburst=nburst, burst_len=burst, dst_gap=gap,
    )  # fmt: skip
    want = np.zeros((nburst, burst + gap, 16, 16), np.float32)
    want[:, :burst] = rows[:, None, None, :]
    assert np.array_equal(out[: want.size], want.reshape(-1))


@pytest.mark.parametrize("target", [Space.L0A, Space.L0B])
@EXAMPLES
@given(
    repeat=st.integers(1, 60),
    stride=st.integers(0, 5),
    transpose=st.integers(0, 1),
    code=st.sampled_from([0, 3]),
)
def test_fractals_are_loaded_and_halves_transposed_on_the_way(
    shared_machine, target, repeat, stride, transpose, code
):
    """Bytes are never transposed."""
    data = fill(shared_machine, Space.L1, repeat).view(np.uint16).reshape(-1, 16, 16)
    shared_machine.run(
        load2d, dst=shared_machine.handle(target), src=shared_machine.handle(Space.L1), repeat=repeat,
        src_stride=stride, transpose=transpose, dtype=code,
    )  # fmt: skip
    fractals = data[np.arange(repeat) * stride]
    want = fractals.transpose(0, 2, 1) if transpose and code == 0 else fractals
    got = shared_machine.view(target, np.uint16)[: repeat * 256]
    assert np.array_equal(got, want.reshape(-1))


def unfolded(image, kernel, stride, pad, dilation):
    """Return img2col of image[c1, h, w, 16] as matrix[position, c1 * kh * kw, 16]."""
    (kh, kw), (top, bottom, left, right) = kernel, pad
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
    reach = ((kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    taken = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]  # c1 oh ow 16 kh kw
    ordered = taken.transpose(1, 2, 0, 4, 5, 3)
    return ordered.reshape(ordered.shape[0] * ordered.shape[1], -1, 16)


@st.composite
def windows(draw):
    """Draw a feature map and how windows move over it; at least one fits."""
    shape = {"fm_h": draw(st.integers(1, 12)), "fm_w": draw(st.integers(1, 12))}
    names = ("filter_h", "filter_w", "stride_h", "stride_w", "dilation_h", "dilation_w")
    shape |= {name: draw(st.integers(1, 3)) for name in names}
    shape |= {f"pad_{side}": draw(st.integers(0, 3)) for side in ("left", "right", "top", "bottom")}
    assume(
        shape["fm_h"] + shape["pad_top"] + shape["pad_bottom"] > (shape["filter_h"] - 1) * shape["dilation_h"]
    )
    assume(
        shape["fm_w"] + shape["pad_left"] + shape["pad_right"] > (shape["filter_w"] - 1) * shape["dilation_w"]
    )
    return shape


@pytest.mark.parametrize("target", [Space.L0A, Space.L0B])
@settings(EXAMPLES, max_examples=60)
@given(
    shape=windows(), choice=st.data(), along_m=st.integers(0, 1), jump=st.integers(1, 2), c1=st.integers(1, 3)
)
def test_img2col_equals_numpy(shared_machine, target, shape, choice, along_m, jump, c1):
    """Fractals of 16 positions of one kernel element, zero in the padding and beyond the last position."""
    image = (
        np.random.default_rng(c1).standard_normal((c1, shape["fm_h"], shape["fm_w"], 16)).astype(np.float16)
    )
    shared_machine.view(Space.L1, np.float16)[: image.size] = image.reshape(-1)
    pad = tuple(shape[f"pad_{side}"] for side in ("top", "bottom", "left", "right"))
    pairs = [(shape[f"{name}_h"], shape[f"{name}_w"]) for name in ("filter", "stride", "dilation")]
    matrix = unfolded(image, pairs[0], pairs[1], pad, pairs[2])
    positions, elements = matrix.shape[:2]
    position = choice.draw(st.integers(0, positions - 1))
    k_start = choice.draw(st.integers(0, elements - 1))
    repeat = (
        choice.draw(st.integers(1, 6))
        if along_m
        else choice.draw(st.integers(1, min(12, elements - k_start)))
    )
    out = shared_machine.view(target, np.float16)
    out[:] = 7
    want = np.full((repeat, jump, 16, 16), 7, np.float16)
    rows = np.concatenate([matrix, np.zeros((repeat * 16 + 16, elements, 16), np.float16)])
    for index in range(repeat):
        first, k = position + 16 * index * along_m, k_start + index * (1 - along_m)
        tile = rows[first : first + 16, k]
        want[index, 0] = tile.T if target is Space.L0B else tile
    shared_machine.run(
        load3d, dst=shared_machine.handle(target), src=shared_machine.handle(Space.L1), **shape,
        position=position, k_start=k_start, repeat=repeat, jump=jump, along_m=along_m,
    )  # fmt: skip
    assert np.array_equal(out[: want.size], want.reshape(-1))


def test_short_bursts_fill_whole_slots_of_the_bus(machine):
    """Packets of 8, 4, 3, 2 and 1 blocks take a slot of 8 blocks each."""
    costs = costs_of(CHIP)
    slots = {}
    for burst in (1, 2, 3, 4, 5, 7, 8, 9, 16, 21):
        words = machine.emit(
            data_move, dst=machine.handle(Space.UB), src=machine.handle(Space.GM), nburst=2, burst_len=burst
        )
        slots[burst] = int(count_cycles(words, costs)[1][0]) // CHIP.gm_packet_slot_bytes
    assert slots == {1: 2, 2: 2, 3: 2, 4: 2, 5: 4, 7: 4, 8: 2, 9: 4, 16: 4, 21: 8}


def test_the_head_of_a_transfer_is_hidden_behind_long_ones(machine):
    """A short one waits the whole head; a longer one never ends earlier than a shorter one."""
    costs = costs_of(CHIP)
    heads, ends = [], []
    for blocks in (1, 256, 512, 560, 600, 640, 4096):
        words = machine.emit(
            data_move, dst=machine.handle(Space.UB), src=machine.handle(Space.GM), nburst=1, burst_len=blocks
        )
        cycles, traffic = count_cycles(words, costs)
        heads.append(int(cycles[0]))
        ends.append(heads[-1] + int(traffic[0]) // CHIP.gm_read_bytes_per_cycle)
    assert (heads[0], heads[-1]) == (CHIP.gm_head_cycles, 0)
    assert heads == sorted(heads, reverse=True)
    assert ends == sorted(ends)


def test_a_move_inside_the_core_takes_its_bytes_over_the_width_of_the_path(machine):
    costs = costs_of(CHIP)
    words = machine.emit(
        data_move, dst=machine.handle(Space.UB), src=machine.handle(Space.L1), nburst=3, burst_len=5
    )
    cycles, traffic = count_cycles(words, costs)
    assert (int(cycles[0]), int(traffic[0])) == (-(-3 * 5 * 32 // CHIP.l1_to_ub_bytes_per_cycle), 0)
