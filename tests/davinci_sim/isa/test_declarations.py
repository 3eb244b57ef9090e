"""What holds for every instruction because it is declared."""

from __future__ import annotations

import numpy as np
import pytest

import kernels.lang
from davinci_sim import isa
from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles, transfer_of
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa import state as st
from davinci_sim.isa.fields import DTYPE_NAMES, Declaration, ImmediateField, MaskField, Operand
from davinci_sim.isa.instruction import _documentation
from davinci_sim.memory.dtypes import DTYPES
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

ALL = pytest.mark.parametrize("declared", INSTRUCTIONS.values(), ids=list(INSTRUCTIONS))
WITH_DATA = pytest.mark.parametrize(
    "declared", [d for d in INSTRUCTIONS.values() if d.operands], ids=lambda d: d.name
)


def numbers(declared):
    """Return the fields that are plain numbers."""
    return [f for f in declared.fields if not isinstance(f, Operand | MaskField | ImmediateField)]


@ALL
def test_an_instruction_is_documented(declared):
    """It says what it does in one sentence."""
    first = declared.doc.splitlines()[0]
    assert first.endswith((".", ";"))
    assert len(first) > 10


def test_an_instruction_of_a_family_is_documented_with_it():
    """What its own docstring lacks of model and source comes from the family, then from the module."""

    class Family(Declaration):
        """Operands.

        Model: that of the family
        goes on.
        Source: a page.

        More.
        """

    class member(Family):  # noqa: N801
        """Do it.

        Source: another page.
        """

    assert _documentation(member) == "Do it.\n\nSource: another page.\n\nModel: that of the family\ngoes on."


@ALL
def test_legal_arguments_are_accepted(declared, machine, legal):
    machine.emit(declared.emitter, **legal(declared))
    assert machine.refusal == (st.NO_ERROR, 0)
    assert machine.core.state[st.COUNT] == 1


@ALL
def test_a_record_decodes_to_what_was_emitted(declared, machine, legal):
    given = {**legal(declared, size=3)}
    values = declared.values(machine.emit(declared.emitter, **given))
    for field in numbers(declared):
        assert values[field.name] == given[field.name], field.name
    for operand in declared.operands:
        assert values[operand.name] == given[operand.name]
    assert values["dtype"] == given["dtype"]
    assert values["opcode"] == declared.opcode


@WITH_DATA
def test_an_operand_in_a_wrong_space_is_refused(declared, machine, legal):
    for position, field in enumerate(declared.fields, start=1):
        for space in set(Space) - set(getattr(field, "spaces", Space)):
            machine.emit(declared.emitter, **{**legal(declared), field.name: machine.handle(space)})
            kind, what = machine.refusal
            assert kind == st.REJECTED, (field.name, space)
            if not declared.routes:  # of a move, the way is wrong, too, and that is said
                assert what == position


@WITH_DATA
def test_an_operand_that_is_not_aligned_is_refused(declared, machine, legal):
    for position, field in enumerate(declared.fields, start=1):
        if isinstance(field, Operand) and field.align_bytes > 1:
            given = legal(declared)
            if given[field.name] >> st.SPACE_SHIFT == Space.GM:
                continue  # bytes
            machine.emit(
                declared.emitter, **{**given, field.name: given[field.name] + field.align_bytes // 2}
            )
            assert machine.refusal == (st.REJECTED, position)


@ALL
def test_a_number_out_of_its_range_is_refused(declared, machine, legal):
    for position, field in enumerate(declared.fields, start=1):
        if field in numbers(declared) or isinstance(field, MaskField):
            for value in (field.low - 1, field.high + 1):
                machine.emit(declared.emitter, **{**legal(declared), field.name: value})
                assert machine.refusal[0] == st.REJECTED, (field.name, value)
                if not declared.pipe_field:
                    assert machine.refusal[1] == position


@ALL
def test_an_element_type_that_is_not_listed_is_refused(declared, machine, legal):
    for code in set(range(len(DTYPE_NAMES))) - set(declared.dtypes):
        machine.emit(declared.emitter, **{**legal(declared), "dtype": code})
        assert machine.refusal == (st.REJECTED, len(declared.fields) + 1)


@ALL
def test_an_instruction_takes_time(declared, machine, legal):
    """It holds its unit for a cycle or more; more work never takes less."""
    costs = costs_of(platform("ascend910a"))
    times = [
        count_cycles(machine.emit(declared.emitter, **legal(declared, size)), costs)[0] for size in (1, 6)
    ]
    assert 0 < times[0] <= times[1]


@ALL
def test_what_goes_through_device_memory_takes_bus_time(declared, machine, legal):
    """An instruction has bus time if, and only if, it declares a transfer and an operand lives in GM."""
    costs = costs_of(platform("ascend910a"))
    given = legal(declared)
    words = machine.emit(declared.emitter, **given)
    is_outside = any(given[operand.name] >> st.SPACE_SHIFT == Space.GM for operand in declared.operands)
    assert (transfer_of(words, 0, costs).bus_bytes > 0) == is_outside
    assert declared.transfer is not None or not is_outside


@ALL
def test_rules_between_operands_say_what_must_be(declared):
    """A rule names one of the operands, and its condition is not met by legal arguments (see above)."""
    names = {name for name, _, _ in declared.parameters}
    for condition, rule in declared.refusals:
        assert any(name in rule for name in names), (condition, rule)


@WITH_DATA
def test_an_operand_that_leaves_its_space_is_found_and_nothing_is_written(declared, machine, legal):
    for operand in declared.operands:
        given = legal(declared)
        space = Space(given[operand.name] >> st.SPACE_SHIFT)
        given[operand.name] += int(machine.memory.size[space]) // 1024 * 1024
        before = machine.memory.local.copy()
        assert machine.execute(machine.emit(declared.emitter, **given)) == 0, operand.name
        assert np.array_equal(before, machine.memory.local)


def test_the_codes_of_the_element_types_are_those_of_the_device():
    assert tuple(dtype.name for dtype in DTYPES) == DTYPE_NAMES


def test_every_instruction_can_be_imported_by_kernels():
    """What is declared is exported by the instruction set, and with it by the kernels' language."""
    missing = [name for name in INSTRUCTIONS if not hasattr(kernels.lang, name) or not hasattr(isa, name)]
    assert missing == []
