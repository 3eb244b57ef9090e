"""What a benchmark is: a function that returns one number, its unit and the bound that was asked for."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPEATS = 5
Work = Callable[[], float]


@dataclass(frozen=True)
class Benchmark:
    """A number that tells how quick something is; `at_most` or `at_least` is the bound that was asked for."""

    name: str
    unit: str
    run: Work
    at_most: float | None = None
    at_least: float | None = None

    def verdict(self, value: float) -> str:
        """Say whether the bounds are met."""
        verdicts = []
        if self.at_most is not None:
            verdicts.append(f"{'met' if value <= self.at_most else 'MISSED'} (at most {self.at_most:g})")
        if self.at_least is not None:
            verdicts.append(f"{'met' if value >= self.at_least else 'MISSED'} (at least {self.at_least:g})")
        return ", ".join(verdicts)


BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(
    unit: str, at_most: float | None = None, at_least: float | None = None
) -> Callable[[Work], Work]:
    """Register a function as the benchmark of its name."""

    def register(function: Work) -> Work:
        BENCHMARKS[function.__name__] = Benchmark(function.__name__, unit, function, at_most, at_least)
        return function

    return register


def median_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median time of a call; a first call warms up and does not count."""
    work()
    return statistics.median(seconds(work) for _ in range(repeats))


def seconds(work: Callable[[], object]) -> float:
    """Return the time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def python(*arguments: str, **environment: str) -> Callable[[], str]:
    """Return a call of a fresh interpreter, started where the packages are; it returns what that prints."""
    command = [sys.executable, *arguments]

    def call() -> str:
        whole = {**os.environ, **environment}
        done = subprocess.run(command, cwd=ROOT, env=whole, stdout=subprocess.PIPE, check=True, text=True)
        return done.stdout

    return call
