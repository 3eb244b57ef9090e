"""The shape of the source: who imports whom, how long things are, what is not allowed."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ("davinci_sim", "kernels", "framework", "experiments")  # each may import itself and those before it
SIM_ORDER = ("platforms", "memory", "isa", "core", "chip", "trace")
SEES_THE_DEVICE = "framework/graph_engine/"  # the only part of the framework that does
FILE_LINES, FUNCTION_LINES = 500, 60
LONG_FILES: set[str] = set()  # exceptions by name, with the reason beside them
LONG_FUNCTIONS: set[str] = set()
FORBIDDEN = {
    "fastmath": "results must not depend on the CPU",
    "prange": "results must not depend on the number of threads",
    "pickle": "files are data and never execute",
    "dill": "files are data and never execute",
    "cloudpickle": "files are data and never execute",
}
MARKS = ("TODO", "FIXME", "XXX")

FILES = sorted(
    path.relative_to(ROOT).as_posix() for package in ORDER for path in (ROOT / package).rglob("*.py")
)
FOLDERS = sorted({Path(file).parent.as_posix() for file in FILES})


@functools.cache
def tree(file: str) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse((ROOT / file).read_text(), file)


def imports(file: str, node: ast.AST | None = None) -> Iterator[str]:
    """Yield the absolute names of the modules that a file imports, also inside functions."""
    for child in ast.walk(node or tree(file)):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            package = Path(file).parts[: -child.level] if child.level else ()
            module = ".".join((*package, *([child.module] if child.module else ())))
            yield from (f"{module}.{alias.name}" for alias in child.names)


def allowed(file: str, name: str) -> bool:
    """Tell whether the import of `name` in `file` points downwards."""
    here, there = Path(file).with_suffix("").parts, name.split(".")
    if there[0] not in ORDER or there[:2] == ["davinci_sim", "errors"]:
        return True
    if here[0] == there[0] == "davinci_sim":
        return inside_the_simulator(here, there)
    if here[0] == "framework" and there[0] in {"davinci_sim", "kernels"}:
        return file.startswith(SEES_THE_DEVICE)
    return ORDER.index(here[0]) >= ORDER.index(there[0])


def inside_the_simulator(here: tuple[str, ...], there: list[str]) -> bool:
    """Tell whether one part of davinci_sim may import another; the package itself may import all."""
    if here[1] == "__init__":
        return True
    return there[1] in SIM_ORDER and SIM_ORDER.index(here[1]) >= SIM_ORDER.index(there[1])


@pytest.mark.parametrize("file", FILES)
def test_imports_point_downwards(file):
    """davinci_sim < kernels < framework < experiments, and platforms < memory < isa < core < chip < trace."""
    assert [name for name in imports(file) if not allowed(file, name)] == []


def test_the_rule_of_imports_is_the_one_of_the_design():
    """The rule itself, on imports that are and are not allowed."""
    good = [
        ("davinci_sim/memory/buffer.py", "davinci_sim.platforms.Platform"),
        ("davinci_sim/platforms/platform.py", "davinci_sim.errors.unknown"),
        ("davinci_sim/__init__.py", "davinci_sim.chip.Chip"),
        ("kernels/matmul.py", "davinci_sim.isa.mmad"),
        ("framework/jit.py", "framework.graph_engine"),
        ("framework/graph_engine/service/load.py", "kernels.matmul"),
        ("framework/tensor.py", "davinci_sim.errors"),
        ("experiments/demo/experiment.py", "framework.nn"),
    ]
    bad = [
        ("davinci_sim/platforms/ascend910a.py", "davinci_sim.memory.Buffer"),
        ("davinci_sim/core/core.py", "davinci_sim.trace.timeline.draw_timeline"),
        ("davinci_sim/memory/layout.py", "davinci_sim.isa.mmad"),
        ("davinci_sim/chip/chip.py", "kernels.matmul"),
        ("kernels/matmul.py", "framework.ops"),
        ("framework/ops/matmul.py", "kernels.matmul"),
        ("framework/nn/cell.py", "davinci_sim.chip.Chip"),
        ("framework/nn/cell.py", "experiments.cli"),
    ]
    assert [case for case in good if not allowed(*case)] == []
    assert [case for case in bad if allowed(*case)] == []


@pytest.mark.parametrize("file", FILES)
def test_files_and_functions_are_short(file):
    """A file has at most 500 lines, a function at most 60."""
    lines = len((ROOT / file).read_text().splitlines())
    assert lines <= FILE_LINES or file in LONG_FILES, f"{file} has {lines} lines; split it"
    functions = (n for n in ast.walk(tree(file)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = {f"{file}:{f.name}": (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    long = {name: length for name, length in lengths.items() if length > FUNCTION_LINES}
    assert {name: length for name, length in long.items() if name not in LONG_FUNCTIONS} == {}


@pytest.mark.parametrize("file", FILES)
def test_nothing_forbidden_is_used(file):
    """No fastmath, no prange, no pickle: by name, as an attribute, as a keyword or as an import."""
    used = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            used.add(node.arg)
    used |= {part for name in imports(file) for part in name.split(".")}
    assert {word: FORBIDDEN[word] for word in used & FORBIDDEN.keys()} == {}


@pytest.mark.parametrize("file", FILES)
def test_no_work_is_left_as_a_mark(file):
    """What is left to do stands in an issue, not in the source."""
    text = (ROOT / file).read_text()
    assert [mark for mark in MARKS if mark in text] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_package_says_what_it_is(folder):
    """Each folder with Python files has an __init__.py with a docstring."""
    init = ROOT / folder / "__init__.py"
    assert init.exists(), f"{folder} has no __init__.py"
    assert ast.get_docstring(ast.parse(init.read_text())), f"{folder}/__init__.py has no docstring"
