"""`davinci simulate`: one step of a network on a simulated chip, timed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from experiments.cli.metrics import SIMULATE, Explained
from experiments.cli.output import console, examples, json_option, note, plain, platform_option, report

if TYPE_CHECKING:
    from davinci_sim.chip import Chip
    from experiments.simulation import Plan, Simulation

FILE = click.Path(path_type=Path)
DUMPED = (
    "model", "platform", "training", "mode", "batch", "step_ms", "samples_per_s", "cycles", "tasks",
    "instructions", "simulated_tasks", "host_round_trips", "wall_s", "phases_s", "peak_rss_mb",
    "device_memory_mb", "memory_mb", "sink_loop", "classes", "ops",
)  # fmt: skip
"""What a result must have to be told from a dump."""
MOST_NAMED = 5  # nodes that a note on standard error names


@click.command(
    short_help="Time a step of a network on a simulated chip.",
    cls=Explained,
    metrics=SIMULATE,
    epilog=examples(
        "davinci simulate --list",
        "davinci simulate resnet50 --train --batch 32",
        "davinci simulate bert --config base --set layers=2,sequence=64 --batch 8 --mode op-by-op",
        "davinci simulate lenet5 --infer --batch 1 --dump steps --trace lenet5.json",
    ),
)
@click.argument("model", required=False)
@click.option("--list", "lists", is_flag=True, help="List the models with their configurations.")
@click.option("--train/--infer", "training", default=True, show_default=True, help="Which step.")
@click.option("--batch", type=click.IntRange(min=1), help="Samples of a step [default: the model's recipe].")
@click.option("--config", default="", metavar="NAME", help="A configuration that --list names.")
@click.option("--set", "sizes", default="", metavar="KEY=VALUE,...", help="Sizes that differ from it.")
@platform_option
@click.option(
    "--mode", default="graph", show_default=True, metavar="graph|op-by-op",
    help="The device follows its list of tasks, or the host sends each and nothing is optimised.",
)  # fmt: skip
@click.option("--fusion/--no-fusion", default=None, help="Fuse operators [default: in mode graph].")
@click.option("--fusions", default="", metavar="all|real|none", help="Which ones; real: those of 2020.")
@click.option(
    "--without",
    default="",
    metavar="NAME,...",
    help="Off: formats, reuse, blocks, streams, counters, or fusions by name (docs/reference/fusions.md).",
)
@click.option(
    "--precision", default="keep", show_default=True, metavar="keep|mixed|force_fp16",
    help="Element types: the network's own; what the cube multiplies in fp16; all that kernels take.",
)  # fmt: skip
@click.option("--steps", default=1, show_default=True, type=click.IntRange(min=1), help="Of a sink loop.")
@click.option("--trace", type=FILE, metavar="FILE", help="Write a trace for ui.perfetto.dev.")
@click.option(
    "--dump", type=FILE, metavar="DIR", help="Write a text and a picture for each of the six steps."
)
@click.option("--from", "source", type=FILE, metavar="DIR", help="Check a dump and print what it tells.")
@json_option
def simulate(  # noqa: PLR0913, PLR0917 - one parameter per option
    model: str | None, lists: bool, training: bool, batch: int | None, config: str, sizes: str, platform: str,
    mode: str, fusion: bool | None, fusions: str, without: str, precision: str, steps: int,
    trace: Path | None, dump: Path | None, source: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Compile one step of MODEL by the graph engine and time it on a simulated chip, without numbers.

    The time is that of a step after another one: L2 holds what a step leaves there. What does not run on the
    AI cores is named on standard error.
    """
    from experiments.cli.parse import pairs

    if [model is not None, lists, source is not None].count(True) != 1:
        raise click.UsageError("give one of: MODEL, --list, --from DIR")
    if model is None:
        _refuse_others()
        _tell(source, as_json)
        return
    _check_places(trace, dump)
    from experiments.simulation import Plan, options_of

    off = [name.strip() for name in without.split(",") if name.strip()]
    options = options_of(mode, precision, fusion, fusions, off)
    found = _simulated(Plan(model, config, pairs("--set", sizes), training, batch, platform, options, steps))
    result = found.as_json()
    _write_views(found, result, trace, dump)
    from experiments.cli.simulated import show

    report(as_json, result, lambda screen: show(screen, result))
    for line in _warnings(found):
        note(line)


def _refuse_others() -> None:
    """Refuse options that say how to simulate where nothing is simulated.

    Raises:
        UsageError: one was given.
    """
    context = click.get_current_context()
    for each in context.command.params:
        is_given = context.get_parameter_source(each.name or "") is ParameterSource.COMMANDLINE
        if is_given and each.name not in {"lists", "source", "as_json"}:
            raise click.UsageError(f"{each.opts[0]} is for a MODEL, not for --list or --from")


def _check_places(trace: Path | None, dump: Path | None) -> None:
    """Find out before the work what cannot be written."""
    from experiments.files import writable_file, writable_folder

    if trace is not None:
        writable_file(trace)
    if dump is not None:
        writable_folder(dump)


def _write_views(found: Simulation, result: dict[str, Any], trace: Path | None, dump: Path | None) -> None:
    """Write the files that were asked for."""
    if trace is not None:
        found.profile.write(trace)
    if dump is not None:
        from framework.graph_engine.control.dump import write_dump

        write_dump(dump, found.session, found.profile, plain(result))


def _tell(source: Path | None, as_json: bool) -> None:
    """Print a dump, or the models."""
    if source is None:
        _list_models(as_json)
        return
    from experiments.cli.simulated import show
    from framework.graph_engine.control.dump import read_dump

    result = read_dump(source, DUMPED)
    report(as_json, result, lambda screen: show(screen, result))


def _list_models(as_json: bool) -> None:
    """Print the models, their configurations and the samples of a step."""
    from experiments.cli.simulated import show_models
    from framework.models import MODELS

    rows = [
        {"name": name, "configs": list(zoo.CONFIGS), "batch": zoo.RECIPE.batch_size, "about": _about(zoo)}
        for name, zoo in MODELS.items()
    ]
    report(as_json, {"models": rows}, lambda screen: show_models(screen, rows))


def _about(zoo: Any) -> str:
    return (zoo.__doc__ or "").partition("\n")[0].rstrip(".")


def _simulated(plan: Plan) -> Simulation:
    """Compile and time, with a bar on standard error."""
    from davinci_sim.chip import Chip
    from experiments.simulation import simulate as run

    _ = plan.sizes  # wrong names are refused before anything is built
    chip = Chip(plan.platform, data=False)
    with _bar(chip) as entered:
        return run(plan, chip, entered)


@contextmanager
def _bar(chip: Chip) -> Iterator[Any]:
    """Show on standard error which phase is at work, and how many tasks were simulated so far."""
    from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from experiments.simulation import PHASES

    class Simulated(TextColumn):
        """The chip's own count."""

        def render(self, task: Task) -> Text:
            """Return what it is at."""
            return Text(f"{chip.clockwork.simulated} tasks simulated")

    columns = (TextColumn("{task.description}"), BarColumn(), Simulated(""), TimeElapsedColumn())
    is_seen = sys.stderr.isatty()
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not is_seen) as progress:
        bar = progress.add_task("", total=len(PHASES))

        def entered(phase: str) -> None:
            progress.update(bar, description=f"{phase:<8}", completed=PHASES.index(phase))

        yield entered


def _warnings(found: Simulation) -> Iterator[str]:
    """Yield what the user should know beside the result: what the AI cores do not run."""
    elsewhere = found.elsewhere()
    if elsewhere:
        yield f"{len(elsewhere)} operators do not run on the AI cores:"
    for each in elsewhere[:MOST_NAMED]:
        yield f"  {each['name']} ({each['type']}) on the {each['engine']}: {each['reason']}"
    if len(elsewhere) > MOST_NAMED:
        yield "  ... all are in the key `elsewhere` of --json"
