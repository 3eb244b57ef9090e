"""How a step that was timed is printed: tables of operators and tasks, memory, the headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.simulation import classes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from experiments.simulation import Simulation

MOST_CLASSES, MOST_TASKS, NAME_WIDTH = 24, 15, 44
LEAST_US = 1e-3  # a cycle; less comes of rounding


def show(screen: Console, found: Simulation) -> None:
    """Print everything for people."""
    result = found.as_json()
    screen.print(_class_table(found))
    screen.print()
    screen.print(_task_table(found))
    screen.print()
    for line in lines(result):
        screen.print(line, markup=False, soft_wrap=True)


def lines(result: Mapping[str, Any]) -> list[str]:
    """Return the line of the memory, that of the sink loop if there is more than a step, and the headline."""
    memory, loop = result["memory_mb"], result["sink_loop"]
    found = [
        f"memory   {result['device_memory_mb']:,.1f} MB of the device: variables {memory['variables']:,.1f}, "
        f"constants {memory['constants']:,.1f}, workspace {memory['workspace']:,.1f} (alive at most "
        f"{memory['alive']:,.1f}, without reuse {memory['without_reuse']:,.1f})",
        f"program  {result['tasks']} tasks, {result['instructions']:,} instructions, "
        f"{result['host_round_trips']} round trips to the host",
        f"took     {result['wall_s']:.1f} s here ({_phases(result['phases_s'])}), "
        f"{result['simulated_tasks']} tasks simulated, {result['peak_rss_mb']:,.0f} MB of memory",
    ]
    if loop["steps"] > 1:
        link = "beside the steps" if loop["prefetch"] else "between the steps"
        found.append(
            f"loop     {loop['steps']} steps in {loop['ms']:,.3f} ms, {loop['ms_per_step']:.3f} ms a step: "
            f"{loop['host_call_ms']:.3f} ms for the call, {loop['transfer_ms']:.3f} ms a step on the link to "
            f"the host, {link}; {loop['hidden_ms']:.3f} ms hidden"
        )
    what = "training" if result["training"] else "inference"
    found.append(
        f"{result['model']}, {what}, batch {result['batch']}, {result['mode']}, on {result['platform']}: "
        f"{result['step_ms']:.3f} ms a step, {result['samples_per_s']:,.1f} samples/s"
    )
    return found


def _phases(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{phase} {took:.1f}" for phase, took in seconds.items())


def _class_table(found: Simulation) -> Table:
    """Return a row per operator, fused ones by what they stand for, and what lies between; then the sum."""
    rows, step = classes(found.profile), found.profile.us
    table = _table("operator", "tasks", "ms", "share", "bound")
    for each in rows[:MOST_CLASSES]:
        table.add_row(each.name, str(each.tasks), *_time(each.us, step), each.bound)
    rest = rows[MOST_CLASSES:]
    if rest:
        us, tasks = sum(each.us for each in rest), sum(each.tasks for each in rest)
        table.add_row(f"{len(rest)} others", str(tasks), *_time(us, step), "")
    idle = step - sum(each.us for each in rows)
    if idle > LEAST_US:
        table.add_row("waiting for the host", "", *_time(idle, step), "")
    table.add_row("step", str(len(found.profile)), *_time(step, step), "")
    return table


def _task_table(found: Simulation) -> Table:
    """Return the tasks that take longest."""
    table = _table(f"slowest of {len(found.profile)} tasks", "us", "share", "bound", "kernel", "shapes")
    for each in sorted(found.profile, key=lambda time: -time.cycles)[:MOST_TASKS]:
        share = f"{100 * each.us / found.profile.us:.1f} %"
        table.add_row(each.name, f"{each.us:,.1f}", share, each.bound, each.kernel, each.shapes)
    return table


def show_models(screen: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the models, a line each."""
    table = _table("model", "batch", "configurations, the usual one first", "about")
    for row in rows:
        table.add_row(row["name"], str(row["batch"]), ", ".join(row["configs"]), row["about"])
    screen.print(table)


NUMBERS = {"tasks", "ms", "us", "share", "batch"}


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify: Any = "right" if column in NUMBERS else "left"
        table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
    return table


def _time(us: float, step: float) -> tuple[str, str]:
    return f"{us / 1e3:,.3f}", f"{100 * us / step:.1f} %"
