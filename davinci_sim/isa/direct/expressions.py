"""Expressions and calls."""

import ast
import enum
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from davinci_sim.isa.direct.numbers import COMPARED, Numbers
from davinci_sim.isa.direct.values import (
    ARRAY_PARTS,
    FLOAT,
    INT,
    NONE,
    Held,
    Untranslated,
    Value,
    is_number,
    is_record,
    joined,
    number_text,
    part_types,
    result_type,
    types,
)

WRITERS: dict[Any, Callable[..., Value]] = {}
"""Functions that are written into the code that calls them: (expressions, arguments) -> value."""
Call = Callable[[Any, tuple[Any, ...]], tuple[str, Any, bool]]
"""Returns a function's symbol for arguments of these types, its signature, and whether it is translated."""
_BUILTINS: dict[str, Any] = {"min": min, "max": max, "abs": abs, "int": int, "bool": bool, "float": float}


class Expressions(Numbers):
    """What gives a value; `scope` are the globals, `arguments` those that are never set."""

    def __init__(self, scope: dict[str, Any], call: Call) -> None:
        super().__init__()
        self.scope, self.call = scope, call
        self.arguments: dict[str, Value] = {}

    def expression(self, node: ast.expr) -> Value | Held:
        """Translate an expression."""
        method = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if method is None:
            raise Untranslated(f"{type(node).__name__} in line {node.lineno}")
        found: Value | Held = method(node)
        return found

    def value(self, node: ast.expr) -> Value:
        """Translate an expression that is known when the code runs."""
        found = self.expression(node)
        if isinstance(found, Held):
            raise Untranslated(f"{ast.unparse(node)} as a value")
        return found

    def test(self, node: ast.expr) -> str:
        """Translate a condition to one bit."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.op(f"xor i1 {self.test(node.operand)}, true")
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
            left, right = self.value(node.left), self.value(node.comparators[0])
            return self.compared(node.ops[0], left, right)
        return self.op(f"icmp ne i64 {self.integer(self.value(node))}, 0")

    def held(self, item: Any) -> Value | Held:
        """Return a Python object as a value where it is a number or a tuple of them."""
        if isinstance(item, bool | int | np.integer | np.bool_ | enum.IntEnum):
            return Value(INT, (number_text(int(item)),))
        if isinstance(item, float):
            return Value(FLOAT, (f"0x{struct.unpack('>Q', struct.pack('>d', item))[0]:016X}",))
        if type(item) is tuple and item and all(isinstance(each, int) for each in item):
            return Value(types.UniTuple(INT, len(item)), tuple(number_text(int(each)) for each in item))
        return Held(item)

    def _of_constant(self, node: ast.Constant) -> Value | Held:
        return self.held(node.value)

    def _of_name(self, node: ast.Name) -> Value | Held:
        if node.id in self.names:
            return self.load(node.id)
        if node.id in self.arguments:
            return self.arguments[node.id]
        if node.id in self.scope:
            return self.held(self.scope[node.id])
        if node.id in _BUILTINS:
            return Held(_BUILTINS[node.id])
        raise Untranslated(f"the name {node.id}")

    def _of_attribute(self, node: ast.Attribute) -> Value | Held:
        owner = self.expression(node.value)
        if isinstance(owner, Held):
            if not hasattr(owner.item, node.attr):
                raise Untranslated(node.attr)
            return self.held(getattr(owner.item, node.attr))
        if isinstance(owner.kind, types.Array) and node.attr == "shape":
            first = ARRAY_PARTS
            return Value(types.UniTuple(INT, owner.kind.ndim), owner.parts[first : first + owner.kind.ndim])
        fields = getattr(owner.kind, "fields", ())
        if node.attr not in fields:
            raise Untranslated(node.attr)
        return self.items(owner)[fields.index(node.attr)]

    def _of_tuple(self, node: ast.Tuple) -> Value:
        items = list(self._given(node.elts))
        return Value(types.Tuple.from_types(tuple(item.kind for item in items)), joined(items))

    def _given(self, nodes: list[ast.expr]) -> Iterator[Value]:
        """Yield the values in a call or a tuple."""
        for node in nodes:
            if isinstance(node, ast.Starred):
                yield from self.items(self.value(node.value))
            else:
                yield self.value(node)

    def _of_subscript(self, node: ast.Subscript) -> Value:
        owner = self.value(node.value)
        if isinstance(owner.kind, types.BaseTuple):
            return self.item(owner, self.integer(self.value(node.slice)))
        return Value(INT, (self.op(f"load i64, ptr {self.element(node)}"),))

    def item(self, owner: Value, index: str) -> Value:
        """Return an item of a tuple; integers may be chosen by an index that is known when the code runs."""
        items = self.items(owner)
        if is_number(index):
            if not -len(items) <= int(index) < len(items):
                raise Untranslated("an index outside of a tuple")
            return items[int(index)]
        if any(each.kind is not INT for each in items):
            raise Untranslated("an index into a tuple of other things than integers")
        self.count += 1
        row = f"%t{self.count}"
        self.allocas.append(f"  {row} = alloca [{len(items)} x i64]")
        self.write(row, owner.parts)
        place = self.op(f"getelementptr i64, ptr {row}, i64 {self.from_start(index, str(len(items)))}")
        return Value(INT, (self.op(f"load i64, ptr {place}"),))

    def from_start(self, index: str, size: str) -> str:
        """Return an index as it counts from the start: a negative one counts from the end."""
        if is_number(index) and int(index) >= 0:
            return index
        is_negative = self.op(f"icmp slt i64 {index}, 0")
        return self.op(f"select i1 {is_negative}, i64 {self.op(f'add i64 {index}, {size}')}, i64 {index}")

    def element(self, node: ast.Subscript) -> str:
        """Return the address of an element of an array."""
        array = self.value(node.value)
        if not isinstance(array.kind, types.Array):
            raise Untranslated("an index")
        places = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if len(places) != array.kind.ndim:
            raise Untranslated("a slice")
        offset = ""
        for place, size in zip(places, array.parts[ARRAY_PARTS:], strict=False):
            index = self.from_start(self.integer(self.value(place)), size)
            offset = self.op(f"add i64 {self.op(f'mul i64 {offset}, {size}')}, {index}") if offset else index
        return self.op(f"getelementptr i64, ptr {array.address}, i64 {offset}")

    def _of_unaryop(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return Value(INT, (self.op(f"zext i1 {self.test(node)} to i64"),))
        value = self.value(node.operand)
        if value.kind is FLOAT and isinstance(node.op, ast.USub):
            return Value(FLOAT, (self.op(f"fneg double {value.parts[0]}"),))
        number = self.integer(value)
        if isinstance(node.op, ast.USub):
            return self.arithmetic(ast.Sub(), Value(INT, ("0",)), value)
        return Value(INT, (number if isinstance(node.op, ast.UAdd) else self.op(f"xor i64 {number}, -1"),))

    def _of_binop(self, node: ast.BinOp) -> Value:
        return self.arithmetic(node.op, self.value(node.left), self.value(node.right))

    def _of_compare(self, node: ast.Compare) -> Value:
        left, found = self.value(node.left), "true"
        for sign, other in zip(node.ops, node.comparators, strict=True):
            right = self.value(other)
            if type(sign) in COMPARED:
                bit = self.compared(sign, left, right)
            elif isinstance(sign, ast.In | ast.NotIn) and isinstance(right.kind, types.BaseTuple):
                bit = self._is_among(left, right, isinstance(sign, ast.NotIn))
            else:
                raise Untranslated("a comparison")
            found = self.op(f"and i1 {found}, {bit}")
            left = right
        return Value(INT, (self.op(f"zext i1 {found} to i64"),))

    def _of_boolop(self, node: ast.BoolOp) -> Value:
        name, end = f".{self.label()}", self.label()
        for each in node.values:
            value = self.value(each)
            self.store(name, value)
            if each is not node.values[-1]:
                again, bit = self.label(), self.op(f"icmp ne i64 {self.integer(value)}, 0")
                self.branch(bit, *((again, end) if isinstance(node.op, ast.And) else (end, again)))
                self.at(again)
        self.at(end)
        return self.load(name)

    def _of_ifexp(self, node: ast.IfExp) -> Value:
        name, yes, no, end = f".{self.label()}", self.label(), self.label(), self.label()
        self.branch(self.test(node.test), yes, no)
        self.at(yes)
        self.store(name, self.value(node.body))
        self.jump(end)
        self.at(no)
        self.store(name, self.value(node.orelse))
        self.at(end)
        return self.load(name)

    def _of_call(self, node: ast.Call) -> Value:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "view":
            return self.bits_of(node)
        target = self.expression(node.func)
        if not isinstance(target, Held):
            raise Untranslated("a call of a value")
        if node.keywords and not is_record(target.item):
            raise Untranslated("arguments by name")
        given = list(self._given(node.args))
        if is_record(target.item):
            return self.record(target.item, given, {k.arg or "": self.value(k.value) for k in node.keywords})
        if target.item in WRITERS:
            return WRITERS[target.item](self, *given)
        return self.converted(target.item, given) or self.function(target.item, given)

    def converted(self, target: Any, given: list[Value]) -> Value | None:
        """Call what Python itself has for integers; nothing for something else."""
        if target in (int, np.int64) and len(given) == 1:
            return Value(INT, (self.integer(given[0]),))
        if target is float and len(given) == 1:
            return Value(FLOAT, (self.real(given[0]),))
        if target is bool and len(given) == 1:
            return Value(
                INT, (self.op(f"zext i1 {self.op(f'icmp ne i64 {self.integer(given[0])}, 0')} to i64"),)
            )
        if target in (min, max) and len(given) > 1:
            return self.extreme("slt" if target is min else "sgt", given)
        if target is abs and len(given) == 1:
            negative = self.op(f"sub i64 0, {self.integer(given[0])}")
            return self.extreme("sgt", [given[0], Value(INT, (negative,))])
        return None

    def record(self, cls: Any, given: list[Value], named: dict[str, Value]) -> Value:
        """Make a named tuple."""
        named |= dict(zip(cls._fields, given, strict=False))
        if set(named) != set(cls._fields):
            raise Untranslated("the fields of a named tuple")
        fields = [named[field] for field in cls._fields]
        kinds = tuple(field.kind for field in fields)
        if len(set(kinds)) == 1:
            return Value(types.NamedUniTuple(kinds[0], len(kinds), cls), joined(fields))
        return Value(types.NamedTuple(kinds, cls), joined(fields))

    def bits_of(self, node: ast.Call) -> Value:
        """Translate `np.float32(number).view(np.int32)`, and `np.uint32(bits).view(np.float32)`."""
        assert isinstance(node.func, ast.Attribute)
        inner, wanted = node.func.value, [self.expression(each) for each in node.args]
        if not isinstance(inner, ast.Call) or len(inner.args) != 1:
            raise Untranslated("a view")
        given = self.expression(inner.func)
        if given == Held(np.float32) and wanted == [Held(np.int32)]:
            real = self.real(self.value(inner.args[0]))
            bits = self.op(f"bitcast float {self.op(f'fptrunc double {real} to float')} to i32")
            return Value(INT, (self.op(f"sext i32 {bits} to i64"),))
        if given == Held(np.uint32) and wanted == [Held(np.float32)]:
            bits = self.op(f"trunc i64 {self.integer(self.value(inner.args[0]))} to i32")
            real = self.op(f"bitcast i32 {bits} to float")
            return Value(FLOAT, (self.op(f"fpext float {real} to double"),))
        raise Untranslated("a view")

    def function(self, target: Any, given: list[Value]) -> Value:
        """Call a function that stands for itself: compiled code of its own."""
        symbol, signature, is_direct = self.call(target, tuple(value.kind for value in given))
        kinds, passed = signature.args, []
        for value, kind in zip(given, kinds, strict=True):
            parts = [self.real(value)] if kind is FLOAT else self.passed(value, is_direct)
            if kind is not FLOAT and value.kind != kind:
                raise Untranslated(f"a {value.kind} where a {kind} is wanted")
            passed += [f", {llvm} {part}" for llvm, part in zip(part_types(kind), parts, strict=True)]
        result = signature.return_type
        self.count += 1
        slot = f"%r{self.count}"
        self.allocas.append(f"  {slot} = alloca {result_type(result)}")
        heads = "".join(f", {llvm}" for kind in kinds for llvm in part_types(kind))
        self.declared[symbol] = f'declare i32 @"{symbol}"(ptr, ptr{heads})'
        self.op(f'call i32 @"{symbol}"(ptr {slot}, ptr %exc{"".join(passed)})')
        return self._result(slot, result)

    def passed(self, value: Value, is_direct: bool) -> list[str]:
        """Return what a value is passed as; of arrays, translated code uses address and shape alone."""
        if isinstance(value.kind, types.BaseTuple):
            return [part for item in self.items(value) for part in self.passed(item, is_direct)]
        if not isinstance(value.kind, types.Array):
            return list(value.parts)
        shape = value.parts[ARRAY_PARTS : ARRAY_PARTS + value.kind.ndim]
        if is_direct:
            return [*["poison"] * (ARRAY_PARTS - 1), value.address, *shape, *["poison"] * len(shape)]
        strides = ["8"]
        for size in reversed(shape):
            strides.insert(0, self.op(f"mul i64 {strides[0]}, {size}"))
        count = self.op(f"ashr i64 {strides[0]}, 3")
        return ["null", "null", count, "8", value.address, *shape, *strides[1:]]

    def _result(self, slot: str, result: Any) -> Value:
        if result is NONE:
            return Value(NONE, ())
        if result is types.boolean:
            return Value(INT, (self.op(f"zext i8 {self.op(f'load i8, ptr {slot}')} to i64"),))
        parts = []
        for index, llvm in enumerate(part_types(result)):
            place = self.op(f"getelementptr i64, ptr {slot}, i64 {index}")
            parts.append(self.op(f"load {llvm}, ptr {place}"))
        return Value(result, tuple(parts))
