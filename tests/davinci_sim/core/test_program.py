"""A program is data: it prints, parses and hashes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim.core.program import RECORD_DTYPE, Program, parse
from davinci_sim.errors import DavinciError
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.fields import ImmediateField, MaskField, Operand
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.state import SPACE_SHIFT


@st.composite
def records(draw):
    """Draw one record of any instruction: every field any legal value."""
    declared = draw(st.sampled_from(list(INSTRUCTIONS.values())))
    payload = bytearray(56)
    for field, offset in zip(declared.fields, declared.offsets, strict=True):
        if isinstance(field, Operand):
            space = draw(st.sampled_from(field.spaces))
            raw = int(space) << SPACE_SHIFT | draw(st.integers(0, 2**40))
        elif isinstance(field, MaskField):
            raw = draw(st.integers(0, 2**128 - 1))
        elif isinstance(field, ImmediateField):
            number = np.float32(draw(st.floats(width=32, allow_nan=False)))
            raw = int(number.view(np.uint32))
        else:
            raw = draw(st.integers(field.low, field.high))
        payload[offset : offset + field.width_bytes] = raw.to_bytes(field.width_bytes, "little")
    pipe = draw(st.sampled_from(list(Pipe)))
    head = declared.opcode | int(pipe) << 8 | draw(st.sampled_from(declared.dtypes)) << 16
    return [head, *np.frombuffer(bytes(payload), np.int64).tolist()]


@given(st.lists(records(), max_size=8))
def test_a_program_reads_back_from_its_text(rows):
    program = Program(np.array(rows, dtype=np.int64).reshape(-1, 8))
    again = parse(program.text())
    assert np.array_equal(again.words, program.words)
    assert again.digest() == program.digest()


def test_source_lines_read_back(words):
    program = words.program(words.add(), words.load())
    assert [program.source(index) for index in range(2)] == ["kernel.py:1", "kernel.py:2"]
    assert parse(program.text()).text() == program.text()


def test_the_digest_ignores_source_lines(words):
    first, second = words.program(words.add(), words.load()), words.program("", words.add(), words.load())
    assert first.text() != second.text()
    assert first.digest() == second.digest()
    assert first.digest() != words.program(words.add(2), words.load()).digest()


def test_a_record_has_64_bytes_that_read_as_columns(words):
    program = words.program(words.add(), words.load())
    assert RECORD_DTYPE.itemsize == 64
    assert program.records["pipe"].tolist() == [Pipe.V, Pipe.MTE2]
    assert len(program) == 2


def test_a_printed_record_names_pipe_operands_and_source(words):
    assert words.program(words.load(4, "L1", 64, 16)).text() == (
        "PIPE_MTE2 data_move    dst=L1+0x40 src=GM+0x10 nburst=1 burst_len=4 src_gap=0 dst_gap=0 atomic=0"
        " dtype=uint8  # kernel.py:1\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello", "program text, line 1: 'hello' is no `PIPE_x name key=value ...`"),
        ("PIPE_V vad dtype=fp32", "unknown instruction 'vad': did you mean vand or vadd or vmadd? Known: "),
        (
            "PIPE_M set_flag src=1 dst=2 dtype=int32",
            "program text, line 1: PIPE_M set_flag src=1 dst=2 dtype=int32\n"
            "  rule: set_flag is printed as PIPE_x set_flag src=... dst=... event_id=... dtype=...\n"
            "  found: KeyError('event_id')",
        ),
        ("PIPE_M set_flag src=one dst=2 event_id=0 dtype=int32", "ValueError"),
        ("PIPE_M set_flag src=999 dst=2 event_id=0 dtype=int32", "OverflowError"),
        ("PIPE_X set_flag src=1 dst=2 event_id=0 dtype=int32", "StopIteration"),
    ],
)
def test_text_that_is_no_program_is_refused(line, message):
    with pytest.raises(DavinciError) as error:
        parse(line)
    assert message in str(error.value)
