"""Prepare a function that emits: every call knows its source line and names all its arguments.

The decorators `kernel` and `emits` rewrite the syntax tree of a function before it is compiled. Before each
statement that calls an instruction (or another emitting function) the line number is stored in the core's
state, so that every record knows where it comes from. Arguments are put in order and defaults filled in, so
that each emitter is compiled once and not once per combination of what is given. The
function keeps its file name and line numbers: a debugger steps through it.
"""

import ast
import inspect
import linecache
import textwrap
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from davinci_sim.errors import DavinciError
from davinci_sim.isa.state import LOCATION

SOURCES: dict[int, tuple[str, str]] = {}
"""File number -> (shown path, path on disk); a location is the number above 16 bits of line."""

Parameter = tuple[str, int | float | None, str]  # name, default, "int" | "float" | "any"


def parameters_of(target: Any) -> list[Parameter] | None:
    """Return the parameters (after the core) of something that emits, None for anything else."""
    declared = getattr(target, "instruction", None)
    if declared is not None:
        return [
            (name, default, "float" if is_float else "int") for name, default, is_float in declared.parameters
        ]
    return getattr(target, "emits_parameters", None)


def rewrite(function: Callable[..., Any], mark_lines: bool) -> Callable[..., Any]:
    """Return the function made from its rewritten source; its attribute `tree` is that source."""
    definition = _definition(function)
    definition.decorator_list = []
    number = register_file(function)
    core, shown = definition.args.args[0].arg, SOURCES[number][0]
    rewriter = _Rewriter(function.__globals__, core, number << 16 if mark_lines else -1, shown)
    rewriter.visit(definition)
    _erase_annotations(definition)
    tree = ast.Module(body=[definition], type_ignores=[])
    scope: dict[str, Any] = {}
    filename = inspect.getsourcefile(function) or function.__code__.co_filename
    exec(compile(tree, filename, "exec"), function.__globals__, scope)
    made: Any = scope[function.__name__]
    made.tree, made.touches_core = definition, rewriter.touches_core
    made.__module__, made.__doc__, made.__qualname__ = (
        function.__module__,
        function.__doc__,
        function.__qualname__,
    )
    return cast(Callable[..., Any], made)


def plain_of(compiled: Any) -> Any:
    """Return a function as plain Python, which is written now if it was not needed before."""
    return getattr(compiled, "py_func", compiled)


def is_of_the_kit(function: Callable[..., Any]) -> bool:
    """Tell whether a function comes with the kit, and is rewritten when it is needed.

    What users write is rewritten at once, so that mistakes are told when their file is read.
    """
    return function.__module__.startswith("kernels.")


def touches_core(target: Any) -> bool:
    """Tell whether something that emits needs a core; instructions always do."""
    return hasattr(target, "instruction") or bool(getattr(plain_of(target), "touches_core", True))


def _definition(function: Callable[..., Any]) -> ast.FunctionDef:
    """Return the syntax tree of a function, with the line numbers of its file."""
    path, first = function.__code__.co_filename, function.__code__.co_firstlineno
    lines = linecache.getlines(path) if Path(path).is_file() else []
    end = _ends(path, "".join(lines)).get((first, function.__name__), 0)
    if end == 0:
        raise DavinciError(
            f"kernel {function.__name__}: its source cannot be read\n"
            "  rule: a kernel must be written in a file\n  next: move it out of the interactive session"
        )
    text = textwrap.dedent("".join(lines[first - 1 : end]))
    definition = ast.parse("\n" * (first - 1) + text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition


@lru_cache(maxsize=64)
def _ends(_path: str, text: str) -> dict[tuple[int, str], int]:
    """Return the last line of each function of a file, by its first line and its name."""
    found, waiting = {}, list[ast.AST](ast.parse(text).body)
    while waiting:
        node = waiting.pop()
        waiting += [*getattr(node, "body", []), *getattr(node, "orelse", [])]
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found[first, node.name] = node.end_lineno
    return found


def register_file(function: Callable[..., Any]) -> int:
    """Return the number of a function's file: a digest of its module's name, or the next that is free."""
    known = function.__module__, function.__code__.co_filename
    if known not in _NUMBERS:
        _NUMBERS[known] = _numbered(function.__module__, inspect.getsourcefile(function.__code__) or "")
    return _NUMBERS[known]


_NUMBERS: dict[tuple[str, str], int] = {}
"""The numbers of modules and files that were asked for: the file system is looked at once for each."""


def _numbered(module: str, path: str) -> int:
    """Return the number of a module's file."""
    number = zlib.crc32(module.encode()) & 0xFFFF
    entry = (shown_path(path), path)
    while SOURCES.setdefault(number, entry) != entry:
        number = (number + 1) & 0xFFFF
    return number


def shown_path(path: str) -> str:
    """Return a path as messages show it: from the root of the kit, or the name of a file elsewhere."""
    root, whole = Path(__file__).resolve().parents[2], Path(path).resolve()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else whole.name


def source_text(location: int) -> str:
    """Return `file:line` of a location in a record, or an empty string."""
    shown = SOURCES.get(location >> 16 & 0xFFFF)
    return f"{shown[0]}:{location & 0xFFFF}" if shown else ""


def source_line(location: int) -> str:
    """Return the text of the line that a location points to."""
    return _whole_line(location).strip()


def indent_of(location: int) -> int:
    """Return how far the line that a location points to is indented."""
    line = _whole_line(location)
    return len(line) - len(line.lstrip())


def _whole_line(location: int) -> str:
    lines, number = _source_of(location).splitlines(), location & 0xFFFF
    return lines[number - 1] if 0 < number <= len(lines) else ""


def file_tree(location: int) -> ast.Module:
    """Return the syntax tree of the file that a location points into, an empty one if there is none."""
    return ast.parse(_source_of(location))


def _source_of(location: int) -> str:
    known = SOURCES.get(location >> 16 & 0xFFFF)
    return Path(known[1]).read_text(encoding="utf-8") if known and Path(known[1]).is_file() else ""


def _erase_annotations(definition: ast.FunctionDef) -> None:
    definition.returns = None
    for argument in definition.args.args:
        argument.annotation = None


_MARKED = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return)


class _Rewriter(ast.NodeTransformer):
    """Normalise calls; store the line before statements that call what touches the core.

    A function of numbers takes the core, too, to hand it on to its like, and touches it no more than they do.
    """

    def __init__(self, scope: dict[str, Any], core: str, base: int, shown: str) -> None:
        self.scope, self.core, self.base, self.shown = scope, core, base, shown
        self.called = self.touches_core = False

    def visit(self, node: ast.AST) -> Any:
        """Put the line before a statement that calls."""
        if isinstance(node, _MARKED) and self.base >= 0:
            self.called = False
            visited = super().visit(node)
            return [self._mark(node.lineno), visited] if self.called else visited
        if isinstance(node, ast.If | ast.While | ast.For) and self.base >= 0:
            head = node.iter if isinstance(node, ast.For) else node.test
            calls = any(isinstance(part, ast.Call) and self._touches(part) for part in ast.walk(head))
            visited = super().visit(node)
            return [self._mark(node.lineno), visited] if calls else visited
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        self.touches_core |= node.id == self.core
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        parameters, touches = parameters_of(self._target(node.func)), self._touches(node)
        of_numbers = parameters is not None and not touches
        node.args[:] = node.args[:of_numbers] + [self.visit(each) for each in node.args[of_numbers:]]
        node.keywords = [self.visit(each) for each in node.keywords]
        self.called |= touches
        if parameters is None or not node.args:
            return node
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            return node  # *operands: Python or Numba puts them in order
        given = dict(zip([name for name, _, _ in parameters], node.args[1:], strict=False))
        named = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        wrong = _wrong_call(parameters, len(node.args) - 1, list(named))
        if wrong:
            raise DavinciError(
                f"{self.shown}:{node.lineno}: {ast.unparse(node)}\n  rule: {wrong}\n"
                f"  next: {ast.unparse(node.func)} takes {_signature(self.core, parameters)}"
            )
        given |= named
        self._refuse_quotients(node, parameters, given)
        values = [
            given.get(name) or ast.copy_location(ast.Constant(default), node)
            for name, default, _ in parameters
        ]
        call = ast.Call(func=node.func, args=[node.args[0], *values], keywords=[])
        return ast.copy_location(call, node)

    def _refuse_quotients(
        self, node: ast.Call, parameters: list[Parameter], given: dict[str, ast.expr]
    ) -> None:
        """Refuse `/` where an integer is wanted: compiled code would cut what plain Python hands on."""
        wrong = [name for name, _, kind in parameters if kind == "int" and _divides(given.get(name))]
        if wrong:
            value = ast.unparse(given[wrong[0]])
            raise DavinciError(
                f"{self.shown}:{node.lineno}: {ast.unparse(node)}\n"
                f"  rule: {wrong[0]} is a whole number, {value} is none\n  next: divide with //"
            )

    def _touches(self, call: ast.Call) -> bool:
        target = self._target(call.func)
        return parameters_of(target) is not None and touches_core(target)

    def _target(self, callee: ast.expr) -> Any:
        if isinstance(callee, ast.Name):
            return self.scope.get(callee.id)
        if isinstance(callee, ast.Attribute) and isinstance(callee.value, ast.Name):
            return getattr(self.scope.get(callee.value.id), callee.attr, None)
        return None

    def _mark(self, line: int) -> ast.stmt:
        statement = ast.parse(f"{self.core}.state[{LOCATION}] = {self.base | line}").body[0]
        for node in ast.walk(statement):
            ast.copy_location(node, ast.Pass(lineno=line, col_offset=0, end_lineno=line, end_col_offset=0))
        return statement


def _divides(value: ast.expr | None) -> bool:
    """Tell whether an argument is a quotient, or made of one without a call in between."""
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.Div) or _divides(value.left) or _divides(value.right)
    return isinstance(value, ast.UnaryOp) and _divides(value.operand)


def _wrong_call(parameters: list[Parameter], positional: int, named: list[str]) -> str:
    """Say what is wrong with a call that gives so many arguments in order and these by name, or nothing."""
    names = [name for name, _, _ in parameters]
    if positional > len(names):
        return f"{positional} arguments follow the core, at most {len(names)} are taken"
    for name in named:
        if name not in names:
            return f"there is no argument {name}"
        if name in names[:positional]:
            return f"argument {name} is given twice"
    given = {*names[:positional], *named}
    missing = [name for name, default, _ in parameters if default is None and name not in given]
    return f"{', '.join(missing)} must be given" if missing else ""


def _signature(core: str, parameters: list[Parameter]) -> str:
    shown = [name if default is None else f"{name}={default}" for name, default, _ in parameters]
    return f"({', '.join([core, *shown])})"
