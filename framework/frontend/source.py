"""Where a Python function is written: its syntax tree, and the place of each node for messages."""

from __future__ import annotations

import ast
import functools
import inspect
import types
from dataclasses import dataclass

from davinci_sim.errors import DavinciError
from framework.ir.nodes import SourceLine

Function = ast.FunctionDef | ast.Lambda


class CompileError(DavinciError):
    """Python code that the front end cannot compile."""

    is_located = False
    """Whether the message already has file and line."""


def located(message: str) -> CompileError:
    """Return the error for a message that has file and line, so that callers add none."""
    error = CompileError(message)
    error.is_located = True
    return error


@dataclass(frozen=True)
class Source:
    """A file of Python source."""

    file: str
    lines: tuple[str, ...]

    def line(self, node: ast.AST) -> SourceLine:
        """Return the line on which a node starts."""
        number = getattr(node, "lineno", 1)
        return SourceLine(self.file, number, self.lines[number - 1].strip())

    def place(self, node: ast.AST) -> str:
        """Return file, line, source text and a caret below the node."""
        line = self.line(node)
        indent = len(self.lines[line.line - 1]) - len(self.lines[line.line - 1].lstrip())
        caret = " " * max(getattr(node, "col_offset", 0) - indent, 0) + "^"
        return f"  {line.file}:{line.line}\n    {line.text}\n    {caret}"

    def unsupported(self, node: ast.AST, what: str, instead: str) -> CompileError:
        """Return the one error for all that the front end does not compile."""
        return located(f"{what} is not supported in compiled code\n{self.place(node)}\n  instead: {instead}")


def find_source(function: types.FunctionType) -> tuple[Source, Function]:
    """Return the file and the syntax tree of a function or lambda."""
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
    candidates = [node for node in _functions(lines) if _starts_at(node) == code.co_firstlineno]
    candidates = [node for node in candidates if isinstance(node, ast.Lambda) == (code.co_name == "<lambda>")]
    if len(candidates) > 1:
        candidates = [node for node in candidates if _holds(node, code)]
    if not candidates:
        raise CompileError(
            f"{code.co_filename}:{code.co_firstlineno} no longer holds {function.__qualname__}; "
            "the file has changed since it was imported, run the program again"
        )
    return Source(code.co_filename, lines), candidates[0]


@functools.lru_cache(maxsize=64)
def _functions(lines: tuple[str, ...]) -> tuple[Function, ...]:
    """Return every function of a file, inner ones first, so that the tightest match wins."""
    found = [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, Function)]
    return tuple(reversed(found))


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
