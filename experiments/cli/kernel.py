"""`davinci kernel`: the kernels, and one of them run, timed and checked."""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.check import check_kernel
from experiments.cli.compare import compare_kernels
from experiments.cli.inspect import inspect_kernel
from experiments.cli.metrics import RUN, Explained
from experiments.cli.output import (
    engine_option,
    examples,
    json_option,
    note,
    report,
    seed_option,
)
from experiments.cli.problem import problem_of, problem_options, show_bounds, tiling_option
from experiments.cli.profile import profile_kernel
from experiments.cli.retune import retune_kernels
from experiments.cli.show import show_kernel, step_kernel
from experiments.cli.tune import tune_kernel

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.measure import Measurement
    from kernels.lang.kernel import Kernel


DATA_HELP = "Compute random data and compare with NumPy, or only tell the time."
FILE = click.Path(path_type=Path)


@click.group(
    short_help="List the kernels; run one, timed and checked; find its hazards.",
    epilog=examples("davinci kernel list", "davinci kernel run add --shape n=1000000 --dtype fp32"),
)
def kernel() -> None:
    """List the tiled kernels, run one on a simulated chip, or check one for hazards."""


for _command in (
    check_kernel, profile_kernel, compare_kernels, tune_kernel, retune_kernels, show_kernel, step_kernel,
    inspect_kernel,
):  # fmt: skip
    kernel.add_command(_command)


@kernel.command(
    "list",
    short_help="List every kernel with the keys of --shape.",
    epilog=examples("davinci kernel list", "davinci kernel list --platform ascend310"),
)
@click.option(
    "--platform", metavar="CHIP", help="Tell which types each kernel takes on a chip, and what it lacks."
)
@json_option
def list_kernels(platform: str | None, as_json: bool) -> None:
    """List every kernel with the keys that --shape takes; a key with a value may be left out.

    With --platform each kernel is emitted once for each type: a chip may lack an instruction, or room.
    """
    import kernels

    found = [_listed(each) for each in kernels.load().values()]
    result: dict[str, Any] = {"kernels": found}
    if platform is not None:
        result["platform"] = _add_refusals(found, platform)
    report(as_json, result, lambda console: _show_list(console, found))


def _add_refusals(found: list[dict[str, Any]], platform: str) -> str:
    """Add to each kernel why a chip refuses it, by types ("": it does not); return the chip's name."""
    import kernels
    from davinci_sim.platforms import platform as platform_of
    from kernels.samples import refusals

    chip = platform_of(platform)
    for each in found:
        each["on_platform"] = refusals(kernels.find(each["name"]), chip)
    return chip.name


@kernel.command(
    "run",
    cls=Explained,
    metrics=RUN,
    short_help="Run one kernel, timed and checked.",
    epilog=examples(
        "davinci kernel run matmul --shape m=1024,k=1024,n=1024",
        "davinci kernel run add --shape n=65536 --dtype fp32 --tiling tile=4096 --timeline add.png",
    ),
)
@problem_options
@tiling_option
@engine_option
@click.option("--data/--no-data", default=True, show_default=True, help=DATA_HELP)
@seed_option
@click.option("--trace", type=FILE, metavar="FILE", help="Write a trace for ui.perfetto.dev.")
@click.option("--timeline", type=FILE, metavar="FILE.png", help="Draw the pipes over time.")
@json_option
def run_kernel(  # noqa: PLR0913, PLR0917 - one parameter per option
    name: str, shape: str, dtype: str | None, platform: str, tiling: str, engine: str, data: bool, seed: int,
    trace: Path | None, timeline: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run kernel NAME, or NAME in a file of yours given as file.py:NAME, on a simulated chip.

    While a person waits, what no launch can beat stands on the screen.
    The cycles are those of the kernel on the cores; what the chip takes to start a task comes on top and is
    told separately. A result that differs from its reference by more than rounding allows exits with 1.
    """
    from experiments.files import writable_file

    problem = problem_of(name, shape, dtype, platform, tiling)
    for path in filter(None, (trace, timeline)):
        writable_file(path)
    if sys.stderr.isatty():
        show_bounds(problem, err=True)
    from experiments.measure import Case, measure
    from kernels.compiled import ensure

    case = Case(problem.kernel, problem.shape, problem.chip, problem.tiling, engine, data, seed)
    if engine == "fast":
        ensure([case.kernel.name])
    measurement = measure(case)
    _write_views(measurement, trace, timeline)
    report(as_json, measurement.as_json(), lambda console: _show_run(console, measurement))
    for complaint in measurement.complaints():
        note(complaint)
    if not measurement.ok:
        raise click.exceptions.Exit(1)


def _write_views(measurement: Measurement, trace: Path | None, timeline: Path | None) -> None:
    from davinci_sim.trace import draw_timeline, write_chrome_trace

    if trace is not None:
        write_chrome_trace(measurement.trace, trace, measurement.task.programs)
    if timeline is not None:
        draw_timeline(
            measurement.trace, timeline, f"{measurement.case.kernel.name} {measurement.case.shape_text}"
        )


def _listed(each: Kernel) -> dict[str, Any]:
    """Return what the list says of a kernel; a key without a default is null."""
    from davinci_sim.isa.fields import DTYPE_NAMES

    given = {f.name: None if f.default is MISSING else f.default for f in fields(each.shape_type)}
    types = {name: DTYPE_NAMES[int(code or 0)] for name, code in given.items() if name.endswith("dtype")}
    return {
        "name": each.name,
        "keys": {name: value for name, value in given.items() if not name.endswith("dtype")},
        "dtypes": types,
        "tiling": list(each.tiling_type.names()),
        "doc": each.doc.partition("\n")[0],
    }


def _show_list(console: Console, found: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("kernel", "--shape", "types"):
        table.add_column(title, no_wrap=title == "kernel")
    table.add_column("on the chip" if "on_platform" in found[0] else "computes", min_width=LAST_COLUMN)
    for each in found:
        keys = [name if value is None else f"{name}={value}" for name, value in each["keys"].items()]
        types = [f"{name}={value}" for name, value in each["dtypes"].items()]
        table.add_row(*map(escape, (each["name"], ", ".join(keys), " ".join(types), _last_cell(each))))
    console.print(table)


LAST_COLUMN = 30
"""Letters that the last column of the list has at least, however many keys a kernel takes."""


def _last_cell(each: dict[str, Any]) -> str:
    """Return what a kernel computes or, where a chip was named, what it takes there and what not."""
    if "on_platform" not in each:
        return str(each["doc"])
    return "; ".join(f"{types}: {reason or 'ok'}" for types, reason in each["on_platform"].items())


def _show_run(console: Console, measurement: Measurement) -> None:
    from rich.table import Table

    result = measurement.as_json()
    roof, pipes = result["roofline"], result["pipes"]
    tiling = f"{measurement.tiling} ({result['tiling_from']})"
    rows = [
        ("kernel", f"{result['kernel']} {measurement.case.shape_text} on {result['platform']}"),
        ("tiling", f"{tiling} on {result['cores']} cores, {result['instructions']} instructions"),
        (
            "time",
            f"{result['us']:.3f} us = {result['cycles']} cycles; {result['task_start_cycles']} more to start",
        ),
        ("memory", f"{result['gm_bytes']} bytes, {result['gbps']:.1f} GB/s"),
        (
            "roofline",
            f"{roof['bound']} bound: {roof['bound_us']:.3f} us, {100 * roof['efficiency']:.1f} % reached",
        ),
        ("pipes", ", ".join(f"{pipe} {100 * pipes[pipe]['utilization']:.1f} %" for pipe in pipes)),
        ("checked", _verdict(measurement)),
        ("simulated in", f"{result['wall_s']:.2f} s"),
    ]
    if result["tflops"] is not None:
        rows.insert(3, ("cube", f"{result['tflops']:.2f} TFLOP/s"))
    table = Table(show_header=False, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _verdict(measurement: Measurement) -> str:
    if not measurement.differences:
        return "no data, nothing to check"
    allowed = max(difference.allowed for difference in measurement.differences.values())
    error = measurement.max_abs_error
    return f"{'ok' if measurement.ok else 'WRONG'}: largest error {error:.3g}, {allowed:.3g} is allowed there"
