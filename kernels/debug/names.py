"""What a kernel calls its on-chip buffers: the variables that `alloc` was assigned to, wherever that was.

The records of a kernel know the kernel's own lines only, not those of the language's building blocks, which
allocate, too. So the function runs once as plain Python, up to its last buffer, and each call of `alloc` is
looked at with the statements that led to it.
"""

import ast
import sys
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

from davinci_sim.errors import DavinciError
from davinci_sim.platforms import Platform
from kernels.lang.buffers import alloc
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling

_ALLOC = getattr(alloc, "py_func", alloc).__code__
_CALLS_BETWEEN = "davinci_sim.isa.jit"
"""The module whose function stands between every two that emit."""


class _AllNamed(Exception):
    """Every buffer has been seen: the rest of the kernel need not run."""


def names_of(
    kernel: Kernel, shape: Shape, platform: Platform, tiling: Tiling | None, block: int, count: int
) -> list[str]:
    """Return the names of the first `count` buffers of a block, "" for one without; fewer if it fails."""
    watcher, before = _Watcher(count), sys.gettrace()
    try:
        sys.settrace(watcher.trace)
        kernel.plain(shape, platform, tiling, block)
    except (_AllNamed, DavinciError):
        pass
    finally:
        sys.settrace(before)
    return watcher.names


class _Watcher:
    """Notes the names of what is allocated while a kernel runs."""

    def __init__(self, count: int) -> None:
        self.count, self.names = count, list[str]()
        self.statement: tuple[int, int] = (0, 0)
        self.turn = 0

    def trace(self, frame: FrameType, event: str, _: Any) -> None:
        """Look at every call of `alloc`; empty buffers are none."""
        if event != "call" or frame.f_code is not _ALLOC:
            return
        name = self._name(_caller(frame))
        if frame.f_locals["nbytes"] > 0:
            self.names.append(name)
        if len(self.names) == self.count:
            raise _AllNamed

    def _name(self, frame: FrameType | None) -> str:
        """Return the variable that the allocating statement, or one that called it, assigns to."""
        first = True
        while frame is not None:
            found = targets(Path(frame.f_code.co_filename), frame.f_lineno)
            if first and found:
                self.turn = self.turn + 1 if self.statement == (id(frame), frame.f_lineno) else 0
                self.statement = (id(frame), frame.f_lineno)
            if found:
                return found[self.turn % len(found)] if first else found[0]
            frame, first = _caller(frame), False
        return ""


def _caller(frame: FrameType) -> FrameType | None:
    """Return the function that emits and called this one."""
    found = frame.f_back
    while found is not None and found.f_globals.get("__name__") == _CALLS_BETWEEN:
        found = found.f_back
    return found


def targets(path: Path, line: int) -> tuple[str, ...]:
    """Return the variables that the statement at a line assigns results of calls to."""
    if not path.is_file():
        return ()
    return _assignments(path, path.stat().st_mtime_ns).get(line, ())


@lru_cache(maxsize=64)
def _assignments(path: Path, _changed: int) -> dict[int, tuple[str, ...]]:
    """Return, by every line of an assignment, the variables that get what `alloc` or another call returns."""
    found: dict[int, tuple[str, ...]] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign):
            pairs = [(ast.unparse(target), _called(value)) for target, value in _pairs(node)]
            named = [target for target, calls in pairs if "alloc" in calls]
            named = named or [target for target, calls in pairs if calls]
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = tuple(named)
    return found


def _pairs(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    """Return which part of an assignment gets which value."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=False))
    return [(target, value)]


def _called(value: ast.expr) -> set[str]:
    """Return the names of the functions that an expression calls."""
    callees = (node.func for node in ast.walk(value) if isinstance(node, ast.Call))
    return {callee.id for callee in callees if isinstance(callee, ast.Name)}
