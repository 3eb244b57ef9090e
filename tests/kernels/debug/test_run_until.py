"""Running a kernel to an instruction: the same on both engines, and buffers with their layouts undone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape, DavinciError, Deadlock, UnknownName
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.memory.spaces import Space
from experiments.user_files import load_module
from kernels.debug import run_until
from kernels.debug.held import held_by
from kernels.lang import (
    FP32,
    MTE2,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    data_move,
    emits,
    flat_binary,
    kernel,
    output,
    set_flag,
    wait_flag,
)
from kernels.run import random_inputs, run

ROOT = Path(__file__).parents[3]
GELU = load_module(ROOT / "docs" / "examples" / "my_kernels" / "gelu.py", "docs_gelu").gelu
MATMUL = kernels.find("matmul")
PRODUCT = MATMUL.shape_type.of("matmul", {"m": 200, "k": 70, "n": 120})
HERE = "tests/kernels/debug/test_run_until.py"


@dataclass(frozen=True)
class Row(Shape):
    """n numbers, few enough for one transfer."""

    n: int


@dataclass(frozen=True)
class Whole(Tiling):
    """All at once."""

    @classmethod
    def default(cls, shape, platform):
        return cls()

    def blocks(self, shape, platform):
        return 1


def copies(shape):
    """Return x and y."""
    return Operand("x", (shape.n,), FP32), output("y", (shape.n,), FP32)


@emits
def stage(core: Any, n: int) -> int:
    """Allocate in a building block of the kernel's own."""
    staged = alloc(core, UB, n * 4)
    return staged


@kernel(Row, Whole, copies, lambda shape, x: (x + x,))
def hasty_in_a_test(core, x, y, shape, tiling):
    """Y = x + x, but the vector unit does not wait for x; then a flag that nobody sets."""
    one, two = alloc(core, UB, shape.n * 4), alloc(core, UB, shape.n * 4)
    stage(core, shape.n)
    stage(core, shape.n)
    data_move(core, one, x, 1, shape.n // 8)  # line: load
    flat_binary(core, 0, two, one, one, shape.n, FP32)  # line: sum
    set_flag(core, MTE2, V, 0)
    wait_flag(core, MTE2, V, 0)
    flat_binary(core, 0, two, one, one, shape.n, FP32)  # line: again
    wait_flag(core, MTE2, V, 1)  # line: stuck
    data_move(core, y, two, 1, shape.n // 8)


HASTY = hasty_in_a_test


def line(text: str) -> str:
    """Return a line of this file as --until takes it."""
    source = (ROOT / HERE).read_text().splitlines()
    number = next(number for number, each in enumerate(source, start=1) if each.endswith(f"# line: {text}"))
    return f"test_run_until.py:{number}"


def state(stopped) -> dict[str, bytes]:
    """Return every bit that can be looked at."""
    names = [*stopped.buffers, *(o.name for o in stopped.kernel.operands(stopped.shape))]
    return {name: stopped.buffer(name).tobytes() for name in names}


@settings(max_examples=9)
@given(name=st.sampled_from(["gelu", "matmul", "softmax_cross_entropy"]), record=st.integers(0, 10_000))
def test_both_engines_stop_in_the_same_cycle_with_the_same_bits(name, record):
    """Any record of any block; everything that has arrived by then is there, and nothing else."""
    found = GELU if name == "gelu" else kernels.find(name)
    axes = {"gelu": {"n": 3000}, "matmul": {"m": 40, "k": 70, "n": 20}}.get(name, {"m": 5, "n": 300})
    shape = found.shape_type.of(name, axes)
    block = record % found.tiling(shape, Chip().platform).blocks(shape, Chip().platform)
    until = record % len(found.program(shape, Chip().platform, block=block))
    fast, reference = (
        run_until(found, shape, until=until, block=block, engine=engine) for engine in ("fast", "reference")
    )
    assert (fast.cycle, fast.pipes) == (reference.cycle, reference.pipes)
    assert state(fast) == state(reference)


def test_after_the_last_record_the_block_has_stored_its_share():
    shape = GELU.shape_type(n=3000)
    inputs = random_inputs(GELU, shape, 5)
    expected, _ = run(GELU, shape, inputs, Chip())
    block = GELU.tiling(shape, Chip().platform).blocks(shape, Chip().platform) - 1
    y = run_until(GELU, shape, inputs, block=block).buffer("y")
    share = shape.n // (block + 1)
    assert np.array_equal(y[-share + 128 :], expected["y"][-share + 128 :])


def product():
    """Return the matmul after the last product of its first block, and its inputs."""
    inputs = random_inputs(MATMUL, PRODUCT, 3)
    program = MATMUL.program(PRODUCT, Chip().platform)
    products = np.flatnonzero((program.words[:, 0] & 255) == INSTRUCTIONS["mmad"].opcode)
    return run_until(MATMUL, PRODUCT, inputs, f"{program.source(int(products[-1]))}:-1"), inputs


def is_part(tile, matrix) -> bool:
    """Tell whether a tile, its padding cut off, is a part of a matrix that begins at whole fractals."""
    rows, columns = (range(0, length, 16) for length in matrix.shape)
    parts = (matrix[row:, column:][: tile.shape[0], : tile.shape[1]] for row in rows for column in columns)
    return any(
        part.shape[1] >= 16 and np.array_equal(tile[: part.shape[0], : part.shape[1]], part) for part in parts
    )


def test_tiles_of_a_product_read_as_the_matrices_that_they_are():
    """NZ in L1 and L0C, ZZ in L0A, ZN in L0B, all undone; the product itself is fp32."""
    stopped, inputs = product()
    tiles = {name: stopped.buffer(name) for name in ("l1_a", "l1_b", "l0a", "l0b", "l0c")}
    for name in ("l1_a", "l0a"):
        assert is_part(tiles[name], inputs["a"])
    for name in ("l1_b", "l0b"):
        assert is_part(tiles[name], inputs["b"])
    expected = tiles["l0a"].astype(np.float32) @ tiles["l0b"].astype(np.float32)
    np.testing.assert_allclose(tiles["l0c"], expected, rtol=1e-5, atol=1e-5)
    assert str(stopped.view("l0c")) == f"fp32{list(expected.shape)} NZ"


def test_what_leaves_l0c_is_still_a_matrix():
    inputs = random_inputs(MATMUL, PRODUCT, 3)
    done = run_until(MATMUL, PRODUCT, inputs)
    (name,) = (each.name for each in done.buffers.values() if each.space == Space.UB)
    tile = done.buffer(name)
    assert tile.ndim == 2
    assert is_part(tile, done.buffer("c"))


def test_what_the_user_says_takes_the_place_of_what_was_told():
    stopped, _ = product()
    whole = stopped.buffer("l1_a")
    raw = stopped.buffer("l1_a", dtype="int16")
    first = stopped.buffer("l1_a", shape=(whole.shape[0] * 16,))  # 16 columns, as they lie
    assert (raw.dtype, raw.ndim) == (np.int16, 1)
    assert np.array_equal(first.reshape(-1, 16), whole[:, :16])
    assert np.array_equal(stopped.buffer("l1_a", shape=whole.shape, layout="NZ"), whole)


def test_bytes_that_nobody_wrote_are_nan():
    """The sum is done before its operand has come: a race shows as what it is."""
    shape = Row(512)
    hasty = run_until(HASTY, shape, until=line("sum"), engine="reference")
    assert np.isnan(hasty.buffer("two")).all()
    assert hasty.pipes["MTE2"].startswith("at record 0 data_move")
    there = run_until(HASTY, shape, until=line("again"), engine="reference")
    assert np.array_equal(there.buffer("two"), 2 * there.buffer("x"))


def test_a_kernel_that_gets_stuck_can_be_looked_at_before():
    """On the SimPy core; time on the compiled engine needs the whole launch."""
    shape = Row(512)
    before = run_until(HASTY, shape, until=line("again"), engine="reference")
    assert before.pipes["V"] == f"waits for flag(src=MTE2, dst=V, event_id=1) ({HERE}:{number_of('stuck')})"
    for engine, until in (("reference", line("stuck")), ("fast", line("again")), ("reference", "end")):
        with pytest.raises(Deadlock, match="PIPE_V waits for flag"):
            run_until(HASTY, shape, until=until, engine=engine)


def number_of(text: str) -> str:
    """Return the number of a line of this file."""
    return line(text).rpartition(":")[2]


def test_buffers_have_the_names_of_their_variables():
    """Two of one statement, and two of one line that is run twice."""
    stopped = run_until(HASTY, Row(512), until=0, engine="reference")
    assert list(stopped.buffers) == ["one", "two", "staged", "staged#2"]
    assert stopped.buffers["staged"].source.startswith(f"{HERE}:")


def test_buffers_that_building_blocks_of_the_language_allocate_have_names_too():
    """Those of the variables there: the kernel's own line is a call."""
    found = kernels.find("add")
    stopped = run_until(found, found.shape_type(n=1000), until=0)
    assert list(stopped.buffers) == ["ub_in", "ub_out"]
    assert stopped.buffer("ub_in").dtype == np.float16


def test_a_buffer_without_a_name_is_called_by_space_and_number():
    """And one of several of a statement by all that it may be, where the kernel cannot be run again."""
    stopped = run_until(HASTY, Row(512), until=0, engine="reference")
    rows = stopped.task.buffers[0].copy()
    rows[:, 4] = 0
    assert list(held_by(rows)) == ["UB0", "UB1", "UB2", "UB3"]
    assert list(held_by(stopped.task.buffers[0])) == ["one", "two", "staged", "staged#2"]
    assert list(held_by(stopped.task.buffers[0][1:])) == ["one or two", "staged", "staged#2"]


def test_the_text_tells_pipes_and_buffers():
    shape = GELU.shape_type(n=300)
    text = run_until(GELU, shape, until="gelu.py:79").text()
    assert text.startswith("gelu n=300, block 0 of 2: record 17 is done at cycle ")
    assert "\n  MTE3 " in text
    assert "  ub_x@UB+0x0, 32768 bytes, 2 slots (" in text
    assert ": fp32[128] in slot 0, by record 5 data_move (" in text


def message(kind, *arguments, **named) -> str:
    """Return how a request is refused."""
    with pytest.raises(kind) as refused:
        run_until(GELU, GELU.shape_type(n=300), *arguments, **named)
    return str(refused.value)


def test_a_record_that_there_is_not_is_refused():
    assert message(DavinciError, until=500) == (
        "kernel gelu: there is no record 500\n"
        "  rule: the block's program has 27 records, 0 to 26\n"
        "  next: davinci kernel show gelu prints them"
    )


def test_a_line_that_emits_nothing_is_answered_with_those_that_do():
    text = message(DavinciError, until="gelu.py:72")
    assert text.startswith(
        "kernel gelu: line gelu.py:72 has no record 1\n"
        "  rule: it emits 0 in this block, numbered from 1\n"
        "  next: lines that emit are docs/examples/my_kernels/"
    )
    assert "has no record 9\n  rule: it emits 1 in" in message(DavinciError, until="gelu.py:74:9")


@pytest.mark.parametrize("until", ["nonsense", "gelu.py", "gelu.py:x"])
def test_what_is_no_place_is_refused(until):
    assert message(DavinciError, until=until) == (
        f"kernel gelu: {until!r} is no place in it\n"
        "  rule: a place is a record's number, or a line as gelu.py:57 or gelu.py:57:2\n"
        "  next: write --until 0, for example"
    )


def test_blocks_buffers_slots_and_shapes_that_there_are_not_are_refused():
    assert "there is no block 2\n  rule: blocks are 0 to 1\n" in message(DavinciError, block=2)
    assert message(UnknownName, engine="slow") == "unknown engine 'slow'; known: fast, reference"
    stopped = run_until(GELU, GELU.shape_type(n=300))
    with pytest.raises(UnknownName, match="unknown buffer of kernel gelu 'ub_z': did you mean ub_y or ub_x"):
        stopped.buffer("ub_z")
    with pytest.raises(UnknownName, match="unknown layout 'NZZ'"):
        stopped.buffer("ub_x", layout="NZZ")
    with pytest.raises(BadShape, match="there is no slot 2\n  rule: slots are 0 to 1"):
        stopped.buffer("ub_x", slot=2)
    with pytest.raises(BadShape, match=r"fp32\[9000\] takes 36000 bytes\n  rule: it must fit the buffer"):
        stopped.buffer("ub_x", shape=(9000,))
