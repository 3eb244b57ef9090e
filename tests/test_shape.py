"""The shape of the source: who imports whom, how long things are, what is not allowed."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import NamedTuple

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


class Source(NamedTuple):
    """What the rules ask of a file."""

    lines: int
    functions: dict[str, int]  # name -> lines
    imported: list[str]  # absolute names of modules, also inside functions
    used: set[str]  # names, attributes, keywords and parts of imports
    marks: list[str]
    says_what_it_is: bool


@functools.cache
def source(file: str) -> Source:
    """Read a file and walk over its syntax tree, once."""
    text = (ROOT / file).read_text()
    tree = ast.parse(text, file)
    functions, imported, used = {}, [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions[node.name] = max(functions.get(node.name, 0), node.end_lineno - node.lineno + 1)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imported += imports(file, node)
        elif isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            used.add(node.arg)
    used |= {part for name in imported for part in name.split(".")}
    marks = [mark for mark in MARKS if mark in text]
    return Source(len(text.splitlines()), functions, imported, used, marks, bool(ast.get_docstring(tree)))


def imports(file: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the absolute names of the modules that a statement of a file imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = Path(file).parts[: -node.level] if node.level else ()
    module = ".".join((*package, *([node.module] if node.module else ())))
    return [f"{module}.{alias.name}" for alias in node.names]


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


def test_imports_point_downwards():
    """davinci_sim < kernels < framework < experiments, and platforms < memory < isa < core < chip < trace."""
    assert [(file, name) for file in FILES for name in source(file).imported if not allowed(file, name)] == []


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


def test_files_are_short():
    """A file has at most 500 lines; a longer one is split."""
    lines = {file: source(file).lines for file in FILES if file not in LONG_FILES}
    assert {file: count for file, count in lines.items() if count > FILE_LINES} == {}


def test_functions_are_short():
    """A function has at most 60 lines."""
    lines = {f"{file}:{name}": count for file in FILES for name, count in source(file).functions.items()}
    long = {name: count for name, count in lines.items() if count > FUNCTION_LINES}
    assert {name: count for name, count in long.items() if name not in LONG_FUNCTIONS} == {}


def test_nothing_forbidden_is_used():
    """No fastmath, no prange, no pickle: by name, as an attribute, as a keyword or as an import."""
    used = [(file, word) for file in FILES for word in source(file).used & FORBIDDEN.keys()]
    assert [(file, word, FORBIDDEN[word]) for file, word in used] == []


def test_no_work_is_left_as_a_mark():
    """What is left to do stands in an issue, not in the source."""
    assert [(file, source(file).marks) for file in FILES if source(file).marks] == []


def test_every_package_says_what_it_is():
    """Each folder with Python files has an __init__.py with a docstring."""
    inits = [f"{folder}/__init__.py" for folder in FOLDERS]
    assert [init for init in inits if init not in FILES or not source(init).says_what_it_is] == []
