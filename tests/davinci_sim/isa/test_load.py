"""Fractal loads and img2col equal NumPy, touch what they say, and take the published cycles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles, transfer_of
from davinci_sim.isa import FP16, FP32, INT8, INT16, UINT8, Pipe, load2d, load3d
from davinci_sim.isa.region import READ, WRITTEN
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

EXAMPLES = settings(max_examples=15)
CHIP = platform("ascend910a")
TARGETS = pytest.mark.parametrize("target", [Space.L0A, Space.L0B])


def fill(machine, space, seed):
    """Fill a space with random bytes and return them."""
    view = machine.view(space)
    view[:] = np.random.default_rng(seed).integers(0, 256, view.size).astype(np.uint8)
    return view.copy()


@TARGETS
@pytest.mark.parametrize("source", [Space.L1, Space.GM])
@EXAMPLES
@given(
    repeat=st.integers(1, 40), stride=st.integers(0, 5), transpose=st.booleans(),
    places=st.tuples(st.integers(0, 2), st.integers(0, 3)), code=st.sampled_from([FP16, INT8, FP32, INT16]),
)  # fmt: skip
def test_fractals_are_loaded_and_those_of_16_bits_transposed_on_the_way(
    shared_machine, target, source, repeat, stride, transpose, places, code
):
    """From L1 by MTE1, from device memory by MTE2 and never transposed."""
    gap, start = places
    transposes = transpose and code in (FP16, INT16) and source is Space.L1
    data = fill(shared_machine, source, repeat).view(np.uint16).reshape(-1, 16, 16)
    out = shared_machine.view(target, np.uint16)
    out[:] = 7
    src, dst = shared_machine.handle(source), shared_machine.handle(target)
    given = {
        "dst": dst, "src": src, "repeat": min(repeat, 128 // (1 + gap)), "src_stride": stride,
        "transpose": int(transposes), "dst_gap": gap, "start": start, "dtype": code,
    }  # fmt: skip
    shared_machine.run(load2d, **given)
    places = start + np.arange(given["repeat"]) * stride
    want = np.full((given["repeat"], 1 + gap, 16, 16), 7, np.uint16)
    want[:, 0] = data[places].transpose(0, 2, 1) if transposes else data[places]
    assert np.array_equal(out[: want.size], want.reshape(-1)[: out.size])
    touched = shared_machine.touched(load2d, **given)
    assert touched[READ] == {src + int(f) * 512 + byte for f in places for byte in range(512)}
    assert touched[WRITTEN] == {
        dst + f * (1 + gap) * 512 + byte for f in range(given["repeat"]) for byte in range(512)
    }


def test_a_load_from_device_memory_is_one_of_mte2(machine):
    """It takes bus time: fractals of two slots each."""
    words = machine.emit(load2d, dst=machine.handle(Space.L0A), src=machine.handle(Space.GM), repeat=32)
    assert int(words[0, 0]) >> 8 & 255 == Pipe.MTE2
    transfer = transfer_of(words, 0, costs_of(CHIP))
    assert (transfer.run_bytes, transfer.runs, transfer.stride_bytes) == (512, 32, 512)
    assert transfer.bus_bytes == 32 * 512
    least = CHIP.gm_read_head_cycles + -(-32 * 512 // CHIP.gm_to_l0_bytes_per_cycle)
    assert count_cycles(words, costs_of(CHIP))[0] == least


def test_only_numbers_of_16_bits_are_transposed_and_only_from_l1(machine):
    """The rules say so."""
    l0a, l1, gm = (machine.handle(space) for space in (Space.L0A, Space.L1, Space.GM))
    machine.emit(load2d, dst=l0a, src=l1, repeat=1, transpose=1, dtype=INT8)
    assert machine.rule(load2d) == "transpose = 1 takes numbers of 16 bits: fp16, bf16, int16, uint16"
    machine.emit(load2d, dst=l0a, src=gm, repeat=1, transpose=1)
    assert machine.rule(load2d) == "transpose = 1 works from L1; a load from GM keeps fractals"


@pytest.mark.parametrize(("target", "repeat", "cycles"), [(Space.L0A, 7, 7 + 10), (Space.L0B, 7, 14 + 10)])
def test_a_load_takes_one_cycle_a_fractal_into_l0a_and_two_into_l0b(machine, target, repeat, cycles):
    """Behind the published head of ten."""
    words = machine.emit(load2d, dst=machine.handle(target), src=machine.handle(Space.L1), repeat=repeat)
    assert count_cycles(words, costs_of(CHIP))[0] == cycles


def unfolded(image, kernel, stride, pad, dilation):
    """Return img2col of image[c1, h, w, c0] as matrix[position, c1 * kh * kw, c0]."""
    (kh, kw), (top, bottom, left, right) = kernel, pad
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
    reach = ((kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    taken = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]  # c1 oh ow c0 kh kw
    ordered = taken.transpose(1, 2, 0, 4, 5, 3)
    return ordered.reshape(ordered.shape[0] * ordered.shape[1], -1, image.shape[3])


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


@TARGETS
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


SEEN = {
    "fm_h": 9, "fm_w": 7, "pad_left": 1, "pad_right": 1, "pad_top": 1, "pad_bottom": 1, "filter_h": 3,
    "filter_w": 3, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1,
}  # fmt: skip


def outputs(shape, axis, pads):
    """Return how many windows fit one axis."""
    room = shape[f"fm_{axis}"] + sum(shape[f"pad_{side}"] for side in pads)
    return (room - (shape[f"filter_{axis}"] - 1) * shape[f"dilation_{axis}"] - 1) // shape[
        f"stride_{axis}"
    ] + 1


def places(shape, positions, elements):
    """Return the (c1, h, w) that output positions see of kernel elements, those in the padding too."""
    out_h, out_w = outputs(shape, "h", ("top", "bottom")), outputs(shape, "w", ("left", "right"))
    found = set()
    for position in (position for position in positions if position < out_h * out_w):
        oh, ow = divmod(position, out_w)
        for k in elements:
            group, element = divmod(k, shape["filter_h"] * shape["filter_w"])
            kh, kw = divmod(element, shape["filter_w"])
            h = oh * shape["stride_h"] - shape["pad_top"] + kh * shape["dilation_h"]
            w = ow * shape["stride_w"] - shape["pad_left"] + kw * shape["dilation_w"]
            found.add((group, h, w))
    return found


def pixels(shape, positions, elements):
    """Return the places that lie in the feature map."""
    found = places(shape, positions, elements)
    return {(g, h, w) for g, h, w in found if 0 <= h < shape["fm_h"] and 0 <= w < shape["fm_w"]}


def seen(machine, shape, **given):
    """Return the (c1, h, w) that an instruction says it reads; each is read whole."""
    src = machine.handle(Space.L1, 64)
    touched = machine.touched(load3d, dst=machine.handle(Space.L0A), src=src, **shape, **given)
    blocks = {(byte - src) // 32 for byte in touched[READ]}
    assert len(touched[READ]) == 32 * len(blocks)
    plane = shape["fm_h"] * shape["fm_w"]
    return {(block // plane, block % plane // shape["fm_w"], block % shape["fm_w"]) for block in blocks}


@settings(EXAMPLES, max_examples=80)
@given(shape=windows(), position=st.integers(0, 60), k=st.integers(0, 20), repeat=st.integers(1, 6))
def test_along_positions_exactly_the_pixels_that_are_read_are_said(
    shared_machine, shape, position, k, repeat
):
    """With any pad, stride and dilation; none beyond the last position."""
    said = seen(shared_machine, shape, position=position, k_start=k, repeat=repeat, jump=1, along_m=1)
    assert said == pixels(shape, range(position, position + 16 * repeat), [k])


@settings(EXAMPLES, max_examples=80)
@given(shape=windows(), position=st.integers(0, 60), k=st.integers(0, 20), repeat=st.integers(1, 30))
def test_along_k_the_pixels_that_are_said_hold_those_that_are_read(
    shared_machine, shape, position, k, repeat
):
    """They lie within the rows and columns that are read."""
    said = seen(shared_machine, shape, position=position, k_start=k, repeat=repeat, jump=1, along_m=0)
    read = pixels(shape, range(position, position + 16), range(k, k + repeat))
    assert read <= said
    kernel = shape["filter_h"] * shape["filter_w"]
    elements = range(k // kernel * kernel, (k + repeat + kernel - 1) // kernel * kernel)
    around = places(shape, range(position, position + 16), elements)
    for axis in range(3):
        reach = {place[axis] for place in around}
        assert {place[axis] for place in said} <= set(
            range(min(reach, default=0), max(reach, default=-1) + 1)
        )


def test_along_k_whole_dense_windows_are_exact(machine):
    """All elements of a 3 x 3 window, of one channel group and of three."""
    for groups in (1, 3):
        said = seen(machine, SEEN, position=20, k_start=9, repeat=9 * groups, jump=1, along_m=0)
        assert said == pixels(SEEN, range(20, 36), range(9, 9 + 9 * groups))


@pytest.mark.parametrize(("code", "bits"), [(FP16, 0x3C00), (INT8, 0x05), (UINT8, 0xFF)])
def test_the_padding_may_hold_a_number(machine, code, bits):
    """Of 16 bits or of 8; positions past the end stay zero."""
    machine.view(Space.L1)[: 9 * 7 * 32] = 3
    machine.run(
        load3d, dst=machine.handle(Space.L0A), src=machine.handle(Space.L1), **SEEN, position=56, k_start=0,
        repeat=1, jump=1, along_m=1, pad_value=bits, dtype=code,
    )  # fmt: skip
    got = machine.view(Space.L0A)[:512].reshape(16, 32)
    padding = np.full(16, bits if code == FP16 else bits * 257, np.uint16).view(np.uint8)
    assert np.array_equal(got[0], padding)  # position 56 is column 0, whose window begins left of the map
    assert (got[1:7] == 3).all()
    assert (got[7:] == 0).all()


def test_bytes_are_unfolded_as_blocks_of_32_channels(machine):
    """The bytes of int8 and of fp16 move alike into L0A; into L0B only 16-bit numbers go."""
    fill(machine, Space.L1, 3)
    fractals = []
    for code in (FP16, INT8):
        machine.run(
            load3d, dst=machine.handle(Space.L0A), src=machine.handle(Space.L1), **SEEN, position=0,
            k_start=4, repeat=2, jump=1, along_m=1, dtype=code,
        )  # fmt: skip
        fractals.append(machine.view(Space.L0A)[:1024].copy())
    assert np.array_equal(*fractals)
    machine.emit(
        load3d, dst=machine.handle(Space.L0B), src=machine.handle(Space.L1), **SEEN, position=0,
        k_start=4, repeat=2, jump=1, along_m=1, dtype=INT8,
    )  # fmt: skip
    assert machine.rule(load3d).startswith("dst of bytes must live in L0A")


def test_a_window_larger_than_the_padded_map_is_refused(machine):
    """The rule has the sum that counts."""
    machine.emit(
        load3d, dst=machine.handle(Space.L0A), src=machine.handle(Space.L1), **{**SEEN, "dilation_h": 6},
        position=0, k_start=0, repeat=1, jump=1, along_m=1,
    )  # fmt: skip
    assert machine.rule(load3d) == (
        "a window must fit the feature map: (filter_h - 1) * dilation_h < fm_h + pad_top + pad_bottom"
    )


@pytest.mark.parametrize(
    ("target", "stride_w", "repeat", "along_m", "cycles"),
    [
        (Space.L0A, 1, 40, 1, 40 + 15),
        (Space.L0A, 2, 40, 1, 80 + 15),
        (Space.L0B, 1, 40, 1, 80 + 15),
        (Space.L0B, 3, 40, 1, 120 + 15),
        (Space.L0A, 1, 2, 1, 2 + 15),
        (Space.L0A, 1, 2, 0, 25),
        (Space.L0A, 1, 40, 0, 40 + 15),
    ],
)
def test_an_unfolding_takes_its_stride_a_fractal(machine, target, stride_w, repeat, along_m, cycles):
    """Into L0B at least the two cycles of its path; along k at least 25."""
    words = machine.emit(
        load3d, dst=machine.handle(target), src=machine.handle(Space.L1), **{**SEEN, "stride_w": stride_w},
        position=0, k_start=0, repeat=repeat, jump=1, along_m=along_m,
    )  # fmt: skip
    assert count_cycles(words, costs_of(CHIP))[0] == cycles


def few_channels(image, shape):
    """Return img2col of image[h, w, 4] as matrix[position, fractal, 16] of (kh, kw, 4), padded with zeros."""
    pad = tuple(shape[f"pad_{side}"] for side in ("top", "bottom", "left", "right"))
    pairs = [(shape[f"{name}_h"], shape[f"{name}_w"]) for name in ("filter", "stride", "dilation")]
    matrix = unfolded(image[None], pairs[0], pairs[1], pad, pairs[2]).reshape(
        -1, pairs[0][0] * pairs[0][1], 4
    )
    padded = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % 4), (0, 0)))
    return padded.reshape(len(matrix), -1, 16)


@TARGETS
@settings(EXAMPLES, max_examples=60)
@given(shape=windows(), choice=st.data(), along_m=st.integers(0, 1))
def test_four_elements_of_four_channels_make_a_fractal(shared_machine, target, shape, choice, along_m):
    """With c_size = 1, whatever the window; every byte that is needed is said to be read, none beyond."""
    size = shape["fm_h"] * shape["fm_w"] * 4
    image = np.random.default_rng(size).standard_normal(size).astype(np.float16)
    shared_machine.view(Space.L1, np.float16)[:size] = image
    matrix = few_channels(image.reshape(shape["fm_h"], shape["fm_w"], 4), shape)
    positions, fractals = matrix.shape[:2]
    position = choice.draw(st.integers(0, positions - 1))
    k = choice.draw(st.integers(0, fractals - 1))
    repeat = choice.draw(st.integers(1, 6 if along_m else fractals - k))
    rows = np.concatenate([matrix, np.zeros((repeat * 16 + 16, fractals, 16), np.float16)])
    firsts = [(position + 16 * i * along_m, k + i * (1 - along_m)) for i in range(repeat)]
    tiles = np.stack([rows[first : first + 16, each] for first, each in firsts])
    given_ = {
        "dst": shared_machine.handle(target), "src": shared_machine.handle(Space.L1), **shape,
        "position": position, "k_start": k, "repeat": repeat, "jump": 1, "along_m": along_m, "c_size": 1,
    }  # fmt: skip
    shared_machine.run(load3d, **given_)
    out = shared_machine.view(target, np.float16)[: tiles.size]
    assert np.array_equal(out, (tiles.transpose(0, 2, 1) if target is Space.L0B else tiles).reshape(-1))
    elements = range(4 * k, min(shape["filter_h"] * shape["filter_w"], 4 * (k + (1 if along_m else repeat))))
    needed = pixels(shape, range(position, position + (16 * repeat if along_m else 16)), elements)
    read = {(byte - given_["src"]) // 8 for byte in shared_machine.touched(load3d, **given_)[READ]}
    assert {h * shape["fm_w"] + w for _, h, w in needed} <= read <= set(range(size // 4))


def test_few_channels_are_of_fp16(machine):
    """Bytes have a form of 8 channels, which is left out."""
    machine.emit(
        load3d, dst=machine.handle(Space.L0A), src=machine.handle(Space.L1), **SEEN, position=0, k_start=0,
        repeat=1, jump=1, along_m=1, c_size=1, dtype=INT8,
    )  # fmt: skip
    assert machine.rule(load3d) == "c_size = 1 takes 4 channels of fp16"
