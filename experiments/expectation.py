"""What an experiment expects of its metrics, and whether a value meets it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from davinci_sim.errors import DavinciError, unknown

KINDS = ("relative", "absolute", "at_least", "at_most")


@dataclass(frozen=True)
class Expectation:
    """A number with its tolerance.

    `kind` says what the tolerance is: a part of the number ("relative"), a distance ("absolute"), or how far
    below ("at_least") or above ("at_most") it a value may lie.
    """

    expected: float
    tolerance: float = 0.0
    kind: str = "relative"

    def met_by(self, value: float) -> bool:
        """Tell whether a value is close enough; NaN never is.

        >>> Expectation(1.15, 0.02).met_by(1.147), Expectation(0.97, kind="at_least").met_by(0.96)
        (True, False)
        """
        if not math.isfinite(value):
            return False
        if self.kind == "at_least":
            return value >= self.expected - self.tolerance
        if self.kind == "at_most":
            return value <= self.expected + self.tolerance
        reach = abs(self.expected) * self.tolerance if self.kind == "relative" else self.tolerance
        return abs(value - self.expected) <= reach

    def __str__(self) -> str:
        """Print as `1.15 +/- 2%`, `5 +/- 0.1` or `at least 0.97`."""
        if self.kind in {"at_least", "at_most"}:
            slack = f" +/- {self.tolerance:g}" if self.tolerance else ""
            return f"{self.kind.replace('_', ' ')} {self.expected:g}{slack}"
        width = f"{100 * self.tolerance:g}%" if self.kind == "relative" else f"{self.tolerance:g}"
        return f"{self.expected:g} +/- {width}"


@dataclass(frozen=True)
class Metric:
    """A value beside its expectation; None where there is no such thing."""

    value: float | None
    expectation: Expectation | None

    @property
    def ok(self) -> bool:
        """Tell whether the expectation is met; a value without one is only told."""
        if self.expectation is None:
            return True
        return self.value is not None and self.expectation.met_by(self.value)

    def line(self, key: str) -> str:
        """Print as `ok   key = value (expected ...)`, without a verdict where nothing is expected."""
        value = "missing" if self.value is None else f"{self.value:.6g}"
        if self.expectation is None:
            return f"     {key} = {value}"
        return f"{'ok  ' if self.ok else 'FAIL'} {key} = {value} (expected {self.expectation})"

    def as_json(self) -> dict[str, Any]:
        """Return value, expected, tolerance, kind and ok."""
        wanted = self.expectation
        finite = self.value is not None and math.isfinite(self.value)
        return {
            "value": self.value if finite else None,
            "expected": None if wanted is None else wanted.expected,
            "tolerance": None if wanted is None else wanted.tolerance,
            "kind": None if wanted is None else wanted.kind,
            "ok": self.ok,
        }


@dataclass(frozen=True)
class Expected:
    """What is expected of the whole experiment, and of its quick variant; None is not looked at."""

    whole: Expectation | None
    quick: Expectation | None


def judge(values: Mapping[str, float], expected: Mapping[str, Expected], quick: bool) -> dict[str, Metric]:
    """Put each value beside its expectation; an expected metric that has no value fails."""
    wanted = {key: each.quick if quick else each.whole for key, each in expected.items()}
    keys = [*values, *(key for key, each in wanted.items() if each is not None and key not in values)]
    return {key: Metric(_number(key, values), wanted.get(key)) for key in keys}


def read_expectations(path: Path) -> dict[str, Expected]:
    """Read `{metric: {"expected": v, "tolerance": t, "kind": k, "quick": {...} or null}}`.

    `_meta` is for people.

    Without "quick" the quick variant is expected to do the same; with null it is not judged.

    Raises:
        DavinciError: the file is missing or not of this form.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DavinciError(
            f"cannot read {path}: {error.strerror}; an experiment states what it expects"
        ) from None
    except ValueError as error:
        raise DavinciError(f"{path} is no JSON: {error}") from None
    return {key: _entry(path, key, entry) for key, entry in table.items() if key != "_meta"}


def _entry(path: Path, key: str, entry: Any) -> Expected:
    if not isinstance(entry, dict):
        raise DavinciError(f'{path}: {key} is {entry!r}; write {{"expected": 1.15, "tolerance": 0.02}}')
    whole = _expectation(path, key, {name: value for name, value in entry.items() if name != "quick"})
    quick = entry.get("quick", {})
    return Expected(whole, None if quick is None else _expectation(path, key, {**entry, **quick}))


def _expectation(path: Path, key: str, entry: Mapping[str, Any]) -> Expectation:
    kind = entry.get("kind", "relative")
    if kind not in KINDS:
        raise unknown(f"kind of {key} in {path.name}", kind, KINDS)
    try:
        return Expectation(float(entry["expected"]), float(entry.get("tolerance", 0.0)), kind)
    except (KeyError, TypeError, ValueError):
        raise DavinciError(
            f'{path}: {key} needs numbers "expected" and "tolerance", it has {dict(entry)}'
        ) from None


def _number(key: str, values: Mapping[str, float]) -> float | None:
    try:
        return float(values[key]) if key in values else None
    except (TypeError, ValueError):
        raise DavinciError(
            f"metric {key} is {values[key]!r}; an experiment returns numbers by name"
        ) from None
