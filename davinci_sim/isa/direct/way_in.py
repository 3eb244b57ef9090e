"""The way from Python into translated code: integers out of tuples, addresses and shapes out of arrays.

Numba would write a check and a conversion per number, which takes as long to compile as the function itself.
Its dispatcher has looked at the types of all arguments by then.
"""

from itertools import groupby
from typing import Any

from davinci_sim.isa.direct.lines import Lines
from davinci_sim.isa.direct.values import ARRAY_PARTS, INT, Untranslated, part_types, types

_DATA, _DIMENSIONS = 16, 32
"""Where NumPy's arrays (`PyArrayObject_fields`, the same in NumPy 1 and 2) keep their address and shape."""
_PYTHON = """
@_Py_NoneStruct = external global ptr
declare ptr @PyTuple_GetItem(ptr, i64)
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyErr_Occurred()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @Py_IncRef(ptr)
"""
_TAKE = """
define internal void @take(ptr %tuple, i64 %first, i64 %count, ptr %into) noinline nounwind {
entry:
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %at = add i64 %first, %i
  %item = call ptr @PyTuple_GetItem(ptr %tuple, i64 %at)
  %number = call i64 @PyLong_AsLongLong(ptr %item)
  %place = getelementptr i64, ptr %into, i64 %i
  store i64 %number, ptr %place
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %each, label %end
end:
  ret void
}
"""
"""Take so many integers out of a tuple."""


class WayIn(Lines):
    """What Python calls with a tuple of arguments, to run a translated function that returns nothing."""

    def text(self, symbol: str, function: str, kinds: tuple[Any, ...]) -> str:
        """Return LLVM functions to be put behind the `function` of arguments of these types."""
        self.allocas = ["  %ret = alloca ptr", "  %exc = alloca ptr"]
        parts = self._items("%args", kinds)
        llvm = [part for kind in kinds for part in part_types(kind)]
        given = "".join(f", {each} {part}" for each, part in zip(llvm, parts, strict=True))
        error, bad, good = self.op("call ptr @PyErr_Occurred()"), self.label(), self.label()
        self.branch(self.op(f"icmp ne ptr {error}, null"), bad, good)
        self.at(bad)
        self.body.append("ret ptr null")
        self.is_open = False
        self.at(good)
        thread = self.op("call ptr @PyEval_SaveThread()")
        self.op(f'call i32 @"{function}"(ptr %ret, ptr %exc{given})')
        self.body.append(f"call void @PyEval_RestoreThread(ptr {thread})")
        self.body.append("call void @Py_IncRef(ptr @_Py_NoneStruct)")
        self.body.append("ret ptr @_Py_NoneStruct")
        head = [f'define ptr @"{symbol}"(ptr %closure, ptr %args, ptr %named) nounwind {{', *self.allocas]
        return "\n".join([_PYTHON, _TAKE, *head, *self.body, "}"])

    def _items(self, owner: str, kinds: tuple[Any, ...]) -> list[str]:
        """Return what the items of a tuple are passed as."""
        parts: list[str] = []
        for is_number, group in groupby(enumerate(kinds), key=lambda each: each[1] is INT):
            items = list(group)
            if is_number:
                parts += self._numbers(owner, items[0][0], len(items))
                continue
            for index, kind in items:
                item = self.op(f"call ptr @PyTuple_GetItem(ptr {owner}, i64 {index})")
                parts += self._parts(item, kind)
        return parts

    def _parts(self, item: str, kind: Any) -> list[str]:
        if isinstance(kind, types.BaseTuple):
            return self._items(item, tuple(kind))
        if not isinstance(kind, types.Array):
            raise Untranslated(f"an argument of type {kind}")
        dimensions = self._field(item, _DIMENSIONS)
        places = (self.op(f"getelementptr i64, ptr {dimensions}, i64 {axis}") for axis in range(kind.ndim))
        shape = [self.op(f"load i64, ptr {place}") for place in places]
        address = self._field(item, _DATA)
        return [*["poison"] * (ARRAY_PARTS - 1), address, *shape, *["poison"] * kind.ndim]

    def _numbers(self, owner: str, first: int, count: int) -> list[str]:
        self.count += 1
        row = f"%n{self.count}"
        self.allocas.append(f"  {row} = alloca [{count} x i64]")
        self.body.append(f"call void @take(ptr {owner}, i64 {first}, i64 {count}, ptr {row})")
        places = (self.op(f"getelementptr i64, ptr {row}, i64 {index}") for index in range(count))
        return [self.op(f"load i64, ptr {place}") for place in places]

    def _field(self, item: str, offset: int) -> str:
        """Return a pointer that an object holds."""
        return self.op(f"load ptr, ptr {self.op(f'getelementptr i8, ptr {item}, i64 {offset}')}")
