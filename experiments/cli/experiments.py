"""`davinci experiment`: claims, each rerun against its expectation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.cli.output import (
    console,
    engine_option,
    examples,
    json_option,
    platform_option,
    report,
    seed_option,
)

if TYPE_CHECKING:
    from experiments.harness import Experiment, Outcome

RESULTS = Path("results")
root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Look for experiments in this folder of yours.",
)


@click.group(
    short_help="List the experiments; rerun one against its expectation.",
    epilog=examples("davinci experiment list", "davinci experiment run demo --quick"),
)
def experiment() -> None:
    """List the experiments, or rerun one: it says ok or FAIL."""


@experiment.command(
    "list", short_help="List every experiment with its claim.", epilog=examples("davinci experiment list")
)
@root_option
@json_option
def list_experiments(root: Path | None, as_json: bool) -> None:
    """List every experiment with its claim."""
    from experiments import harness

    place = root or harness.HERE
    found = [harness.load(name, place) for name in harness.experiment_names(place)]
    listing = [{"name": each.name, "claim": each.claim, "metrics": list(each.expected)} for each in found]
    report(as_json, {"experiments": listing}, lambda _: _show_list(found))


@experiment.command(
    "run",
    short_help="Rerun an experiment against its expectation.",
    epilog=examples(
        "davinci experiment run demo", "davinci experiment run demo --quick --out demo-results --json"
    ),
)
@click.argument("name")
@click.option(
    "--quick", is_flag=True, help="Run the short variant, for a first look or for continuous integration."
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where results go [default: results/NAME]."
)
@seed_option
@platform_option
@engine_option
@root_option
@json_option
def run_experiment(
    name: str, quick: bool, out: Path | None, seed: int, platform: str, engine: str, root: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Run experiment NAME, compare every metric with what is expected, and write report.json.

    Exit code 0 if every metric is ok, 1 if one is not.
    """
    from davinci_sim.platforms import platform as platform_of
    from experiments import harness

    platform_of(platform)  # a wrong name or file is told before any work
    found = harness.load(name, root or harness.HERE)
    beside = console(stderr=True)
    context = harness.Context(
        quick, out or RESULTS / name, seed, platform, beside if as_json else console(), beside, engine
    )
    outcome = harness.run(found, context)
    report(as_json, outcome.as_json(), lambda _: _show(outcome))
    if not outcome.ok:
        raise click.exceptions.Exit(1)


def _show_list(found: list[Experiment]) -> None:
    for each in found:
        click.echo(f"{each.name}  {each.claim}")


def _show(outcome: Outcome) -> None:
    for line in outcome.lines():
        click.echo(line)
    click.echo(f"results: {', '.join(path.as_posix() for path in outcome.artifacts)}")
