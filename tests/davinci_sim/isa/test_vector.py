"""Lane-wise vector instructions equal NumPy: any strides, masks and repeats, operands that overlap or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.isa import BF16, INSTRUCTIONS, vadd, vconv, vector_dup, vshl, vshr
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.isa.state import MASK_HI, MASK_LO
from davinci_sim.memory.dtypes import DTYPES
from davinci_sim.memory.spaces import Space


def wide(values):
    """Return numbers in the type that the unit computes in."""
    return values.astype(np.float32 if values.dtype.kind == "f" else np.int64)


def constant(values, value):
    """Return a constant as the unit takes it: a float32, or an integer without its fraction."""
    return np.float32(value) if values.dtype.kind == "f" else int(value)


def bounded(pick):
    """Return a rule for the larger or smaller of a tensor and a constant."""
    return lambda a, value: pick(wide(a), constant(a, value))


NUMPY = {
    "vadd": np.add, "vsub": np.subtract, "vmul": np.multiply, "vdiv": np.divide, "vmax": np.maximum,
    "vmin": np.minimum, "vand": np.bitwise_and, "vor": np.bitwise_or, "vnot": np.invert, "vabs": np.abs,
    "vrelu": lambda a: np.maximum(a, a.dtype.type(0)), "vrec": lambda a: a.dtype.type(1) / a,
    "vexp": lambda a: np.exp(a.astype(np.float64)).astype(np.float32),
    "vln": lambda a: np.log(a.astype(np.float64)).astype(np.float32),
    "vsqrt": lambda a: np.sqrt(a.astype(np.float64)).astype(np.float32),
    "vrsqrt": lambda a: (1 / np.sqrt(a.astype(np.float64))).astype(np.float32),
    "vadds": lambda a, value: wide(a) + constant(a, value),
    "vmuls": lambda a, value: wide(a) * constant(a, value),
    "vmaxs": bounded(np.maximum), "vmins": bounded(np.minimum),
    "vlrelu": lambda a, value: np.where(a < 0, wide(a) * np.float32(value), wide(a)),
    "vaddrelu": lambda a, b: np.maximum(wide(a) + wide(b), 0),
    "vsubrelu": lambda a, b: np.maximum(wide(a) - wide(b), 0),
    "vcopy": lambda a: a,
    "vmla": lambda a, b, c: wide(c) + wide(a) * wide(b),
    "vmadd": lambda a, b, c: wide(a) * wide(c) + wide(b),
    "vmaddrelu": lambda a, b, c: np.maximum(wide(a) * wide(c) + wide(b), 0),
    "vaxpy": lambda a, c, value: wide(c) + wide(a) * np.float32(value),
}  # fmt: skip
READS_DST = {"vmla", "vmadd", "vmaddrelu", "vaxpy"}
ELSEWHERE = {"vconv", "vshl", "vshr"}  # below
CASES = [
    pytest.param(INSTRUCTIONS[name], code, id=f"{name}-{DTYPE_NAMES[code]}")
    for name in NUMPY
    for code in INSTRUCTIONS[name].dtypes
]
EXAMPLES = settings(max_examples=12)
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, 65504.0, 6e-8]


def lanes_of(byte, blk, rep, repeat, size):
    """Return index[repeat, lane] of the elements of an operand, counted from the start of its space."""
    lane = np.arange(256 // size)
    in_block = 32 // size
    within = lane // in_block * blk * in_block + lane % in_block
    return byte // size + np.arange(repeat)[:, None] * rep * in_block + within


def strided(draw, prefix, start):
    """Draw where an operand lies."""
    return {
        f"{prefix}": start,
        f"{prefix}_blk": draw(st.sampled_from([0, 1, 1, 2, 5])),
        f"{prefix}_rep": draw(st.sampled_from([0, 1, 8, 8, 8, 17])),
    }


@st.composite
def calls(draw, declared):
    """Draw the arguments of a lane-wise instruction: operands at one place, overlapping, or apart."""
    arguments = {"repeat": draw(st.sampled_from([1, 2, 7, 16, 17, 40]))}
    arguments["mask"] = draw(st.sampled_from([-1, 1, 7, 16, 33, 63, 64, 65, 100, 128, 128, 128]))
    for operand in declared.operands:
        place = draw(st.sampled_from([0, 32, 256, 32768, 65536]))
        arguments |= strided(draw, operand.name, place)
    if any(field.name == "value" for field in declared.fields):
        arguments["value"] = draw(st.floats(-8, 8, width=32))
    return arguments


def random_bytes(seed, dtype):
    """Return the first 128 KiB of UB, of numbers that suit the type."""
    generator = np.random.default_rng(seed)
    count = (1 << 17) // dtype.itemsize
    if dtype.kind == "f":
        values = generator.standard_normal(count).astype(dtype)
        values[generator.integers(0, count, count // 16)] = generator.choice(SPECIAL, count // 16)
        return values
    return generator.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, count, dtype=dtype, endpoint=True)


def mask_bits(mask, lanes, register):
    """Return which lanes are written."""
    if mask >= 0:
        return np.arange(lanes) < mask
    return np.array([bool(register >> lane & 1) for lane in range(lanes)])


def expected(declared, data, call, register):
    """Compute what an instruction does to data[:], one repeat after the other."""
    out, size = data.copy(), data.itemsize
    index = {
        o.name: lanes_of(call[o.name], call[f"{o.name}_blk"], call[f"{o.name}_rep"], call["repeat"], size)
        for o in declared.operands
    }
    written = mask_bits(call["mask"], 256 // size, register)
    extra = [call["value"]] if "value" in call else []
    with np.errstate(all="ignore"):
        for repeat in range(call["repeat"]):
            sources = [out[index[o.name][repeat]] for o in declared.operands if not o.written]
            if declared.name in READS_DST:
                sources.append(out[index["dst"][repeat]])
            result = NUMPY[declared.name](*sources, *extra)
            for lane in np.flatnonzero(written):
                out[index["dst"][repeat, lane]] = result[lane].astype(data.dtype)
    return out


def run(machine, declared, code, call, register):
    """Run an instruction on operands in UB, with a mask register."""
    handles = {o.name: machine.handle(Space.UB, call[o.name]) for o in declared.operands}
    words = machine.emit(declared.emitter, **{**call, **handles, "dtype": code})
    assert machine.refusal == (0, 0)
    if call["mask"] < 0:  # the record carries what the register held
        offset = declared.offsets[[f.name for f in declared.fields].index("mask")] // 8
        masks = np.array([register & (2**64 - 1), register >> 64], dtype=np.uint64).view(np.int64)
        words[0, 1 + offset : 3 + offset] = masks
    assert machine.execute(words) == -1


@pytest.mark.parametrize(("declared", "code"), CASES)
@EXAMPLES
@given(choice=st.data(), seed=st.integers(0, 99), register=st.integers(1, 2**128 - 1))
def test_a_lane_wise_instruction_equals_numpy(shared_machine, declared, code, choice, seed, register):
    """Every byte of the first half of UB, so also what must not be written."""
    call = choice.draw(calls(declared))
    data = random_bytes(seed, DTYPES[code].numpy)
    ub = shared_machine.view(Space.UB, data.dtype)
    ub[: len(data)] = data
    run(shared_machine, declared, code, call, register)
    np.testing.assert_array_equal(ub[: len(data)], expected(declared, data, call, register))


def test_every_lane_wise_instruction_is_compared_with_numpy():
    """A new one needs a line in NUMPY here, or a test below."""
    module = "davinci_sim.isa.vector"
    declared = {name for name, one in INSTRUCTIONS.items() if one.emitter.py_func.__module__ == module}
    assert declared == NUMPY.keys() | (ELSEWHERE - {"vconv"})


@pytest.mark.parametrize("code", [2, 5, 6], ids=["int32", "int16", "uint16"])
@pytest.mark.parametrize(
    ("emitter", "shift"), [(vshl, np.left_shift), (vshr, np.right_shift)], ids=["l", "r"]
)
def test_a_shift_moves_the_bits_of_each_lane(machine, code, emitter, shift):
    """Of signed types the sign moves in from the left."""
    data = random_bytes(1, DTYPES[code].numpy)[: 256 // DTYPES[code].itemsize_bytes]
    ub = machine.view(Space.UB, data.dtype)
    ub[: len(data)] = data
    there = machine.handle(Space.UB)
    machine.run(emitter, dst=there, src=there, repeat=1, value=5, dtype=code)
    assert np.array_equal(ub[: len(data)], shift(data, data.dtype.type(5)))


def test_a_destination_that_is_also_a_source_accumulates(machine):
    """With a destination stride of 0 every repeat adds to the same lanes, in order."""
    ub = machine.view(Space.UB, np.float32)
    ub[:64] = 0
    ub[64 : 64 + 20 * 64] = np.arange(20 * 64)
    total = machine.handle(Space.UB)
    machine.run(
        vadd, dst=total, src0=total, src1=machine.handle(Space.UB, 256), repeat=20, dtype=1, mask=64,
        dst_rep=0, src0_rep=0,
    )  # fmt: skip
    assert ub[:64].tolist() == np.arange(20 * 64).reshape(20, 64).sum(axis=0).tolist()


def test_the_mask_register_selects_single_lanes(machine):
    """A mask of -1 takes the lanes from the register."""
    ub = machine.view(Space.UB, np.float16)
    ub[:128] = 0
    machine.core.state[MASK_LO] = 0b1010
    machine.core.state[MASK_HI] = 1
    words = machine.core
    vector_dup.py_func(words, machine.handle(Space.UB), 1, 3.0, 0, -1, 1, 8)
    assert machine.execute(words.words[:1]) == -1
    assert np.flatnonzero(ub[:128]).tolist() == [1, 3, 64]


@pytest.mark.parametrize(
    "code", [c for c in vector_dup.instruction.dtypes if c < 7], ids=lambda code: DTYPE_NAMES[code]
)
@EXAMPLES
@given(repeat=st.integers(1, 40), rep=st.sampled_from([1, 8, 9]), blk=st.sampled_from([0, 1, 2]),
       mask=st.integers(1, 128), value=st.integers(-99, 99))  # fmt: skip
def test_a_constant_fills_the_lanes_of_the_mask(shared_machine, code, repeat, rep, blk, mask, value):
    dtype = DTYPES[code].numpy
    ub = shared_machine.view(Space.UB, dtype)[: 1 << 15]
    ub[:] = 1
    index = lanes_of(0, blk, rep, repeat, dtype.itemsize)[:, :mask]
    want = ub.copy()
    want[index] = np.array(value).astype(dtype)
    dst = shared_machine.handle(Space.UB)
    shared_machine.run(
        vector_dup, dst=dst, repeat=repeat, value=value, mask=mask, dtype=code, dst_blk=blk, dst_rep=rep
    )
    np.testing.assert_array_equal(ub, want)


def saturated(values, dtype):
    """Round to nearest even and saturate; NaN gives 0."""
    limits = np.iinfo(dtype)
    rounded = np.rint(values.astype(np.float64))
    return (
        np.where(np.isnan(rounded), 0, np.clip(rounded, limits.min, limits.max))
        .astype(np.int64)
        .astype(dtype)
    )


CONVERSIONS = [
    pytest.param(DTYPES[a], DTYPES[b], id=f"{DTYPES[a]}-{DTYPES[b]}")
    for a in vconv.instruction.dtypes
    for b in range(7)
    if a not in (b, BF16)
]


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
@EXAMPLES
@given(seed=st.integers(0, 99), repeat=st.sampled_from([1, 3, 16, 33]), mask=st.integers(1, 128),
       gap=st.sampled_from([0, 0, 3]))  # fmt: skip
def test_a_conversion_rounds_to_even_and_saturates(shared_machine, source, target, seed, repeat, mask, gap):
    lanes = min(128, 256 // max(source.itemsize_bytes, target.itemsize_bytes))
    dst_rep, src_rep = lanes * target.itemsize_bytes // 32 + gap, lanes * source.itemsize_bytes // 32 + gap
    data = random_bytes(seed, source.numpy)
    if source.numpy.kind == "f":
        with np.errstate(over="ignore"):
            data[::3] *= source.numpy.type(100)  # some beyond the range of the small integers
    half = len(data) // 2 * source.itemsize_bytes
    shared_machine.view(Space.UB, source.numpy)[: len(data)] = data
    out = shared_machine.view(Space.UB, target.numpy)[half // target.itemsize_bytes :]
    want = out.copy()
    in_index = lanes_of(0, 1, src_rep, repeat, source.itemsize_bytes)[:, : min(mask, lanes)]
    out_index = lanes_of(0, 1, dst_rep, repeat, target.itemsize_bytes)[:, : min(mask, lanes)]
    values = data[in_index]
    with np.errstate(all="ignore"):
        to_float = values.astype(np.float32).astype(target.numpy) if target.numpy.kind == "f" else None
        want[out_index] = to_float if to_float is not None else saturated(values, target.numpy)
    shared_machine.run(
        vconv, dst=shared_machine.handle(Space.UB, half), src=shared_machine.handle(Space.UB), to=target.code,
        dtype=source.code, repeat=repeat, mask=mask, dst_rep=dst_rep, src_rep=src_rep,
    )  # fmt: skip
    np.testing.assert_array_equal(out, want)


ROUND = {
    0: np.rint, 1: np.rint, 2: lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x), 3: np.floor, 4: np.ceil,
    5: np.trunc,
}  # fmt: skip
INTEGERS = pytest.mark.parametrize("target", [DTYPES[c] for c in (2, 3, 4, 5)], ids=str)


@INTEGERS
@pytest.mark.parametrize("code", [0, 1], ids=["fp16", "fp32"])
@pytest.mark.parametrize("rounding", ROUND)
def test_a_conversion_to_integers_rounds_as_its_mode_says(shared_machine, target, code, rounding):
    """Halves, values beside them and values beyond the range."""
    source, lanes = (
        DTYPES[code].numpy,
        64 if max(target.itemsize_bytes, DTYPES[code].itemsize_bytes) == 4 else 128,
    )
    generator = np.random.default_rng(3)
    values = (generator.integers(-600, 600, lanes) / 2).astype(source)
    values[::5] = (generator.standard_normal(len(values[::5])) * 100).astype(source)
    shared_machine.view(Space.UB, source)[:lanes] = values
    shared_machine.run(
        vconv, dst=shared_machine.handle(Space.UB, 4096), src=shared_machine.handle(Space.UB), to=target.code,
        dtype=code, repeat=1, rounding=rounding,
    )  # fmt: skip
    got = shared_machine.view(Space.UB, target.numpy)[4096 // target.itemsize_bytes :][:lanes]
    limits = np.iinfo(target.numpy)
    want = np.clip(ROUND[rounding](values.astype(np.float64)), limits.min, limits.max)
    assert got.tolist() == want.astype(target.numpy).tolist()


def halves_around(values):
    """Return the float16 numbers next below and next above (or equal to) some float32 ones."""
    near = values.astype(np.float16)
    low = np.where(near.astype(np.float32) > values, np.nextafter(near, np.float16(-np.inf)), near)
    return low, np.where(low.astype(np.float32) < values, np.nextafter(low, np.float16(np.inf)), low)


@pytest.mark.parametrize("rounding", [2, 3, 4, 5, 6], ids=["away", "floor", "ceil", "trunc", "odd"])
def test_a_conversion_to_half_floats_rounds_as_its_mode_says(shared_machine, rounding):
    """To odd: an inexact number becomes the neighbour whose last bit is 1."""
    generator = np.random.default_rng(4)
    values = (generator.standard_normal(64) * 10.0 ** generator.integers(-7, 4, 64)).astype(np.float32)
    values[:8] = [1 + 2**-11, -1 - 2**-11, 1 + 3 * 2**-11, 2**-25, -(2**-25), 0.5, 0.0, 65519]
    low, high = halves_around(values)
    even, odd = (low.view(np.uint16) & 1) == 0, (high.view(np.uint16) & 1) == 1
    middle = (low.astype(np.float64) + high.astype(np.float64)) / 2
    up = {
        2: np.where(values == middle, values > 0, values > middle), 3: np.zeros(64, bool),
        4: np.ones(64, bool), 5: values < 0, 6: even & odd,
    }[rounding]  # fmt: skip
    shared_machine.view(Space.UB, np.float32)[:64] = values
    shared_machine.run(
        vconv, dst=shared_machine.handle(Space.UB, 4096), src=shared_machine.handle(Space.UB), to=0, dtype=1,
        repeat=1, rounding=rounding,
    )  # fmt: skip
    got = shared_machine.view(Space.UB, np.float16)[2048 : 2048 + 64]
    np.testing.assert_array_equal(got, np.where(up, high, low))


def test_bfloat16_widens_exactly_and_is_rounded_to_even(machine):
    """Every float32 whose low half is on, beside and at the middle between two bfloat16 numbers."""
    tops = np.arange(0, 0x7F80, 37, dtype=np.uint32)[:512]
    for low in (0, 0x7FFF, 0x8000, 0x8001):
        bits = (tops << 16) | low
        machine.view(Space.UB, np.uint32)[:512] = bits
        there, halves, back = (machine.handle(Space.UB, byte) for byte in (0, 8192, 16384))
        machine.run(vconv, dst=halves, src=there, to=BF16, dtype=1, repeat=8, mask=64, dst_rep=4)
        machine.run(vconv, dst=back, src=halves, to=1, dtype=BF16, repeat=8, mask=64, src_rep=4)
        want = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16
        assert machine.view(Space.UB, np.uint32)[4096 : 4096 + 512].tolist() == want.tolist()


def test_integers_are_dequantised_with_the_scale(machine):
    """int32 times a scale becomes fp16."""
    machine.view(Space.UB, np.int32)[:64] = np.arange(64) * 1000
    machine.run(
        vconv, dst=machine.handle(Space.UB, 4096), src=machine.handle(Space.UB), to=0, dtype=2, repeat=1,
        scale=2**-7,
    )  # fmt: skip
    want = (np.arange(64) * np.float32(1000 / 128)).astype(np.float16)
    assert machine.view(Space.UB, np.float16)[2048 : 2048 + 64].tolist() == want.tolist()
