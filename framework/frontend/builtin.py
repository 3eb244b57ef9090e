"""Python's builtins and `math` over values that are known at run time."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from davinci_sim.errors import DavinciError
from framework.dtypes import DType, float32, promote
from framework.frontend import branches, items
from framework.frontend.items import LAZY, Enumerate, Reversed, Unrolled, Zip, laid_out
from framework.frontend.values import NUMBERS, Choice, Closure, is_number, weak_constant
from framework.ir.builder import Builder, Sym
from framework.ir.control import CHECK
from framework.ir.registry import operator
from framework.ops.joining import pack
from framework.ops.unrolling import unroll
from framework.tensor import Tensor
from framework.tree import flatten

Rule = Callable[..., Any]


def rule_of(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Rule | None:
    """Return how a builtin is compiled; None when it is none."""
    try:
        rule = _RULES.get(function)
    except TypeError:  # cannot be hashed
        return None
    if rule is None and function in _NATIVE:
        return lambda builder, *args, **kwargs: function(*args, **kwargs)
    if rule is None and function in _MATH and any(isinstance(each, Sym) for each in args):
        return lambda builder, *args: _weakly(_MATH[function], *args)
    return rule


def _weakly(name: str, *args: Any) -> Any:
    return operator(name)(
        *(each * 1.0 if isinstance(each, Sym) and not each.dtype.is_float else each for each in args)
    )


def _len(builder: Builder, value: Any) -> Any:
    return items.length(value) if isinstance(value, LAZY) else len(value)


def _enumerate(builder: Builder, value: Any, start: Any = 0) -> Any:
    return Enumerate(value, start)


def _zip(builder: Builder, *values: Any, strict: bool = False) -> Any:
    if strict:
        _demand_equal(builder, [items.length(each) for each in values])
    return Zip(values)


def _demand_equal(builder: Builder, lengths: Sequence[Any]) -> None:
    """Refuse lengths that differ: now, or at run time if one is known then only."""
    for at, each in enumerate(lengths[1:], 2):
        if isinstance(each, Sym) or isinstance(lengths[0], Sym):
            found = [builder.value(length) for length in (lengths[0], each)]
            message = f"ValueError: zip() argument {at} has {{1}} items, argument 1 has {{0}}"
            builder.bind(CHECK, [operator("equal")(*found), *found], {"message": message})
        elif each != lengths[0]:
            raise DavinciError(f"zip: argument {at} has {each} items, argument 1 has {lengths[0]}")


def _reversed(builder: Builder, value: Any) -> Any:
    return value[::-1] if isinstance(value, (tuple, list, range)) else Reversed(value)


def _list(builder: Builder, value: Any = ()) -> Any:
    return laid_out(builder, value, "list")


def _tuple(builder: Builder, value: Any = ()) -> Any:
    return tuple(laid_out(builder, value, "tuple"))


def _number(kind: type) -> Rule:
    def convert(builder: Builder, value: Any = 0) -> Any:
        if not isinstance(value, (Sym, Tensor)):
            return kind(value)
        if kind is bool:
            return branches.truth(builder.value(value))
        found = builder.value(value)
        if found.type.size != 1:
            raise DavinciError(
                f"a number of a tensor {found.type}: it must have one element\n"
                "  next: choose one, x[i], or reduce it with ops.reduce_sum, ops.reduce_mean ..."
            )
        if found.type.shape:
            found = operator("reshape")(found, ())
        wanted = NUMBERS[kind]
        cast = found if found.dtype == wanted else operator("cast")(found, wanted)
        return Sym(cast.builder, cast.atom, weak=True)

    return convert


def _isinstance(builder: Builder, value: Any, kinds: Any) -> bool:
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    if isinstance(value, Sym):
        own = _python_kind(value) if value.weak else Tensor
        return any(isinstance(each, type) and issubclass(own, each) for each in wanted)
    if isinstance(value, (Closure, Choice)):
        return any(each.__name__ in ("function", "FunctionType", "Callable") for each in wanted)
    return isinstance(value, kinds)


def _python_kind(value: Sym) -> type:
    return next(kind for kind, dtype in NUMBERS.items() if dtype == value.dtype)


def _type(builder: Builder, value: Any) -> type:
    if isinstance(value, Sym):
        return _python_kind(value) if value.weak else Tensor
    return type(value)


def _extreme(name: str, function: Callable[..., Any]) -> Rule:
    def extreme(builder: Builder, *values: Any, **kwargs: Any) -> Any:
        found = laid_out(builder, values[0], function.__name__) if len(values) == 1 else list(values)
        if kwargs or not any(isinstance(each, (Sym, Tensor)) for each in found):
            return function(found, **kwargs)
        result = found[0]
        for each in found[1:]:
            result = operator(name)(result, each)
        return result

    return extreme


def _sum(builder: Builder, value: Any, start: Any = 0) -> Any:
    found = start
    for each in laid_out(builder, value, "sum"):
        found = each if isinstance(found, int) and found == 0 else found + each
    return found


def _all(builder: Builder, value: Any) -> Any:
    found: Any = True
    for each in laid_out(builder, value, "all"):
        found = branches.both(found, branches.truth(each))
    return found


def _any(builder: Builder, value: Any) -> Any:
    return branches.negated(
        _all(builder, [branches.negated(branches.truth(each)) for each in laid_out(builder, value, "any")])
    )


def _reduce(builder: Builder, function: Any, value: Any, *start: Any) -> Any:
    from framework.frontend.dispatch import apply

    found, *others = [*start, *laid_out(builder, value, "reduce")]
    for each in others:
        found = apply(builder, function, [found, each], {})
    return found


def _whole(name: str, function: Callable[[Any], Any]) -> Rule:
    def whole(builder: Builder, value: Any) -> Any:
        found = operator(name)(value) if isinstance(value, (Sym, Tensor)) else function(value)
        return _number(int)(builder, found)

    return whole


def item(value: Sym) -> Sym:
    """Return the only element of a tensor as a number of Python's."""
    kind = bool if value.dtype == NUMBERS[bool] else float if value.dtype.is_float else int
    found: Sym = _number(kind)(value.builder, value)
    return found


def _map(builder: Builder, function: Any, *values: Any) -> Any:
    from framework.frontend.dispatch import apply

    rows = [laid_out(builder, each, "map") for each in values]
    return [apply(builder, function, each, {}) for each in zip(*rows, strict=False)]


def _pow(builder: Builder, value: Any, exponent: Any) -> Any:
    return value**exponent


def _divmod(builder: Builder, a: Any, b: Any) -> Any:
    return (a // b, a % b)


def _round(builder: Builder, value: Any, digits: int | None = None) -> Any:
    if not isinstance(value, Sym):
        return round(value, digits)
    if digits is not None:
        raise DavinciError("round: digits of a number that is known at run time only; use round(x * 10) / 10")
    found = operator("round")(value)
    return _number(int)(builder, found) if value.weak else found


def _unroll(builder: Builder, value: Any) -> Any:
    return Unrolled(value)


def _print(builder: Builder, *values: Any, **kwargs: Any) -> Any:
    raise DavinciError("print runs while compiling, not with every call; return the value, or use assert")


def _getattr(builder: Builder, owner: Any, name: str, *default: Any) -> Any:
    return getattr(owner, name, *default)


def _stacked(builder: Builder, value: Any) -> Sym:
    """Return a tensor or a number, or lists of them as one tensor."""
    if not isinstance(value, (list, tuple)):
        return weak_constant(builder, value) if is_number(value) else builder.value(value)
    parts = [_stacked(builder, each) for each in value]
    wanted = _meeting(parts)
    found: Sym = pack([each if each.dtype == wanted else each.astype(wanted) for each in parts])
    return Sym(found.builder, found.atom, weak=all(each.weak for each in parts))


def _meeting(parts: Sequence[Sym]) -> DType:
    """Return the dtype that holds all: that of the tensors, or of the numbers when there are only these."""
    strong = [each.dtype for each in parts if not each.weak]
    if not strong:
        return max((each.dtype for each in parts), key=lambda each: each.rank)
    wanted = functools.reduce(promote, strong)
    has_float = any(each.dtype.is_float for each in parts)
    return float32 if has_float and not wanted.is_float else wanted


def _cast_to_tensor(builder: Builder, value: Any, dtype: Any = None) -> Any:
    found = _stacked(builder, value)
    if dtype is None and found.weak:
        dtype = {"float64": "float32", "int64": "int32"}.get(str(found.dtype))
    found = found if dtype is None else operator("cast")(found, dtype)
    return Sym(found.builder, found.atom)


_MATH: dict[Any, str] = {
    getattr(math, python): name
    for python, name in {
        "sqrt": "sqrt", "exp": "exp", "log": "log", "sin": "sin", "cos": "cos", "tan": "tan", "tanh": "tanh",
        "fabs": "abs", "erf": "erf", "log1p": "log1p", "expm1": "expm1", "pow": "pow", "isfinite": "isfinite",
    }.items()
}  # fmt: skip

_NATIVE: frozenset[Any] = frozenset({
    callable, dict, getattr, hasattr, id, issubclass, repr, set, slice, sorted, str,
    dataclasses.fields, dataclasses.is_dataclass, dataclasses.replace,
})  # fmt: skip

_RULES: dict[Any, Rule] = {
    abs: lambda builder, value: abs(value),
    all: _all,
    any: _any,
    bool: _number(bool),
    divmod: _divmod,
    enumerate: _enumerate,
    float: _number(float),
    int: _number(int),
    isinstance: _isinstance,
    len: _len,
    list: _list,
    map: _map,
    max: _extreme("maximum", max),
    min: _extreme("minimum", min),
    pow: _pow,
    print: _print,
    range: items.make_range,
    reversed: _reversed,
    functools.reduce: _reduce,
    math.ceil: _whole("ceil", math.ceil),
    math.floor: _whole("floor", math.floor),
    math.trunc: _number(int),
    round: _round,
    sum: _sum,
    tuple: _tuple,
    unroll: _unroll,
    type: _type,
    zip: _zip,
}


def tensor_rule(builder: Builder, value: Any, dtype: Any = None) -> Any:
    """Compile `Tensor(x)`."""
    is_of_run_time = any(isinstance(each, Sym) for each in flatten(value)[0])
    return _cast_to_tensor(builder, value, dtype) if is_of_run_time else Tensor(value, dtype)


_RULES[Tensor] = tensor_rule
