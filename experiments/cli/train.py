"""`davinci train`: a network trained for real, on the host or on a simulated chip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from experiments.cli.output import engine_option, examples, json_option, report, seed_option

if TYPE_CHECKING:
    from rich.console import Console

HOST = "host"
SINK_STEPS = 8  # steps that the device runs for one call of the host


@click.command(
    short_help="Train a network, on the host or on a simulated chip.",
    epilog=examples(
        "davinci train lenet5 --data digits --device ascend910a",
        "davinci train lenet5 --data digits --epochs 1 --json",
    ),
)
@click.argument("model")
@click.option("--data", required=True, metavar="DATASET", help="The data set, for example digits.")
@click.option(
    "--device",
    default=HOST,
    show_default=True,
    metavar="CHIP|host",
    help="Where every number is computed: in NumPy, or on a chip, given by name or as a file of your own.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Passes over the data [default: the model's recipe]."
)
@click.option("--batch", type=click.IntRange(min=1), help="Samples of a step [default: the model's recipe].")
@seed_option
@engine_option
@json_option
def train(
    model: str, data: str, device: str, epochs: int | None, batch: int | None, seed: int, engine: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Train MODEL and test it; the loss and the accuracy told at the end are those on the test part."""
    from experiments import training

    place = None if device == HOST else device
    plan = training.Plan(model, data, place, epochs, batch, seed, SINK_STEPS, engine)
    result = training.train(plan).session_summary()
    report(as_json, result, lambda console: _show(console, result))


def _show(console: Console, result: dict[str, Any]) -> None:
    text = (
        f"accuracy {100 * result['accuracy']:.2f} %, loss {result['loss']:.4f} after {result['steps']} steps"
    )
    per_step = result["device_ms_per_step"]
    console.print(text if per_step is None else f"{text}, {per_step:.3f} simulated ms a step")
