"""Machine instructions of functions that are one operation to a compiler.

Those of `davinci_sim.isa.checks` are written for Numba, and again for emitters that are translated without it
(see `davinci_sim.isa.direct`); those of `davinci_sim.isa.bits` for Numba alone.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import types

from davinci_sim.isa.bits import narrow, widen
from davinci_sim.isa.checks import misplaced, outside, put_row, put_values
from davinci_sim.isa.direct import INT, NONE, WRITERS, Expressions, Value
from davinci_sim.isa.state import SPACE_SHIFT

lower_builtin: Any = extending.lower_builtin  # Numba's own functions have no types
type_callable: Any = extending.type_callable


def _integers(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    """Return the items of a tuple as int64."""
    items = (builder.extract_value(value, index) for index in range(len(kind)))
    return [context.cast(builder, item, each, types.int64) for item, each in zip(items, kind, strict=True)]


def _highest(context: Any, builder: Any, signature: Any, arguments: Any, is_bad: Callable[..., Any]) -> Any:
    """Return the highest number of what `is_bad`, at least the first argument."""
    kinds, int64 = signature.args, types.int64
    wrong = context.cast(builder, arguments[0], kinds[0], int64)
    columns = [_integers(context, builder, *each) for each in zip(kinds[1:], arguments[1:], strict=True)]
    for value, first, second, number in zip(*columns, strict=True):
        is_higher = builder.and_(
            is_bad(builder, value, first, second), builder.icmp_signed(">", number, wrong)
        )
        wrong = builder.select(is_higher, number, wrong)
    return wrong


def _is_outside(builder: Any, value: Any, low: Any, high: Any) -> Any:
    return builder.or_(builder.icmp_signed("<", value, low), builder.icmp_signed(">", value, high))


def _is_misplaced(builder: Any, handle: Any, allowed: Any, align: Any) -> Any:
    one, none = handle.type(1), handle.type(0)
    space = builder.ashr(handle, handle.type(SPACE_SHIFT))
    shift = builder.and_(space, handle.type(63))
    is_elsewhere = builder.icmp_signed("==", builder.and_(builder.lshr(allowed, shift), one), none)
    rest = builder.and_(handle, builder.sub(align, one))
    is_on_chip = builder.icmp_signed("!=", space, none)
    return builder.or_(is_elsewhere, builder.and_(is_on_chip, builder.icmp_signed("!=", rest, none)))


@type_callable(outside)
@type_callable(misplaced)
def _type_of_check(_context: Any) -> Any:
    """Tell Numba that a check returns a number."""
    return lambda _wrong, _values, _first, _second, _numbers: types.int64


@lower_builtin(outside, types.Integer, *[types.BaseTuple] * 4)
def _outside(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return _highest(context, builder, signature, arguments, _is_outside)


@lower_builtin(misplaced, types.Integer, *[types.BaseTuple] * 4)
def _misplaced(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return _highest(context, builder, signature, arguments, _is_misplaced)


@type_callable(put_row)
@type_callable(put_values)
def _type_of_put(_context: Any) -> Any:
    """Tell Numba that writing returns nothing."""
    return lambda _array, _at, _values: types.none


@lower_builtin(put_row, types.Array, types.Integer, types.BaseTuple)
@lower_builtin(put_values, types.Array, types.Integer, types.BaseTuple)
def _put(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Store each integer; the array is contiguous, and `at` counts the rows if it has two dimensions."""
    kind, at_kind, values_kind = signature.args
    array = context.make_array(kind)(context, builder, arguments[0])
    first = context.cast(builder, arguments[1], at_kind, types.intp)
    if kind.ndim > 1:
        first = builder.mul(first, first.type(len(values_kind)))
    for index, value in enumerate(_integers(context, builder, values_kind, arguments[2])):
        builder.store(value, builder.gep(array.data, [builder.add(first, first.type(index))]))
    return context.get_dummy_value()


def _write_highest(code: Expressions, wrong: Value, columns: tuple[Value, ...], is_bad: Any) -> Value:
    found = code.integer(wrong)
    for value, first, second, number in zip(*(column.parts for column in columns), strict=True):
        is_higher = code.op(f"icmp sgt i64 {number}, {found}")
        both = code.op(f"and i1 {is_bad(code, value, first, second)}, {is_higher}")
        found = code.op(f"select i1 {both}, i64 {number}, i64 {found}")
    return Value(INT, (found,))


def _write_is_outside(code: Expressions, value: str, low: str, high: str) -> str:
    below = code.op(f"icmp slt i64 {value}, {low}")
    return code.op(f"or i1 {below}, {code.op(f'icmp sgt i64 {value}, {high}')}")


def _write_is_misplaced(code: Expressions, handle: str, allowed: str, align: str) -> str:
    space = code.op(f"ashr i64 {handle}, {SPACE_SHIFT}")
    bit = code.op(f"lshr i64 {allowed}, {code.op(f'and i64 {space}, 63')}")
    is_elsewhere = code.op(f"icmp eq i64 {code.op(f'and i64 {bit}, 1')}, 0")
    rest = code.op(f"icmp ne i64 {code.op(f'and i64 {handle}, {int(align) - 1}')}, 0")
    is_on_chip = code.op(f"icmp ne i64 {space}, 0")
    return code.op(f"or i1 {is_elsewhere}, {code.op(f'and i1 {is_on_chip}, {rest}')}")


def _write_row(code: Expressions, words: Value, row: Value, values: Value) -> Value:
    first = code.op(f"mul i64 {code.integer(row)}, {len(values.parts)}")
    return _write_values(code, words, Value(INT, (first,)), values)


def _write_values(code: Expressions, array: Value, first: Value, values: Value) -> Value:
    start = code.op(f"getelementptr i64, ptr {array.address}, i64 {code.integer(first)}")
    code.write(start, values.parts)
    return Value(NONE, ())


WRITERS[outside] = lambda code, wrong, *columns: _write_highest(code, wrong, columns, _write_is_outside)
WRITERS[misplaced] = lambda code, wrong, *columns: _write_highest(code, wrong, columns, _write_is_misplaced)
WRITERS[put_row], WRITERS[put_values] = _write_row, _write_values


@type_callable(widen)
def _type_of_widen(_context: Any) -> Any:
    """Tell Numba that the value of a bit pattern is a number of 32 bits."""
    return lambda _bits: types.float32


@lower_builtin(widen, types.Integer)
def _widen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Reinterpret 16 bits as LLVM's half and extend it."""
    bits = context.cast(builder, arguments[0], signature.args[0], types.uint16)
    return builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())


@type_callable(narrow)
def _type_of_narrow(_context: Any) -> Any:
    """Tell Numba that a bit pattern is an integer of 16 bits."""
    return lambda _value: types.uint16


@lower_builtin(narrow, types.Float)
def _narrow(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Round to LLVM's half and reinterpret it as 16 bits."""
    value = context.cast(builder, arguments[0], signature.args[0], types.float32)
    return builder.bitcast(builder.fptrunc(value, ir.HalfType()), ir.IntType(16))
