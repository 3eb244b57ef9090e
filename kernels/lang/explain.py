"""Say what compiled code lacks of what a kernel's source uses, at the place where it stands.

The compiler knows of types and says little of the source. What authors get wrong most is found in the syntax
tree instead: names that do not exist, fields that a shape does not have, plain Python functions, statements
that are not compiled. The rest is told by the compiler, with the line.
"""

import ast
import builtins
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from davinci_sim.errors import nearest
from kernels.lang.rewrite import parameters_of, shown_path

COMPILED_BUILTINS = frozenset(
    {
        "abs",
        "bool",
        "divmod",
        "enumerate",
        "float",
        "int",
        "len",
        "max",
        "min",
        "print",
        "range",
        "round",
        "zip",
    }
)
_NOT_COMPILED: dict[type[ast.AST], str] = {
    ast.With: "`with`", ast.ClassDef: "a class", ast.Import: "`import`",
    ast.ImportFrom: "`import`", ast.Global: "`global`", ast.Nonlocal: "`nonlocal`", ast.Delete: "`del`",
    ast.Dict: "a dict", ast.Set: "a set", ast.List: "a list", ast.ListComp: "a list",
    ast.DictComp: "a dict", ast.SetComp: "a set", ast.GeneratorExp: "a generator", ast.Yield: "`yield`",
    ast.YieldFrom: "`yield`", ast.Await: "`await`", ast.JoinedStr: "an f-string", ast.Match: "`match`",
}  # fmt: skip
_OWN_PARTS = ("davinci_sim.", "kernels.lang")
_COMPILERS_PLACE = re.compile(r'File "([^"]+)", line (\d+)')


@dataclass(frozen=True)
class Complaint:
    """What is wrong, where, and what to do about it; without an end column no caret is drawn."""

    what: str
    step: str
    path: str
    line: int
    column: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        """Print the line with carets under the part that is meant."""
        text = Path(self.path).read_text(encoding="utf-8").splitlines()[self.line - 1]
        kept = text.lstrip()
        place = f"{shown_path(self.path)}:{self.line}: "
        lines = [f"  {place}{kept}"]
        if self.end_column > self.column:
            before = len(place) + self.column - (len(text) - len(kept))
            lines.append("  " + " " * before + "^" * (self.end_column - self.column))
        return "\n".join(lines)


def explain(function: Callable[..., Any], fields: dict[str, tuple[str, ...]], error: Exception) -> Complaint:
    """Return what keeps a kernel from being compiled; `fields` are those of its shape and of its tiling.

    Its own functions are looked through, too, those that are called first before those that call them.
    """
    return next(_complaints(function, fields, set()), None) or _compilers_words(function, error)


def _complaints(
    function: Callable[..., Any], fields: dict[str, tuple[str, ...]], seen: set[int]
) -> Iterator[Complaint]:
    """Yield what is wrong with the functions of the user that a function calls, then with itself."""
    tree = _tree_of(function)
    if tree is None or id(function) in seen:
        return
    seen.add(id(function))
    scope: dict[str, Any] = getattr(function, "__globals__", {})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = getattr(scope.get(node.func.id), "py_func", None)
            if called is not None and not called.__module__.startswith(_OWN_PARTS):
                yield from _complaints(called, {}, seen)
    reader = _Reader(tree, scope, fields, function.__code__.co_filename)
    yield from sorted(reader.complaints(), key=lambda complaint: (complaint.line, complaint.column))


def _tree_of(function: Callable[..., Any]) -> ast.FunctionDef | None:
    """Return the definition of a function as its file has it."""
    path = Path(function.__code__.co_filename)
    if not path.is_file():
        return None
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first <= function.__code__.co_firstlineno <= node.lineno:
                return node
    return None


class _Reader:
    """Looks through one function."""

    def __init__(
        self, tree: ast.FunctionDef, scope: dict[str, Any], fields: dict[str, tuple[str, ...]], path: str
    ) -> None:
        self.tree, self.scope, self.fields, self.path = tree, scope, fields, path
        stored = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not _is_read(node))
        self.locals = {argument.arg for argument in tree.args.args} | set(stored)

    def complaints(self) -> Iterator[Complaint]:
        """Yield what is wrong, statement by statement."""
        for statement in self.tree.body:
            for node in ast.walk(statement):
                found = self._about(node)
                if found is not None:
                    yield found

    def _about(self, node: ast.AST) -> Complaint | None:
        if type(node) in _NOT_COMPILED and isinstance(node, ast.stmt | ast.expr):
            what = _NOT_COMPILED[type(node)]
            return self._at(
                node, f"{what} is not compiled", "a kernel has if, for, while, calls and integers"
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._about_call(node.func)
        if isinstance(node, ast.Name) and _is_read(node) and not self._is_known(node.id):
            step = f"did you mean {' or '.join(close)}?" if (close := self._like(node.id)) else "define it"
            return self._at(node, f"name {node.id!r} is not defined", step)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            legal = self.fields.get(node.value.id)
            if legal is not None and node.attr not in legal:
                what = f"{node.value.id} has no field {node.attr!r}"
                return self._at(node, what, f"its fields are {', '.join(legal)}")
        return None

    def _about_call(self, callee: ast.Name) -> Complaint | None:
        """Complain of a function that compiled code cannot call."""
        name, target = callee.id, self.scope.get(callee.id)
        if isinstance(target, FunctionType) and parameters_of(target) is None:
            step = "mark it with @emits; its first argument is the core"
            return self._at(callee, f"{name} is a plain Python function", step)
        if name == "breakpoint":
            return self._at(
                callee, "breakpoint() is not compiled", "davinci kernel step runs it as plain Python"
            )
        is_builtin = hasattr(builtins, name) and name not in self.locals and target is None
        if is_builtin and name not in COMPILED_BUILTINS:
            step = f"of Python's own functions there are {', '.join(sorted(COMPILED_BUILTINS))}"
            return self._at(callee, f"{name}() is not compiled", step)
        return None

    def _is_known(self, name: str) -> bool:
        return name in self.locals or name in self.scope or hasattr(builtins, name)

    def _like(self, name: str) -> list[str]:
        """Return names that may have been meant, those of the function first."""
        return nearest(name, self.locals, 1) or nearest(name, self.scope, 2)

    def _at(self, node: ast.stmt | ast.expr, what: str, step: str) -> Complaint:
        is_short = node.end_lineno == node.lineno and isinstance(node, ast.expr)
        end = int(node.end_col_offset or 0) if is_short else 0
        return Complaint(what, step, self.path, node.lineno, node.col_offset, end)


def _is_read(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


def _compilers_words(function: Callable[..., Any], error: Exception) -> Complaint:
    """Return the compiler's own complaint, with the last line of the user that it names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Failed in nopython", "During: Pass"))]
    what = told[0] if told else type(error).__name__
    if what.endswith(":") and len(told) > 1:
        what = f"{what} {told[1].removeprefix('>>> ')}"
    path, line = function.__code__.co_filename, function.__code__.co_firstlineno
    for named, number in _COMPILERS_PLACE.findall(str(error)):
        if Path(named).resolve() == Path(path).resolve():
            line = int(number)
    return Complaint(
        what, "a kernel computes with integers; davinci kernel step runs it as Python", path, line
    )
