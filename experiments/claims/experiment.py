"""Whole training steps of ResNet-50 and BERT-Large on the simulated 910A, and what shortens them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from davinci_sim.platforms import platform
from experiments.claims import report
from experiments.claims.ahead import Told, time_ahead
from experiments.claims.classes import record_ratios
from experiments.claims.findings import Compared, Explained, Findings
from experiments.claims.ledger import ledger
from experiments.claims.plan import QUICK, WHOLE, Plan
from experiments.claims.ratios import Published, ratios
from experiments.claims.recipes import Case
from experiments.claims.stages import ONE_STREAM, REAL_STACK, waterfall
from experiments.claims.steps import Steps, Tell
from experiments.claims.what_if import what_ifs
from experiments.harness import Context
from framework.graph_engine import Options

CLAIM = "whole training steps take about as long as on a real 910A; optimised graphs as a whole are quicker"


def run(context: Context) -> dict[str, float]:
    """Time all steps; `quick`: ResNet-50 at batch 32, not stage by stage, on one stream."""
    plan = QUICK if context.quick else WHOLE
    with _shown(context) as (tell, told):
        steps = Steps(platform(context.platform), context.engine, tell)
        time_ahead(steps, plan.asks(steps.platform), told)
        found = _found(steps, plan)
    context.console.print(_table(found))
    report.write(context, found)
    return _metrics(found)


def _found(steps: Steps, plan: Plan) -> Findings:
    compared = tuple(_compared(each, steps, case, plan.best) for case, each in plan.published())
    ms = {(each.case.network, each.case.batch): each.real.ms for each in compared if not each.case.guarded}
    return Findings(
        steps.platform,
        compared,
        tuple(ratios(lambda network, batch: ms.get((network, batch)))),
        tuple(waterfall(case, steps, plan.stages, plan.without) for case in plan.cases),
        tuple(_explained(case, steps) for case in plan.explained),
        record_ratios(steps) if plan.without else {},
        tuple(each for case in plan.tried for each in what_ifs(case, steps)),
    )


def _compared(published: Published, steps: Steps, case: Case, best: Options) -> Compared:
    return Compared(case, published, steps.timed(case, REAL_STACK), steps.timed(case, best))


def _explained(case: Case, steps: Steps) -> Explained:
    timed = steps.timed(case, ONE_STREAM)
    return Explained(case, timed, ledger(timed.rows, steps.platform))


@contextmanager
def _shown(context: Context) -> Iterator[tuple[Tell, Told]]:
    """Yield what shows on the progress console which step is timed, and how many of all are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=context.progress_console, transient=True) as progress:
        line = progress.add_task("steps", total=None)

        def tell(case: Case, options: Options) -> None:
            progress.update(line, description=f"{case.title}: {_about(options)}")

        def told(done: int, all_: int) -> None:
            progress.update(line, description="steps, several at a time", completed=done, total=all_)

        yield tell, told


def _about(options: Options) -> str:
    """Print what is switched on."""
    on = [name for name in ("formats", "reuse", "streams") if getattr(options, name)]
    return ", ".join([*on, f"fusions {options.fusions}" if options.fusion else "no fusions"])


def _metrics(found: Findings) -> dict[str, float]:
    values = {each.key: each.ratio for each in found.compared}
    for each in found.compared:
        name = each.step
        values[f"{name}_real_ms"], values[f"{name}_whole_ms"] = each.real.ms, each.whole.ms
    values["most_whole_over_real"] = max(each.whole.ms / each.real.ms for each in found.compared)
    for wall in found.waterfalls:
        values[f"{wall.case.network}_{wall.case.batch}_saved"] = wall.saved
    values["ledger_difference"] = float(max(abs(each.difference) for each in found.explained))
    values["tasks_below_bounds"] = float(sum(map(_below_bounds, found.explained)))
    return values


def _below_bounds(each: Explained) -> int:
    """Count the tasks that are quicker than their products, or than the paths of the cores allow."""
    return sum(row.cycles < max(row.ideal, row.paths) for row in each.timed.rows)


def _table(found: Findings) -> Table:
    table = Table(title=f"Training steps on {found.platform.name}, milliseconds")
    table.add_column("step")
    for name in ("published", "as in 2020", "ratio", found.best_name, "op by op", "saved"):
        table.add_column(name, justify="right")
    walls = {(wall.case.network, wall.case.batch): wall for wall in found.waterfalls}
    for each in found.compared:
        wall = walls[each.published.network, each.published.batch]
        table.add_row(
            f"{each.case.title} ({each.published.software})", f"{each.published.ms:.1f}",
            f"{each.real.ms:.1f}", f"{each.ratio:.2f}", f"{each.whole.ms:.1f}",
            f"{wall.one_by_one[0].ms:.1f}", f"{wall.saved:.0%}",
        )  # fmt: skip
    return table
