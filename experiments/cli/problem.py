"""The options that say which kernel, on which shape, chip and tiling; every name in them is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.output import platform_option

if TYPE_CHECKING:
    from davinci_sim.platforms import Platform
    from kernels.lang.kernel import Kernel
    from kernels.lang.shapes import Shape, Tiling

Command = Callable[..., Any]

tiling_option = click.option(
    "--tiling", default="", metavar="KEY=N,...", help="Tile sizes that differ from the default ones."
)
block_option = click.option(
    "--block", default=0, show_default=True, type=click.IntRange(min=0), help="Which core's share."
)


@dataclass(frozen=True)
class Problem:
    """A kernel on a shape and a chip, with the tiling that was asked for, if any."""

    kernel: Kernel
    shape: Shape
    chip: Platform
    tiling: Tiling | None = None

    @property
    def title(self) -> str:
        """What is looked at, in a line."""
        return f"{self.kernel.name} {self.shape} on {self.chip.name}"

    def tiled(self, text: str) -> Problem:
        """Return the same with the tiling that `--tiling` describes.

        Raises:
            UnknownName: a field that the kernel does not have.
            BadTiling: a field is below 1.
        """
        from experiments.cli.parse import tiling_of

        return replace(self, tiling=tiling_of(self.kernel, text, self.shape, self.chip))


def problem_options(command: Command) -> Command:
    """Add NAME, --shape, --dtype and --platform to a command."""
    for option in (
        platform_option,
        click.option(
            "--dtype", metavar="TYPE", help="Element type: fp16, fp32, ... (default: the kernel's own)."
        ),
        click.option(
            "--shape",
            default="",
            metavar="KEY=N,...",
            help="Axes of the problem, as `kernel list` prints them.",
        ),
        click.argument("name"),
    ):
        command = option(command)
    return command


def problem_of(name: str, shape: str, dtype: str | None, platform: str, tiling: str = "") -> Problem:
    """Return what the options describe.

    Raises:
        UnknownName: a chip, type, kernel, axis or tiling field that does not exist.
        BadShape: axes are missing or wrong.
        BadTiling: a field is below 1.
    """
    from davinci_sim.memory.dtypes import dtype as dtype_of
    from davinci_sim.platforms import platform as platform_of
    from experiments.cli.parse import shape_of
    from experiments.user_files import find_kernel

    chip = platform_of(platform)
    if dtype is not None:
        dtype_of(dtype)
    kernel = find_kernel(name)
    problem = shape_of(kernel, shape, dtype)
    found = Problem(kernel, problem, chip)
    return found.tiled(tiling) if tiling else found


def show_bounds(problem: Problem, err: bool = False) -> None:
    """Print what no launch can beat: in closed form, so that it is there before Numba is."""
    from kernels.bounds import bounds

    known = bounds(problem.kernel, problem.shape, problem.chip)
    parts = f"ideal {known.ideal_cycles}, port {known.port_cycles} ({known.port})"
    click.echo(problem.title, err=err)
    click.echo(f"no faster than {known.cycles} cycles: {parts}, capacity {known.capacity_cycles}", err=err)
