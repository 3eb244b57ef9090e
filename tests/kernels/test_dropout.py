"""Dropout: the mask is that of its key to the bit, however the work is cut, and looks random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.dropout import LEVELS, dropout_key, kept, random_words, threshold
from kernels.run import place, run
from tests.kernels.equality import differences, engines_agree, memory_share, shape_of

KERNEL = kernels.find("dropout")
WORDS = 1 << 17


@settings(max_examples=20)
@given(
    name=st.sampled_from(["dropout", "dropout_add", "dropout_grad"]),
    n=st.integers(1, 40000), keep=st.integers(1, 1000),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_length_and_share_equals_the_reference(name, n, keep, dtype, pick, seed):
    """Every bit of the mask, in its last block, too."""
    kernel = kernels.find(name)
    assert set(differences(kernel, shape_of(kernel, dtype, n=n, keep=keep), pick, seed).values()) == {0}


def mask_of(n: int, dtype: str, key, chip: Chip, tiling=None) -> np.ndarray:
    """Return which of n elements a launch keeps."""
    inputs = {"x": np.ones(n, np.float16 if dtype == "fp16" else np.float32), "key": key}
    outputs = run(KERNEL, shape_of(KERNEL, dtype, n=n), inputs, chip, tiling)[0]
    bits = np.unpackbits(outputs["mask"], bitorder="little")[:n] == 1
    np.testing.assert_array_equal(bits, outputs["y"] != 0)
    return bits


def test_a_key_decides_the_mask_and_nothing_else_does():
    """Type, length, tiles, cores and chip: the first elements are those of the reference."""
    key = dropout_key(7, 3)
    expected = kept(key, 20_000, 900)
    for dtype, chip, tiling in (
        ("fp16", Chip(), None), ("fp32", Chip(), None), ("fp16", Chip(), KERNEL.tiling_type(512, 1)),
        ("fp16", Chip("ascend310p3"), None), ("fp32", Chip("ascend910b1"), None),
    ):  # fmt: skip
        for n in (20_000, 4099):
            np.testing.assert_array_equal(mask_of(n, dtype, key, chip, tiling), expected[:n])


@pytest.mark.slow
def test_counters_of_large_problems_are_exact():
    """The last cores count from beyond 2 ** 24 words, which constants of instructions do not carry."""
    n, key = 36_000_000, dropout_key(1)
    np.testing.assert_array_equal(mask_of(n, "fp16", key, Chip()), kept(key, n, 900))


def test_gradients_pass_where_values_passed():
    """And are scaled by the same factor."""
    n, key = 5000, dropout_key(2)
    inputs = {"x": np.ones(n, np.float32), "key": key}
    forward = run(KERNEL, shape_of(KERNEL, "fp32", n=n), inputs, Chip())[0]
    grad = kernels.find("dropout_grad")
    back = run(grad, shape_of(grad, "fp32", n=n), {"dy": inputs["x"], "mask": forward["mask"]}, Chip())[0]
    np.testing.assert_array_equal(back["dx"], forward["y"])


def standard(key, keep: int) -> np.ndarray:
    """Return a key's mask with mean 0 and variance 1 if it is random."""
    share = threshold(keep) / LEVELS
    return (kept(key, 2 * WORDS, keep) - share) / np.sqrt(share * (1 - share))


KEYS = [dropout_key(seed, offset) for seed in (0, 1, 2**40) for offset in (0, 1)]


@pytest.mark.parametrize("keep", [10, 500, 900])
def test_the_share_is_kept_and_neighbours_are_independent(keep):
    """Mean, and correlations of an element with those behind it: within 4.5 standard deviations."""
    for key in KEYS:
        z = standard(key, keep)
        assert abs(z.sum()) <= 4.5 * np.sqrt(z.size)
        for lag in (*range(1, 33), 64, 128, 256, 1024, 4096, 1 << 14, 1 << 16):
            assert abs((z[lag:] * z[:-lag]).sum()) <= 4.5 * np.sqrt(z.size - lag)
        for width in (16, 64, 1024):  # the same place of every line
            assert np.abs(z.reshape(-1, width).sum(axis=0)).max() <= 6 * np.sqrt(z.size // width)


def test_masks_of_other_keys_are_independent():
    """Other seeds, and other offsets of the same seed."""
    masks = [standard(key, 500) for key in KEYS]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            for lag in (0, 1, 2, 16):
                assert abs((one[lag:] * other[: one.size - lag]).sum()) <= 4.5 * np.sqrt(one.size - lag)


def test_levels_are_uniform_alone_and_in_pairs():
    """Chi-squared over 16384 cells: of the level itself, and of the upper 7 bits of two neighbours."""
    for key in KEYS:
        levels = random_words(key, WORDS).view(np.uint16) & (LEVELS - 1)
        upper = (levels >> 7).astype(np.int64)
        for cells in (levels, upper[::2] * 128 + upper[1::2], upper[:-16] * 128 + upper[16:]):
            mean = cells.size / LEVELS
            chi = ((np.bincount(cells, minlength=LEVELS) - mean) ** 2 / mean).sum()
            assert abs(chi - (LEVELS - 1)) <= 4.5 * np.sqrt(2 * LEVELS)


def test_keeping_everything_copies():
    x = np.arange(1000, dtype=np.float32)
    shape = shape_of(KERNEL, "fp32", n=1000, keep=1000)
    assert (run(KERNEL, shape, {"x": x, "key": KEYS[0]}, Chip())[0]["y"] == x).all()


def test_both_engines_give_the_same_bits():
    assert engines_agree(KERNEL, shape_of(KERNEL, "fp16", n=3000))


def test_a_mask_costs_23_vector_cycles_for_128_numbers_of_fp16():
    """17 for the words, one for the bits' mask, two for the comparison, one to scale, two to select."""
    placed = place(KERNEL, shape_of(KERNEL, "fp16", n=1 << 22), None, Chip())
    cycles = placed.chip.trace(placed.task).busy_cycles("V") / ((1 << 22) / 128)
    assert cycles == pytest.approx(23, abs=1)


@pytest.mark.parametrize(("name", "share"), [("dropout", 0.85), ("dropout_grad", 0.9)])
def test_large_problems_keep_memory_busy(name, share):
    kernel = kernels.find(name)
    assert memory_share(kernel, shape_of(kernel, "fp32", n=1 << 22)) >= share


def test_a_share_above_one_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(KERNEL, n=10, keep=1001)
    assert str(refused.value) == (
        "kernel dropout: keep=1001\n  rule: keep is from 1 to 1000 thousandths\n  next: change the shape"
    )
