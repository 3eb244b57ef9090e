"""The claims as they were published: how much shorter a step is than on another machine.

Such a ratio compares two machines with two pieces of software and two batch sizes. It can show that the sum
of all that is different is worth so much. It cannot show what the graph engine is worth: that is what the
waterfall is for, on one and the same chip.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(__file__).parent / "published.json"
StepMs = Callable[[str, int], float | None]
"""Network and batch -> our milliseconds of a step; None where it was not timed."""


class Published(NamedTuple):
    """A training step that was measured on real devices."""

    network: str
    batch: int
    samples_per_s: float
    devices: int
    software: str
    source: str

    @property
    def ms(self) -> float:
        """Milliseconds of a step of all devices."""
        return 1e3 * self.batch * self.devices / self.samples_per_s


class Ratio(NamedTuple):
    """How much less time a sample takes than on another machine, published and with our step."""

    network: str
    baseline: str
    baseline_per_s: float
    against: Published
    ours_per_s: float | None
    source: str

    @property
    def published(self) -> float:
        """The part of the time that is spared, of what was measured."""
        return 1 - self.baseline_per_s / self.against.samples_per_s

    @property
    def ours(self) -> float | None:
        """The same with the simulated step; that of eight devices scales as the real ones did."""
        return None if self.ours_per_s is None else 1 - self.baseline_per_s / self.ours_per_s


def read_published() -> dict[str, Any]:
    """Return what is known of real machines."""
    table: dict[str, Any] = json.loads(SOURCE.read_text(encoding="utf-8"))
    return table | {
        group: [_published(each, table["imagenet"]) for each in table[group]] for group in ("steps", "eight")
    }


def _published(entry: dict[str, Any], imagenet: dict[str, int]) -> Published:
    known = entry | {"samples_per_s": _per_s(entry, imagenet)}
    return Published(**{key: known[key] for key in Published._fields})


def ratios(step_ms: StepMs) -> Iterator[Ratio]:
    """Yield each baseline against each published step of its network with as many devices."""
    table = read_published()
    for baseline in table["baselines"]:
        per_s = _per_s(baseline, table["imagenet"])
        group = "steps" if baseline["devices"] == 1 else "eight"
        for against in table[group]:
            if against.network != baseline["network"]:
                continue
            ms = step_ms(against.network, against.batch)
            ours = None if ms is None else 1e3 * against.batch / ms * _scaling(against, table["steps"])
            yield Ratio(against.network, baseline["machine"], per_s, against, ours, baseline["source"])


def _per_s(entry: dict[str, Any], imagenet: dict[str, int]) -> float:
    """Return samples a second; of a time to train, those of all its epochs."""
    if "hours" in entry:
        return float(imagenet["images"] * imagenet["epochs"] / (3600 * entry["hours"]))
    return float(entry["samples_per_s"])


def _scaling(against: Published, single: list[Published]) -> float:
    """Return how many times one device so many are worth, as measured with the same or the next software."""
    if against.devices == 1:
        return 1.0
    alike = [each for each in single if (each.network, each.batch) == (against.network, against.batch)]
    one = min(alike, key=lambda each: (each.software != against.software, each.software))
    return against.samples_per_s / one.samples_per_s
