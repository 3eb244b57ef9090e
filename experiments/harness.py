"""What makes a folder an experiment, and how it is run and judged.

A folder with `experiment.py` holds a claim (`CLAIM`, a sentence), what is expected (`expected.json`) and
`run(context) -> {metric: value}`. The harness compares, writes `report.json` and answers ok or FAIL.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform as machine
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from davinci_sim.errors import DavinciError, unknown
from experiments.expectation import Expected, Metric, judge, read_expectations
from experiments.files import writable_folder
from experiments.user_files import load_module

if TYPE_CHECKING:
    from rich.console import Console

HERE = Path(__file__).parent
REPORT = "report.json"
PACKAGES = ("davinci-kit", "numpy", "numba", "simpy", "scikit-learn")  # what can change a result


@dataclass(frozen=True)
class Experiment:
    """One folder: what it claims, what it expects, and how to find out."""

    name: str
    folder: Path
    claim: str
    expected: Mapping[str, Expected]
    run: Callable[[Context], Mapping[str, float]]


@dataclass
class Context:
    """What an experiment is given.

    Attributes:
        quick: take the short variant.
        out: the folder of the results; it exists and can be written.
        seed: of all randomness.
        platform: the simulated chip, by name or as a file of the user's own; `Chip` and `platform` take it.
        engine: what tells the time, fast or reference.
        console: where tables for people go; progress bars go to `progress_console`.
        artifacts: the files that were registered.
    """

    quick: bool
    out: Path
    seed: int
    platform: str
    console: Console
    progress_console: Console
    engine: str = "fast"
    artifacts: list[Path] = field(default_factory=list)

    def artifact(self, name: str) -> Path:
        """Return the path of a result file, and remember it; the caller writes it."""
        path = self.out / name
        if not path.resolve().is_relative_to(self.out.resolve()):
            raise DavinciError(f"artifact {name!r} would lie outside of {self.out}; use a name without ..")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path not in self.artifacts:
            self.artifacts.append(path)
        return path

    def say(self, text: str) -> None:
        """Tell what is going on, beside the results."""
        self.progress_console.print(text, markup=False)


@dataclass(frozen=True)
class Outcome:
    """How an experiment went."""

    experiment: Experiment
    metrics: Mapping[str, Metric]
    artifacts: tuple[Path, ...]
    wall_s: float

    @property
    def ok(self) -> bool:
        """Tell whether every expectation is met."""
        return all(metric.ok for metric in self.metrics.values())

    def lines(self) -> list[str]:
        """Return one line per metric: ok or FAIL, the value, what was expected, and the claim.

        A metric of which nothing is expected is only told.
        """
        claim = f": {self.experiment.claim}"
        lines = [(metric.line(key), metric.expectation) for key, metric in self.metrics.items()]
        return [line if expectation is None else line + claim for line, expectation in lines]

    def as_json(self) -> dict[str, Any]:
        """Return the keys that the command line promises."""
        return {
            "name": self.experiment.name,
            "ok": self.ok,
            "claim": self.experiment.claim,
            "metrics": {key: metric.as_json() for key, metric in self.metrics.items()},
            "artifacts": [path.as_posix() for path in self.artifacts],
            "wall_s": self.wall_s,
        }


def experiment_names(root: Path = HERE) -> list[str]:
    """Return the names of the folders that hold an experiment, sorted."""
    if not root.is_dir():
        raise DavinciError(f"there is no folder {root}; give one that holds experiments")
    return sorted(path.parent.name for path in root.glob("*/experiment.py"))


def load(name: str, root: Path = HERE) -> Experiment:
    """Return an experiment by name.

    Raises:
        UnknownName: no folder of that name holds an experiment.
        DavinciError: its experiment.py lacks CLAIM or run, or its expected.json is wrong.
    """
    if name not in experiment_names(root):
        raise unknown("experiment", name, experiment_names(root))
    folder = root / name
    module = _module(folder, root)
    for needed in ("CLAIM", "run"):
        if not hasattr(module, needed):
            raise DavinciError(f"experiment {name}: its experiment.py has no {needed}")
    expected = read_expectations(folder / "expected.json")
    return Experiment(name, folder, module.CLAIM, expected, module.run)


def _module(folder: Path, root: Path) -> ModuleType:
    if root == HERE:
        return importlib.import_module(f"experiments.{folder.name}.experiment")
    return load_module(folder / "experiment.py", f"experiment_{folder.name}")


def run(experiment: Experiment, context: Context) -> Outcome:
    """Run an experiment, compare with what is expected and write its report.

    Raises:
        CannotWrite: the folder of the results cannot be written; found out before the work starts.
    """
    from kernels.tune.store import shipped_only

    writable_folder(context.out)
    start = time.perf_counter()
    with shipped_only():
        values = experiment.run(context)
    metrics = judge(values, experiment.expected, context.quick)
    report = context.artifact(REPORT)
    outcome = Outcome(experiment, metrics, tuple(context.artifacts), time.perf_counter() - start)
    _write_report(report, outcome, context)
    return outcome


def _write_report(path: Path, outcome: Outcome, context: Context) -> None:
    from davinci_sim.trace.files import atomic_file

    about = {
        **outcome.as_json(),
        "quick": context.quick,
        "seed": context.seed,
        "platform": context.platform,
        "engine": context.engine,
        "versions": versions(),
        "machine": {"system": machine.system(), "processor": machine.machine(), "cores": os.cpu_count()},
    }
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the versions of what can change a result; a package that is not installed is left out."""
    found = {"python": machine.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
