"""`davinci kernel inspect`: run one kernel to an instruction and look at its buffers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.output import engine_option, examples, json_option, report, seed_option
from experiments.cli.parse import integer, pairs
from experiments.cli.problem import block_option, problem_of, problem_options, tiling_option

if TYPE_CHECKING:
    from rich.console import Console

    from kernels.debug import Stopped


@click.command(
    "inspect",
    short_help="Run one kernel to an instruction; look at any buffer.",
    epilog=examples(
        "davinci kernel inspect add --shape n=1000 --until 20",
        "davinci kernel inspect matmul --shape m=64,k=64,n=64 --until matmul.py:361 --buffer l0c",
        "davinci kernel inspect my_kernels/gelu.py:gelu --shape n=9000 --until gelu.py:78:2 --buffer ub_y",
    ),
)
@problem_options
@tiling_option
@block_option
@click.option(
    "--until",
    default="end",
    show_default=True,
    metavar="RECORD|FILE:LINE[:TIME]",
    help="The instruction whose result is to be there, with all that is by then.",
)
@click.option("--buffer", "buffers", multiple=True, metavar="NAME", help="A buffer or an operand to print.")
@click.option(
    "--as",
    "form",
    default="",
    metavar="KEY=VALUE,...",
    help="What it holds, where the instruction that wrote it does not tell: "
    "shape=32x64,dtype=fp16,layout=NZ,slot=1.",
)
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE.npy", help="Write the buffer there.")
@engine_option
@seed_option
@json_option
def inspect_kernel(  # noqa: PLR0913, PLR0917 - one parameter per option
    name: str, shape: str, dtype: str | None, platform: str, tiling: str, block: int, until: str,
    buffers: tuple[str, ...], form: str, save: Path | None, engine: str, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Run kernel NAME, or NAME in a file of yours given as file.py:NAME, to one of its instructions.

    Prints what every pipe is doing in that cycle and what every buffer holds: its name is the variable that
    alloc was assigned to; type, shape and layout are told by the instruction that wrote it last. Bytes that
    nobody wrote are NaN. `kernel show --numbers` prints the records. --engine reference stops in the same
    cycle with the same bytes, and also before a deadlock.
    """
    from experiments.files import writable_file
    from kernels.debug import run_until
    from kernels.run import random_inputs

    wanted, problem = _form(form), problem_of(name, shape, dtype, platform, tiling)
    if save is not None:
        writable_file(save)
    inputs = random_inputs(problem.kernel, problem.shape, seed)
    stopped = run_until(
        problem.kernel, problem.shape, inputs, until, block=block, chip=problem.chip, tiling=problem.tiling,
        engine=engine,
    )  # fmt: skip
    found = {each: stopped.buffer(each, **wanted) for each in buffers}
    if save is not None:
        _save(save, found)
    result = _as_json(stopped, engine) | {"contents": {each: _plain(array) for each, array in found.items()}}
    report(as_json, result, lambda console: _show(console, stopped, found))


def _form(text: str) -> dict[str, Any]:
    """Return the arguments of `Stopped.buffer` that --as gives."""
    from davinci_sim.errors import unknown

    found: dict[str, Any] = {}
    for key, value in pairs("--as", text).items():
        if key not in {"shape", "dtype", "layout", "slot"}:
            raise unknown("--as key", key, ["shape", "dtype", "layout", "slot"])
        if key == "shape":
            found[key] = tuple(integer("--as", key, part) for part in value.split("x"))
        else:
            found[key] = integer("--as", key, value) if key == "slot" else value
    return found


def _save(path: Path, found: dict[str, Any]) -> None:
    """Write the one buffer that was asked for as a NumPy file."""
    import numpy as np

    from davinci_sim.errors import DavinciError
    from davinci_sim.trace.files import atomic_file

    if len(found) != 1:
        raise DavinciError(
            f"--save {path}: {len(found)} buffers\n  rule: it takes one\n  next: --buffer NAME"
        )
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, next(iter(found.values())), allow_pickle=False)


def _as_json(stopped: Stopped, engine: str) -> dict[str, Any]:
    """Return where the kernel stands as plain data."""
    return {
        "kernel": stopped.kernel.name,
        "shape": str(stopped.shape),
        "engine": engine,
        "block": stopped.block,
        "record": stopped.record,
        "instruction": stopped.line,
        "cycle": stopped.cycle,
        "pipes": dict(stopped.pipes),
        "buffers": {name: str(held) for name, held in stopped.buffers.items()},
    }


def _plain(array: Any) -> dict[str, Any]:
    """Return an array as plain data."""
    return {"shape": list(array.shape), "dtype": str(array.dtype), "values": array.tolist()}


def _show(console: Console, stopped: Stopped, found: dict[str, Any]) -> None:
    import numpy as np
    from rich.markup import escape

    console.print(escape(stopped.text()), end="", soft_wrap=True)
    for name, array in found.items():
        text = np.array2string(array, threshold=256, max_line_width=console.width - 1)
        console.print(escape(f"{name} {array.dtype}{list(array.shape)}\n{text}"), soft_wrap=True)
