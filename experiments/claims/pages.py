"""The report: every number with what it is compared with, in words and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from experiments.claims.ledger import CAUSES, totals
from experiments.claims.ratios import read_published
from experiments.claims.stages import saving
from experiments.claims.steps import host_us

if TYPE_CHECKING:
    from experiments.claims.classes import Ratios
    from experiments.claims.findings import Compared, Explained, Findings
    from experiments.claims.ratios import Ratio
    from experiments.claims.stages import Waterfall

ABOUT_RATIOS = (
    "A ratio against another machine mixes two chips, two pieces of software and often two batch sizes. It "
    "shows that all of that together is worth so much; with the simulated time in place of the measured one "
    "it shows that the simulation would have led to the same sentence. It cannot show what the graph engine "
    "is worth, nor that the other machine could not do better: better software on the same V100 moves the "
    "number by more than ten points. The waterfalls below hold the chip and the batch still."
)
ABOUT_CLAIMS = (
    "The 62 % of the announcement is the first row: one V100 with 16 GB against one 910. For its 23 % no "
    "baseline was named; the nearest candidate is 22.8 %, 139 minutes to train on eight 910 against 3.0 "
    "hours on eight V100. Simulated is the same with our step, with the fusions of 2020, in place of the "
    "measured one; eight devices scale as the real ones did."
)
ABOUT_WITHOUT = (
    "Each stage has one thing more than the one before it; below, everything is on but one. Tasks that the "
    "host sends one by one have no streams either, so that all but the whole graph lacks both."
)
ABOUT_LEDGER = (
    "This is the step with everything but streams: one task after the other, so that each has its time to "
    "itself. Each task climbs a ladder: the start of the task; products on the cube at its peak; what the "
    "cube takes beyond (fractals that are not full, heads); what the vector unit, the moves into L0, the "
    "cores' paths, L2 and HBM need beyond that; what moves take longer because bytes cross again or wait for "
    "other cores; starts of blocks; and what is left. Work that hides behind other work costs nothing. The "
    "order is a choice; the sum is not: it equals the step to the cycle."
)

ABOUT_CLASSES = (
    "The last column divides each class by what the kit's kernels take of the time of published single "
    "operators of that class (the experiment on operators, from an empty L2; medians). If the layers of the "
    "step were like those records, and nothing else differed, the real step would take the sum. What lies "
    "between that sum and the published step is not in the operators: the input pipeline, gaps between "
    "tasks, the recipe, and records that are of other sizes."
)
PICTURES = ("![](waterfalls.png)", "![](without.png)", "![](dispatch.png)")


def page(found: Findings) -> str:
    """Return report.md."""
    parts = [
        f"# Training steps on the simulated {found.platform.name}", "![](claims.png)",
        "## Beside published steps", _compared(found), *_classes(found),
        "## The claims as ratios", ABOUT_CLAIMS, _ratios(found.ratios), _sources(), ABOUT_RATIOS,
        "## What shortens a step", *((ABOUT_WITHOUT, *PICTURES) if found.is_whole else ()),
        *map(_waterfall, found.waterfalls), _memory(found),
        "## Where the cycles go", ABOUT_LEDGER, "![](ledger.png)", *map(_ledger, found.explained),
        *_what_ifs(found),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _rows(rows: Iterable[Sequence[object]]) -> str:
    """Return a table of Markdown; the first row holds the names."""
    head, *others = (f"| {' | '.join(map(str, row))} |" for row in rows)
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *others])


def _compared(found: Findings) -> str:
    def rows() -> Iterator[Sequence[object]]:
        yield "step", "software", "published ms", "fusions of 2020, ms", "ratio", f"{found.best_name}, ms"
        for each in found.compared:
            of = each.published
            what = f"{each.real.ms:.1f}", f"{each.ratio:.2f}", f"{each.whole.ms:.1f}"
            yield each.case.title, of.software, f"{of.ms:.1f}", *what

    return _rows(rows())


def _classes(found: Findings) -> Iterator[str]:
    """Yield the steps by class of operators, where the records of single ones were timed."""
    steps: dict[str, list[Compared]] = {}
    for each in found.compared if found.records else ():
        steps.setdefault(each.step, []).append(each)
    for alike in steps.values():
        published = (f"{each.published.ms:.1f} ms published ({each.published.software})" for each in alike)
        yield f"### {alike[0].case.title}: {', '.join(published)}, by class of operators"
        yield _class_table(alike[0], found.records)
    if found.records:
        yield ABOUT_CLASSES


def _class_table(of: Compared, records: Ratios) -> str:
    """Return a step by class of operators, and what it would take by the records of single ones."""
    classes = of.classes(records)

    def rows() -> Iterator[Sequence[object]]:
        yield "class", "tasks", "ms", "share", "records", "simulated / published", "as the records say, ms"
        for row in classes:
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            what = f"{row.ms:.2f}", f"{row.ms / of.real.ms:.0%}", row.records, ratio
            yield row.kind, row.tasks, *what, f"{row.expected_ms:.2f}"
        told = sum(row.expected_ms for row in classes)
        yield "step", of.real.tasks, f"{of.real.ms:.2f}", "", "", "", f"{told:.2f}"

    return _rows(rows())


def _what_ifs(found: Findings) -> Iterator[str]:
    """Yield the steps on chips with other figures."""
    if not found.what_ifs:
        return
    rows: list[Sequence[object]] = [("step", "change", "ms", "before, ms", "times as fast")]
    for each in found.what_ifs:
        ms = f"{each.timed.ms:.2f}", f"{each.before.ms:.2f}"
        rows.append((each.case.title, each.change, *ms, f"{each.faster:.2f}"))
    yield "## What another chip would do"
    yield _rows(rows)


def _ratios(ratios: Sequence[Ratio]) -> str:
    def rows() -> Iterator[Sequence[object]]:
        yield (
            "network", "against", "samples/s", "910A published, samples/s", "source", "published",
            "simulated", "source of what it is against",
        )  # fmt: skip
        for each in ratios:
            ours = "" if each.ours is None else f"{each.ours:.1%}"
            against = f"{each.against.samples_per_s:.0f} ({each.against.software}, {each.against.batch})"
            what = against, each.against.source, f"{each.published:.1%}", ours, each.source
            yield each.network, each.baseline, f"{each.baseline_per_s:.1f}", *what

    return _rows(rows())


def _sources() -> str:
    """Say what the names of sources stand for."""
    told = read_published()["_meta"].items()
    return "\n".join(f"- {name}: {text}" for name, text in told if name != "what")


def _waterfall(wall: Waterfall) -> str:
    def rows() -> Iterator[Sequence[object]]:
        yield "stage", "ms", "saved", "tasks", "device memory, GB"
        first = wall.one_by_one[0].ms
        bars = [("", bar) for bar in wall.one_by_one] + [("all but ", bar) for bar in wall.without]
        for prefix, bar in bars:
            what = f"{bar.ms:.2f}", f"{1 - bar.ms / first:.1%}", bar.timed.tasks
            yield f"{prefix}{bar.stage.name}", *what, f"{bar.timed.memory_bytes / 1e9:.2f}"

    return f"### {wall.case.title}\n\n{_rows(rows())}\n\n{_pace(wall)}"


def _pace(wall: Waterfall) -> str:
    """Say from which cost of dispatch on the device waits for the host."""
    first = wall.one_by_one[0].timed
    us = 1e3 * first.ms / first.tasks
    most = max(first.dispatch)
    return (
        f"Tasks of single operators take {us:.0f} us on average: a host that sends one in less is hidden "
        f"behind the device, and one that takes {most:g} us makes the step {first.dispatched_ms(most):.1f} "
        f"ms long, of which the whole graph spares {saving(wall, most):.0%}."
    )


def _memory(found: Findings) -> str:
    """Say what does not fit the chip, and how it was timed."""
    most, host = int(found.platform.gm_bytes), found.platform.figures["host_launch_cycles"]
    texts = [
        f"What the host takes to send a task, {host_us(found.platform):g} us, is {host.provenance}: "
        f"{host.source}."
    ]
    bars = [(wall, bar) for wall in found.waterfalls for bar in (*wall.one_by_one, *wall.without)]
    large = [f"{wall.case.title}, {bar.stage.name}" for wall, bar in bars if not bar.timed.fits]
    if large:
        texts.append(
            f"Device memory has {most / 1e9:.1f} GB. What needs more was timed on a chip with more, which "
            f"there is not: {'; '.join(large)}."
        )
    return " ".join(texts)


def _ledger(each: Explained) -> str:
    total, ms = totals(each.book), 1e3 / each.timed.clock_hz

    def rows() -> Iterator[Sequence[object]]:
        yield "layer", "ms", *CAUSES
        for layer, charges in (*each.book.items(), ("step", total)):
            shares = (f"{charges.get(cause, 0) * ms:.2f}" for cause in CAUSES)
            yield layer, f"{sum(charges.values()) * ms:.2f}", *shares

    return f"### {each.case.title}, one stream, milliseconds\n\n{_rows(rows())}"
