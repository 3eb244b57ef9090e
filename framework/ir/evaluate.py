"""Run a Func in NumPy: the meaning of the IR. What runs fast is made from the Func by `framework.host`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError, ShapeMismatch
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
from framework.ir.lanes import Envs, added_envs, chosen, taken
from framework.ir.nodes import CALL, Atom, Binding, Const, Func, Rec
from framework.ir.registry import operator
from framework.ir.types import StackType, TensorType, Type, parse_type

Array = np.ndarray[Any, Any]
Value = Any
"""An array; a list (a stack), a tuple or `Envs` (an env, or None, which is zero), or a `Function`."""


class CheckFailed(DavinciError):
    """A condition that the program demands does not hold."""


@dataclass(frozen=True)
class Function:
    """A function as a value: a Func, what it captured, and the Funcs that stand around it."""

    func: Func
    captured: tuple[Value, ...]
    around: Mapping[str, Func]


def evaluate(func: Func, args: Sequence[Array]) -> tuple[Array, ...]:
    """Return the results of the Func for these arguments, whose types must be those of its parameters."""
    arrays = [np.asarray(arg) for arg in args]
    _check_arguments(func, arrays)
    return _run(func, arrays, {})


def _run(func: Func, args: Sequence[Value], around: Mapping[str, Func]) -> tuple[Value, ...]:
    values: dict[str, Value] = {param.name: array for param, array in zip(func.params, args, strict=True)}
    inside = {**around, func.name: func}
    for binding in func.bindings:
        inputs = [_value(values, atom) for atom in binding.inputs]
        rule = _CONTROL.get(binding.op)
        outputs = (
            operator(binding.op).run(inputs, binding.attrs) if rule is None else rule(binding, inputs, inside)
        )
        values.update({var.name: array for var, array in zip(binding.outputs, outputs, strict=True)})
    return tuple(_value(values, atom) for atom in func.results)


def _value(values: dict[str, Value], atom: Atom) -> Value:
    return atom.value if isinstance(atom, Const) else values[atom.name]


def zero_of(type_: Type) -> Value:
    """Return the value that `nothing` gives."""
    if isinstance(type_, TensorType):
        return np.zeros(type_.shape, type_.dtype.numpy)
    return [] if isinstance(type_, StackType) else None


def accumulated(a: Value, b: Value) -> Value:
    """Return the sum of two cotangents of one type; an empty stack and None are zero."""
    if isinstance(a, np.ndarray | np.generic):
        return np.asarray(a + b)
    if isinstance(a, tuple | Envs) or isinstance(b, tuple | Envs):
        return added_envs(a, b, accumulated)
    if not a or not b:
        return a or b
    return [accumulated(x, y) for x, y in zip(a, b, strict=True)]


def _func(binding: Binding, key: str, around: Mapping[str, Func]) -> Func:
    found: Any = binding.attrs[key]
    return around[found.name] if isinstance(found, Rec) else found


def _call(binding: Binding, inputs: list[Value], around: Mapping[str, Func]) -> tuple[Value, ...]:
    return _run(_func(binding, "func", around), inputs, around)


def _if(binding: Binding, inputs: list[Value], around: Mapping[str, Func]) -> tuple[Value, ...]:
    return _run(_func(binding, "then" if inputs[0] else "orelse", around), inputs[1:], around)


def _while(binding: Binding, inputs: list[Value], around: Mapping[str, Func]) -> tuple[Value, ...]:
    cond, body = _func(binding, "cond", around), _func(binding, "body", around)
    kept = len(inputs) - int(binding.attrs["invariants"])  # type: ignore[arg-type]
    state, invariants = inputs[:kept], inputs[kept:]
    stacks: tuple[list[Value], ...] = tuple([] for _ in range(int(binding.attrs["saves"])))  # type: ignore[arg-type]
    while _run(cond, [*state, *invariants], around)[0]:
        results = _run(body, [*state, *invariants], around)
        state = list(results[:kept])
        for stack, value in zip(stacks, results[kept:], strict=True):
            stack.append(value)
    return (*state, *stacks)


def _scan(binding: Binding, inputs: list[Value], around: Mapping[str, Func]) -> tuple[Value, ...]:
    body = _func(binding, "body", around)
    count, invariants, saves = (int(binding.attrs[key]) for key in ("stacks", "invariants", "saves"))  # type: ignore[arg-type]
    stacks, state, fixed = (
        inputs[:count],
        inputs[count : len(inputs) - invariants],
        inputs[len(inputs) - invariants :],
    )
    turns = max(len(stack) for stack in stacks)
    saved: tuple[list[Value], ...] = tuple([None] * turns for _ in range(saves))
    for turn in range(turns - 1, -1, -1) if binding.attrs["reverse"] else range(turns):
        elements = [
            stack[turn] if stack else zero_of(param.type)
            for stack, param in zip(stacks, body.params, strict=False)
        ]
        results = _run(body, [*elements, *state, *fixed], around)
        state = list(results[: len(state)])
        for stack, value in zip(saved, results[len(state) :], strict=True):
            stack[turn] = value
    return (*state, *saved)


def _closure(binding: Binding, inputs: list[Value], around: Mapping[str, Func]) -> tuple[Value, ...]:
    return (Function(_func(binding, "func", around), tuple(inputs), around),)


def _apply(binding: Binding, inputs: list[Value], _: Mapping[str, Func]) -> tuple[Value, ...]:
    function = inputs[0]
    return _run(function.func, [*inputs[1:], *function.captured], function.around)


def _unenv(binding: Binding, inputs: list[Value], _: Mapping[str, Func]) -> tuple[Value, ...]:
    types: Any = binding.attrs["types"]
    wanted = [parse_type(each) for each in types]
    return taken(inputs[0], wanted, tuple(map(zero_of, wanted)))


def _check(binding: Binding, inputs: list[Value], _: Mapping[str, Func]) -> tuple[Value, ...]:
    if not inputs[0]:
        raise CheckFailed(str(binding.attrs["message"]).format(*inputs[1:]) + placed(binding))
    return ()


def placed(binding: Binding) -> str:
    """Return where a binding comes from, as the end of a message."""
    source = binding.source
    return "" if source is None else f"\n{source.users.pointed}"


_CONTROL: dict[str, Callable[[Binding, list[Value], Mapping[str, Func]], tuple[Value, ...]]] = {
    CALL: _call,
    IF: _if,
    WHILE: _while,
    SCAN: _scan,
    CLOSURE: _closure,
    APPLY: _apply,
    ENV: lambda binding, inputs, around: (tuple(inputs),),
    UNENV: _unenv,
    NOTHING: lambda binding, inputs, around: (zero_of(parse_type(str(binding.attrs["type"]))),),
    CHOOSE: lambda binding, inputs, around: (chosen(*inputs),),
    ACCUMULATE: lambda binding, inputs, around: (accumulated(*inputs),),
    CHECK: _check,
}


def _check_arguments(func: Func, arrays: Sequence[Array]) -> None:
    if len(arrays) != len(func.params):
        raise ShapeMismatch(f"@{func.name} takes {len(func.params)} arguments, {len(arrays)} were given")
    for param, array in zip(func.params, arrays, strict=True):
        given = TensorType.of(array)
        if given != param.type:
            raise ShapeMismatch(f"@{func.name}: argument %{param.name} is {given}, it must be {param.type}")
