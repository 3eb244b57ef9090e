"""How a step that was timed is printed: tables of operators and tasks, memory, the headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOST_CLASSES, MOST_TASKS, NAME_WIDTH = 24, 15, 44
LEAST_MS = 1e-6  # a cycle; less comes of rounding
Result = Mapping[str, Any]


def show(screen: Console, result: Result) -> None:
    """Print everything for people."""
    screen.print(_class_table(result))
    screen.print()
    screen.print(_task_table(result))
    screen.print()
    for line in lines(result):
        screen.print(line, markup=False, soft_wrap=True)


def lines(result: Result) -> list[str]:
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


def _class_table(result: Result) -> Table:
    """Return a row per operator, fused ones by what they stand for, and what lies between; then the sum."""
    rows, step = result["classes"], result["step_ms"]
    table = _table("operator", "tasks", "ms", "share", "bound")
    for each in rows[:MOST_CLASSES]:
        table.add_row(each["name"], str(each["tasks"]), *_time(each["ms"], step), each["bound"])
    rest = rows[MOST_CLASSES:]
    if rest:
        ms, tasks = sum(each["ms"] for each in rest), sum(each["tasks"] for each in rest)
        table.add_row(f"{len(rest)} others", str(tasks), *_time(ms, step), "")
    idle = step - sum(each["ms"] for each in rows)
    if idle > LEAST_MS:
        table.add_row("waiting for the host", "", *_time(idle, step), "")
    table.add_row("step", str(len(result["ops"])), *_time(step, step), "")
    return table


def _task_table(result: Result) -> Table:
    """Return the tasks that take longest."""
    ops = result["ops"]
    table = _table(f"slowest of {len(ops)} tasks", "us", "share", "bound", "kernel", "shapes")
    for each in sorted(ops, key=lambda op: -op["cycles"])[:MOST_TASKS]:
        share = f"{100 * each['cycles'] / result['cycles']:.1f} %"
        table.add_row(
            each["name"], f"{each['us']:,.1f}", share, each["bound"], each["kernel"], each["shapes"]
        )
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


def _time(ms: float, step: float) -> tuple[str, str]:
    return f"{ms:,.3f}", f"{100 * ms / step:.1f} %"
