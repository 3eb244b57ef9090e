"""What the IR has beside operators: calls, branches, loops, functions as values.

| op | inputs | attributes | outputs |
|---|---|---|---|
| call | arguments | func | its results |
| if | condition, operands | then, orelse: take the operands | results of the branch taken |
| while | state, invariants | cond, body: take both; invariants: how many; saves | last state, stacks |
| scan | stacks, state, invariants | body: takes elements, state, invariants; stacks, invariants, saves: how many; reverse | last state, stacks |
| closure | captured values | func: takes arguments, then the captured values | a function |
| apply | function, arguments | | its results |
| env | cotangents | | what they are to a function that has captured the values |
| unenv | an env | types | the cotangents; zeros if nothing was ever put in |
| nothing | | type | a value that stands for zero, or that nobody looks at |
| accumulate | two cotangents of one type | | their sum |
| choose | mask of lanes, two values over a batch | | the first in the lanes of the mask, the second in others |
| check | condition, values shown | message | none: stops when the condition is false |

The body of a loop gives the next state and then `saves` values, which it pushes on as many stacks: the value of
a turn lies at the place of the turn. `scan` has a turn per element of its stacks, from the last when `reverse`;
what it saves lies at the place of the element. An empty stack beside others stands for zeros.
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from davinci_sim.errors import DavinciError
from framework.ir.nodes import CALL, Attrs, Func, Rec
from framework.ir.types import EnvType, FnType, StackType, TensorType, Type, parse_type

AHEAD, BACK = "ahead", "back"
"""Attributes of a call that brings its own gradient rule: ahead: arguments -> results, residuals; back:
cotangents of all results that have some, residuals -> cotangents of all arguments that have some."""
RECOMPUTE = "recompute"
"""Attribute of a call: its derivative keeps the arguments only and computes the call again."""
KEEP = "keep"
"""Attribute of a call that no pass may replace by the body."""

IF, WHILE, SCAN, CLOSURE, APPLY = "if", "while", "scan", "closure", "apply"
ENV, UNENV, NOTHING, ACCUMULATE = "env", "unenv", "nothing", "accumulate"
CHOOSE, CHECK = "choose", "check"

Types = tuple[Type, ...]
Signature = tuple[Types, Types]


class TypeMismatch(DavinciError):
    """Inputs that do not fit the Funcs of a binding."""


def infer_control(op: str, types: Sequence[Type], attrs: Attrs, known: Mapping[str, Signature]) -> Types:
    """Return the types of the outputs of a binding of this table.

    `known` has the parameters and results of the Funcs that a `Rec` may mean.

    Raises:
        TypeMismatch: the inputs do not fit.
    """
    return _RULES[op](tuple(types), dict(attrs), known)


def is_control(op: str) -> bool:
    """Tell whether an op is one of this table."""
    return op in _RULES


def signature(func: Func) -> Signature:
    """Return the types of the parameters and of the results."""
    return func.signature


def _signature(func: Any, known: Mapping[str, Signature]) -> Signature:
    if isinstance(func, Rec):
        if func.name not in known:
            raise TypeMismatch(f"@{func.name} is called inside of itself, but does not stand around the call")
        return known[func.name]
    return signature(cast(Func, func))


def _call(types: Types, attrs: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    params, results = _signature(attrs["func"], known)
    _match(f"call of @{attrs['func'].name}", params, types)
    return results


def _if(types: Types, attrs: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    _is_condition("if", types[:1])
    branches = [_signature(attrs[key], known) for key in ("then", "orelse")]
    for key, (params, results) in zip(("then", "orelse"), branches, strict=True):
        _match(f"if, {key}", params, types[1:])
        _match(f"if, results of {key}", branches[0][1], results)
    return branches[0][1]


def _while(types: Types, attrs: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    state = types[: len(types) - attrs["invariants"]]
    params, results = _signature(attrs["cond"], known)
    _match("while, cond", params, types)
    _is_condition("while", results)
    return _loop("while", types, state, attrs, known)


def _scan(types: Types, attrs: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    stacks = types[: attrs["stacks"]]
    elements = tuple(each.element for each in stacks if isinstance(each, StackType))
    if not stacks or len(elements) < len(stacks):
        raise TypeMismatch(f"scan: {_join(stacks)} must be stacks, one at least")
    rest = types[len(stacks) :]
    return _loop("scan", (*elements, *rest), rest[: len(rest) - attrs["invariants"]], attrs, known)


def _loop(
    op: str, types: Types, state: Types, attrs: dict[str, Any], known: Mapping[str, Signature]
) -> Types:
    """Return the outputs of a loop whose body takes `types` and keeps `state`."""
    params, results = _signature(attrs["body"], known)
    _match(f"{op}, body", params, types)
    kept = len(results) - attrs["saves"]
    _match(f"{op}, next state", state, results[:kept])
    return (*state, *(StackType(each) for each in results[kept:]))


def _closure(types: Types, attrs: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    params, results = _signature(attrs["func"], known)
    free = len(params) - len(types)
    _match(f"closure of @{attrs['func'].name}", params[max(0, free) :], types)
    return (FnType(params[:free], results),)


def _apply(types: Types, _: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    if not types or not isinstance(types[0], FnType):
        raise TypeMismatch(f"apply: {_join(types[:1])} is no function")
    _match("apply", types[0].params, types[1:])
    return types[0].results


def _unenv(types: Types, attrs: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    _match("unenv", (EnvType(),), types)
    return tuple(parse_type(each) for each in attrs["types"])


def _accumulate(types: Types, _: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    _match("accumulate", types[:1] * 2, types)
    return types[:1]


def _choose(types: Types, _: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    if not isinstance(types[0], TensorType) or types[0].dtype.name != "bool" or types[0].ndim == 0:
        raise TypeMismatch(f"choose: the mask is {types[0]}, it must be bool[lanes]")
    _match("choose", types[1:2] * 2, types[1:])
    return types[1:2]


def _check(types: Types, _: dict[str, Any], known: Mapping[str, Signature]) -> Types:
    _is_condition("check", types[:1])
    return ()


_RULES: dict[str, Callable[[Types, dict[str, Any], Mapping[str, Signature]], Types]] = {
    CALL: _call,
    IF: _if,
    WHILE: _while,
    SCAN: _scan,
    CLOSURE: _closure,
    APPLY: _apply,
    ENV: lambda types, attrs, known: (EnvType(),),
    UNENV: _unenv,
    NOTHING: lambda types, attrs, known: (parse_type(attrs["type"]),),
    ACCUMULATE: _accumulate,
    CHOOSE: _choose,
    CHECK: _check,
}


def _match(where: str, wanted: Types, found: Types) -> None:
    if wanted != found:
        raise TypeMismatch(f"{where}: {_join(found)} is given, {_join(wanted)} is taken")


def _is_condition(op: str, types: Types) -> None:
    if len(types) != 1 or not isinstance(types[0], TensorType) or str(types[0]) != "bool[]":
        raise TypeMismatch(f"{op}: the condition is {_join(types)}, it must be bool[]")


def _join(types: Sequence[Type]) -> str:
    return f"({', '.join(map(str, types))})"
