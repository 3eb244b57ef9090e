"""Where a Python function is written: its syntax tree, and the place of each node for messages."""

from __future__ import annotations

import ast
import inspect
import types
from collections import defaultdict
from functools import lru_cache

from davinci_sim.errors import DavinciError
from framework.ir.nodes import SourceLine

Function = ast.FunctionDef | ast.Lambda


class CompileError(DavinciError):
    """Python code that the front end cannot compile."""

    found_in: SourceLine | None = None
    """A line that the message names already."""


def located(message: str, line: SourceLine) -> CompileError:
    """Return the error for a message that names a line, so that callers add none."""
    error = CompileError(message)
    error.found_in = line
    return error


class Source:
    """A file of Python source, parsed once."""

    def __init__(self, file: str, lines: tuple[str, ...]) -> None:
        """Parse the lines of a file."""
        self.file = file
        self.lines = lines
        self._at: dict[tuple[int, int], SourceLine] = {}
        self._functions: dict[int, list[Function]] = defaultdict(list)
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, Function):
                self._functions[_starts_at(node)].append(node)

    def functions(self, line: int) -> list[Function]:
        """Return the functions that start on a line, inner ones first, so that the tightest match wins."""
        return self._functions.get(line, [])[::-1]

    def line(self, node: ast.AST) -> SourceLine:
        """Return the line on which a node starts, and where in it."""
        number, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        if (number, offset) not in self._at:
            text = self.lines[number - 1]
            before = len(text.encode()[:offset].decode())  # offsets count bytes
            column = max(before - (len(text) - len(text.lstrip())), 0)
            self._at[number, offset] = SourceLine(self.file, number, text.strip(), column=column)
        return self._at[number, offset]

    def place(self, node: ast.AST) -> str:
        """Return file, line, source text and a caret below the node."""
        return self.line(node).pointed

    def unsupported(self, node: ast.AST, what: str, instead: str) -> CompileError:
        """Return the one error for all that the front end does not compile."""
        message = f"{what} is not supported in compiled code\n{self.place(node)}\n  instead: {instead}"
        return located(message, self.line(node))


_FOUND: dict[tuple[str, types.CodeType], tuple[Source, Function]] = {}


def find_source(function: types.FunctionType) -> tuple[Source, Function]:
    """Return the file and the syntax tree of a function or lambda."""
    key = (function.__code__.co_filename, function.__code__)
    if key not in _FOUND:
        _FOUND[key] = _find(function)
    return _FOUND[key]


def _find(function: types.FunctionType) -> tuple[Source, Function]:
    code = function.__code__
    try:
        if code.co_filename == "<string>":  # exec; some versions of Python find other text under this name
            raise OSError
        lines = tuple(line.rstrip("\n") for line in inspect.findsource(code)[0])
    except OSError:
        raise CompileError(
            f"the source of {function.__qualname__} is not available, so it cannot be compiled; "
            "define it in a file (not with exec, nor in a shell without history)"
        ) from None
    if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise CompileError(
            f"`async def` is not supported in compiled code\n  {code.co_filename}:{code.co_firstlineno}\n"
            f"    {lines[code.co_firstlineno - 1].strip()}\n    ^\n  instead: a plain function, def"
        )
    source = _parsed(code.co_filename, lines)
    candidates = source.functions(code.co_firstlineno)
    candidates = [node for node in candidates if isinstance(node, ast.Lambda) == (code.co_name == "<lambda>")]
    if len(candidates) > 1:
        candidates = [node for node in candidates if _holds(node, code)]
    if not candidates:
        raise CompileError(
            f"{code.co_filename}:{code.co_firstlineno} no longer holds {function.__qualname__}; "
            "the file has changed since it was imported, run the program again"
        )
    return source, candidates[0]


@lru_cache(maxsize=256)
def _parsed(file: str, lines: tuple[str, ...]) -> Source:
    return Source(file, lines)


def _starts_at(node: Function) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(int(each.lineno) for each in decorators)])


def _holds(node: Function, code: types.CodeType) -> bool:
    """Return whether the code's instructions lie inside the body of the node."""
    if not isinstance(node, ast.Lambda):
        return True
    body = node.body
    first, last = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    spans = [span for span in code.co_positions() if None not in span and span[3]]
    inside = [(line, column) for line, _, column, _ in spans if line is not None and column is not None]
    ends = [(line, column) for _, line, _, column in spans if line is not None and column is not None]
    return bool(inside) and min(inside) >= first and max(ends) == last
