"""What was found, as pages, tables and traces: report.md, CSV and JSON files, Perfetto."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from davinci_sim.trace.files import atomic_file
from experiments.claims import pages, picture
from experiments.claims.classes import Class
from experiments.claims.ledger import CAUSES
from experiments.claims.stages import saving
from experiments.claims.steps import host_us

if TYPE_CHECKING:
    from experiments.claims.findings import Explained, Findings
    from experiments.harness import Context


def write(context: Context, found: Findings) -> None:
    """Write everything into the folder of the results."""
    picture.draw(context.artifact("claims.png"), found)
    if found.is_whole:
        picture.draw_waterfalls(context.artifact("waterfalls.png"), found.waterfalls)
        picture.draw_without(context.artifact("without.png"), found.waterfalls)
        picture.draw_dispatch(context.artifact("dispatch.png"), found.waterfalls, host_us(found.platform))
    picture.draw_ledgers(context.artifact("ledger.png"), found.explained)
    _write(context.artifact("steps.csv"), _csv(_step_rows(found)))
    _write(context.artifact("classes.csv"), _csv(_class_rows(found)))
    _write(context.artifact("dispatch.csv"), _csv(_dispatch_rows(found)))
    _write(context.artifact("what_if.csv"), _csv(_what_if_rows(found)))
    _write(context.artifact("waterfall.csv"), _csv(_stage_rows(found)))
    for each in found.explained:
        name = f"{each.case.network}_{each.case.batch}"
        _write(context.artifact(f"ledger_{name}.csv"), _csv(_ledger_rows(each)))
        _write(context.artifact(f"trace_{name}.json"), json.dumps({"traceEvents": list(_events(each))}))
    _write(context.artifact("claims.json"), json.dumps(_as_json(found), indent=1) + "\n")
    _write(context.artifact("report.md"), pages.page(found))


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _step_rows(found: Findings) -> Iterator[tuple[object, ...]]:
    yield "step", "software", "published_ms", "real_ms", "ratio", "whole_ms"
    for each in found.compared:
        of = each.published
        yield each.step, of.software, of.ms, each.real.ms, each.ratio, each.whole.ms


def _stage_rows(found: Findings) -> Iterator[tuple[object, ...]]:
    yield "network", "batch", "way", "stage", "ms", "tasks", "memory_bytes"
    for wall in found.waterfalls:
        for way, bars in (("one by one", wall.one_by_one), ("all but", wall.without)):
            for bar in bars:
                what = bar.stage.name, bar.ms, bar.timed.tasks, bar.timed.memory_bytes
                yield wall.case.network, wall.case.batch, way, *what


def _class_rows(found: Findings) -> Iterator[tuple[object, ...]]:
    yield "step", "software", *Class._fields, "expected_ms"
    for each in found.compared:
        for row in each.classes(found.records):
            of = each.published
            yield each.step, of.software, *row, row.expected_ms


def _dispatch_rows(found: Findings) -> Iterator[tuple[object, ...]]:
    yield "network", "batch", "host_us", "op_by_op_ms", "saved"
    for wall in found.waterfalls:
        first = wall.one_by_one[0].timed
        for us in sorted(first.dispatch):
            yield wall.case.network, wall.case.batch, us, first.dispatched_ms(us), saving(wall, us)


def _what_if_rows(found: Findings) -> Iterator[tuple[object, ...]]:
    yield "network", "batch", "change", "ms", "before_ms", "times_as_fast"
    for each in found.what_ifs:
        ms = each.timed.ms, each.before.ms, each.faster
        yield each.case.network, each.case.batch, each.change, *ms


def _ledger_rows(each: Explained) -> Iterator[tuple[object, ...]]:
    yield "layer", *CAUSES, "cycles"
    for layer, charges in each.book.items():
        yield layer, *(charges.get(cause, 0) for cause in CAUSES), sum(charges.values())


def _events(each: Explained) -> Iterator[dict[str, Any]]:
    """Yield Chrome trace events: a track of tasks."""
    us, cycle = 1e6 / each.timed.clock_hz, 0
    for row in each.timed.rows:
        yield {
            "name": row.name, "cat": row.op, "ph": "X", "pid": 0, "tid": 0, "ts": cycle * us,
            "dur": row.cycles * us, "args": {"layer": row.layer, "kernel": row.kernel},
        }  # fmt: skip
        cycle += row.cycles


def _as_json(found: Findings) -> dict[str, Any]:
    def table(rows: Iterable[Sequence[object]]) -> list[dict[object, object]]:
        names, *others = rows
        return [dict(zip(names, row, strict=True)) for row in others]

    return {
        "platform": found.platform.name,
        "steps": table(_step_rows(found)),
        "stages": table(_stage_rows(found)),
        "classes": table(_class_rows(found)),
        "dispatch": table(_dispatch_rows(found)),
        "what_ifs": table(_what_if_rows(found)),
        "ratios": [
            each._asdict()
            | {"against": each.against._asdict(), "published": each.published, "ours": each.ours}
            for each in found.ratios
        ],
        "ledgers": {each.case.title: table(_ledger_rows(each)) for each in found.explained},
    }
