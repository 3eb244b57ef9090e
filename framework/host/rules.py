"""How each kind of binding is written in Python: what the IR has beside operators, and parts of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from framework.host.indices import index, index_written
from framework.host.structure import Around, resolve
from framework.ir.control import (
    ACCUMULATE,
    APPLY,
    CHECK,
    CHOOSE,
    CLOSURE,
    ENV,
    IF,
    NOTHING,
    SCAN,
    UNENV,
    WHILE,
)
from framework.ir.lanes import chosen, taken
from framework.ir.nodes import CALL, Binding
from framework.ir.types import TensorType, parse_type

if TYPE_CHECKING:
    from framework.host.python import Writer

Rule: TypeAlias = "Callable[[Writer, Binding, list[str], Around], list[str]]"
"""Writes a binding over the names of its inputs, and returns those of its outputs."""


def _call(writer: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    label = writer.program.label(*resolve(binding.attrs["func"], around))
    return writer.define(binding, f"{label}({', '.join(inputs)})")


def _if(writer: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    outputs, consumed = [writer.code.fresh() for _ in binding.outputs], writer.consumed
    for head, key in ((f"if {inputs[0]}:", "then"), ("else:", "orelse")):
        with writer.code.block(head):
            writer.hand_over(outputs, writer.part(binding.attrs[key], inputs[1:], around, consumed))
    return outputs


def _while(writer: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    found = writer.hot(binding, inputs, around)
    if found is not None:
        return found
    state, invariants = _loop_start(writer, binding, inputs)
    stacks = _empty_stacks(writer, binding)
    with writer.code.block("while True:"):
        (condition,), _ = writer.part(binding.attrs["cond"], [*state, *invariants], around)
        writer.code.write(f"if not {condition}: break")
        writer.count_turn()
        part = writer.part(binding.attrs["body"], [*state, *invariants], around, set(state))
        _turn(writer, part, state, stacks)
    writer.leave()
    return [*state, *stacks]


def _scan(writer: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    found = writer.hot(binding, inputs, around)
    if found is not None:
        return found
    count = _number(binding, "stacks")
    given, rest = inputs[:count], inputs[count:]
    elements = [writer.code.fresh("e") for _ in given]
    sources = _aligned(writer, binding, given)
    state, invariants = _loop_start(writer, binding, rest)
    stacks = _empty_stacks(writer, binding)
    if binding.attrs["reverse"]:
        sources = [f"reversed({each})" for each in sources]
    over = sources[0] if count == 1 else f"zip({', '.join(sources)})"
    with writer.code.block(f"for {', '.join(elements)} in {over}:"):
        writer.count_turn()
        part = writer.part(binding.attrs["body"], [*elements, *state, *invariants], around, set(state))
        _turn(writer, part, state, stacks)
    if binding.attrs["reverse"]:
        for stack in stacks:
            writer.code.write(f"{stack}.reverse()")
    writer.leave()
    return [*state, *stacks]


def _aligned(writer: Writer, binding: Binding, given: list[str]) -> list[str]:
    """Return stacks of one length: an empty one beside others stands for zeros."""
    if len(given) == 1:
        return given
    types: list[Any] = [atom.type for atom in binding.inputs[: len(given)]]
    zeros = ", ".join(writer.zero(each.element) for each in types)
    aligned = [writer.code.fresh() for _ in given]
    call = f"{writer.run_time('aligned')}(({', '.join(given)}), ({zeros}))"
    writer.code.write(f"{', '.join(aligned)} = {call}")
    return aligned


def _number(binding: Binding, key: str) -> int:
    value = binding.attrs[key]
    assert isinstance(value, int)
    return value


def _loop_start(writer: Writer, binding: Binding, inputs: list[str]) -> tuple[list[str], list[str]]:
    """Write the first state into variables of the loop; return them and the invariants."""
    kept = len(inputs) - _number(binding, "invariants")
    invariants = inputs[kept:]
    state = [writer.code.fresh("s") for _ in inputs[:kept]]
    writer.code.assign(state, inputs[:kept])
    ending = writer.dying & set(inputs[:kept]) - set(invariants)
    writer.drop(ending)
    writer.dying -= ending
    return state, invariants


def _empty_stacks(writer: Writer, binding: Binding) -> list[str]:
    stacks = [writer.code.fresh("t") for _ in range(_number(binding, "saves"))]
    for stack in stacks:
        writer.code.write(f"{stack} = []")
    return stacks


def _turn(writer: Writer, part: tuple[list[str], set[str]], state: list[str], stacks: list[str]) -> None:
    """Write the end of a turn: push what is saved, and let the next state be the state."""
    results, owned = part
    for stack, value in zip(stacks, results[len(state) :], strict=True):
        writer.code.write(f"{stack}.append({value})")
    writer.code.assign(state, results[: len(state)])
    writer.drop(owned & set(results))


def _closure(writer: Writer, binding: Binding, inputs: list[str], around: Around) -> list[str]:
    label = writer.program.label(*resolve(binding.attrs["func"], around), captured=len(inputs))
    return writer.define(binding, f"{label}({', '.join(inputs)})")


def _apply(writer: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    writer.program.may_nest = True
    return writer.define(binding, f"{inputs[0]}({', '.join(inputs[1:])})")


def _env(writer: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    return writer.define(binding, f"({', '.join(inputs)}{',' if inputs else ''})")


def _unenv(writer: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    attr: Any = binding.attrs["types"]
    if not attr:
        return []
    types = tuple(map(parse_type, attr))
    zeros = ", ".join(map(writer.zero, types))
    outputs = [writer.code.fresh() for _ in types]
    names = writer.module.name("R", "taken", taken), writer.module.name("T", attr, types)
    own = f"{names[0]}({inputs[0]}, {names[1]}, ({zeros},))"
    writer.code.write(f"{', '.join(outputs)}, = {inputs[0]} if type({inputs[0]}) is tuple else {own}")
    return outputs


def _nothing(writer: Writer, binding: Binding, _: list[str], __: Around) -> list[str]:
    return writer.define(binding, writer.zero(parse_type(str(binding.attrs["type"]))))


def _accumulate(writer: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    if isinstance(binding.inputs[0].type, TensorType):
        return writer.define(binding, f"{inputs[0]} + {inputs[1]}")
    return writer.define(binding, f"{writer.run_time('accumulated')}({inputs[0]}, {inputs[1]})")


def _choose(writer: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    return writer.define(binding, f"{writer.module.name('R', CHOOSE, chosen)}({', '.join(inputs)})")


def _check(writer: Writer, binding: Binding, inputs: list[str], _: Around) -> list[str]:
    what = writer.module.name("C", id(binding), binding)
    writer.code.write(
        f"if not {inputs[0]}: raise {writer.run_time('failed')}({', '.join([what, *inputs[1:]])})"
    )
    return []


RULES: dict[str, Rule] = {
    CALL: _call,
    IF: _if,
    WHILE: _while,
    SCAN: _scan,
    CLOSURE: _closure,
    APPLY: _apply,
    ENV: _env,
    UNENV: _unenv,
    NOTHING: _nothing,
    ACCUMULATE: _accumulate,
    CHOOSE: _choose,
    CHECK: _check,
    "index": index,
    "index_add": index_written,
    "index_update": index_written,
}
