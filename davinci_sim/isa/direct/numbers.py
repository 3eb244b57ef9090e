"""Arithmetic and comparisons, as Python defines them."""

import ast
import operator
from collections.abc import Callable

from davinci_sim.isa.direct.lines import Lines
from davinci_sim.isa.direct.values import (
    FLOAT,
    INT,
    Untranslated,
    Value,
    is_number,
    number_text,
    part_types,
    types,
)

_SIMPLE = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"
}  # fmt: skip
_KNOWN: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip
_REAL = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
COMPARED = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "slt", ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge"}
_COMPARED_REAL = {
    ast.Eq: "oeq", ast.NotEq: "une", ast.Lt: "olt", ast.LtE: "ole", ast.Gt: "ogt", ast.GtE: "oge"
}  # fmt: skip


class Numbers(Lines):
    """Operations on values."""

    def integer(self, value: Value) -> str:
        """Return an integer's LLVM value."""
        if value.kind is not INT:
            raise Untranslated(f"a {value.kind} where an integer is wanted")
        return value.parts[0]

    def real(self, value: Value) -> str:
        """Return a number's LLVM value as a float."""
        if value.kind is FLOAT:
            return value.parts[0]
        return self.op(f"sitofp i64 {self.integer(value)} to double")

    def items(self, value: Value) -> list[Value]:
        """Return the items of a tuple."""
        if not isinstance(value.kind, types.BaseTuple):
            raise Untranslated(f"the items of a {value.kind}")
        items, first = [], 0
        for kind in value.kind:
            last = first + len(part_types(kind))
            items.append(Value(kind, value.parts[first:last]))
            first = last
        return items

    def arithmetic(self, sign: ast.operator, left: Value, right: Value) -> Value:
        """Compute with two numbers; what is known now is computed now."""
        if FLOAT in (left.kind, right.kind) or isinstance(sign, ast.Div):
            a, b = self.real(left), self.real(right)
            if type(sign) not in _REAL:
                raise Untranslated("a float")
            return Value(FLOAT, (self.op(f"{_REAL[type(sign)]} double {a}, {b}"),))
        a, b = self.integer(left), self.integer(right)
        if type(sign) in _KNOWN and is_number(a) and is_number(b) and int(b) >= 0:
            return Value(INT, (number_text(_KNOWN[type(sign)](int(a), int(b))),))
        if type(sign) in _SIMPLE:
            return Value(INT, (self.op(f"{_SIMPLE[type(sign)]} i64 {a}, {b}"),))
        if isinstance(sign, ast.LShift | ast.RShift):
            by = b if is_number(b) and 0 <= int(b) < 64 else self.op(f"and i64 {b}, 63")
            return Value(
                INT, (self.op(f"{'shl' if isinstance(sign, ast.LShift) else 'ashr'} i64 {a}, {by}"),)
            )
        if isinstance(sign, ast.FloorDiv | ast.Mod):
            return Value(INT, (self.divided(a, b, isinstance(sign, ast.Mod)),))
        raise Untranslated(type(sign).__name__)

    def divided(self, a: str, b: str, wants_rest: bool) -> str:
        """Divide towards minus infinity; nothing divided by 0 is an error, it gives 0."""
        if is_number(b) and int(b) > 0 and int(b) & (int(b) - 1) == 0:
            power = int(b).bit_length() - 1
            return self.op(f"and i64 {a}, {int(b) - 1}" if wants_rest else f"ashr i64 {a}, {power}")
        is_none = self.op(f"icmp eq i64 {b}, 0")
        safe = self.op(f"select i1 {is_none}, i64 1, i64 {b}")
        rest = self.op(f"srem i64 {a}, {safe}")
        differs = self.op(f"icmp slt i64 {self.op(f'xor i64 {rest}, {safe}')}, 0")
        is_below = self.op(f"and i1 {differs}, {self.op(f'icmp ne i64 {rest}, 0')}")
        if wants_rest:
            found = self.op(f"select i1 {is_below}, i64 {self.op(f'add i64 {rest}, {safe}')}, i64 {rest}")
        else:
            quotient = self.op(f"sdiv i64 {a}, {safe}")
            found = self.op(f"sub i64 {quotient}, {self.op(f'zext i1 {is_below} to i64')}")
        return self.op(f"select i1 {is_none}, i64 0, i64 {found}")

    def compared(self, sign: ast.cmpop, left: Value, right: Value) -> str:
        """Compare two numbers."""
        if FLOAT in (left.kind, right.kind):
            return self.op(f"fcmp {_COMPARED_REAL[type(sign)]} double {self.real(left)}, {self.real(right)}")
        return self.op(f"icmp {COMPARED[type(sign)]} i64 {self.integer(left)}, {self.integer(right)}")

    def _is_among(self, left: Value, right: Value, is_not: bool) -> str:
        found = "false"
        for item in self.items(right):
            found = self.op(f"or i1 {found}, {self.compared(ast.Eq(), left, item)}")
        return self.op(f"xor i1 {found}, {str(is_not).lower()}")

    def extreme(self, sign: str, given: list[Value]) -> Value:
        """Return the smallest or the largest of integers."""
        found = self.integer(given[0])
        for each in given[1:]:
            other = self.integer(each)
            found = self.op(
                f"select i1 {self.op(f'icmp {sign} i64 {other}, {found}')}, i64 {other}, i64 {found}"
            )
        return Value(INT, (found,))
