"""The table of the mutation test: `python -m experiments.mutation [--seed N] [--write docs/checks.md]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from davinci_sim.platforms import platform
from davinci_sim.trace.files import atomic_file
from experiments.mutation.table import between_marks, table
from experiments.mutation.trial import verdicts


@click.command()
@click.option("--seed", default=0, show_default=True)
@click.option("--per-class", default=1, show_default=True, help="Bugs of each class and launch.")
@click.option("--per-kernel", default=2, show_default=True, help="Launches of each kernel.")
@click.option("--write", type=click.Path(path_type=Path, exists=True), help="Page whose table is replaced.")
def main(seed: int, per_class: int, per_kernel: int, write: Path | None) -> None:
    """Seed bugs into the shipped kernels and print, as Markdown, who catches how many."""
    start = time.perf_counter()
    found = list(verdicts(platform("ascend910a"), seed, per_class, per_kernel))
    made = table(found)
    sys.stdout.write(made)
    if write is not None:
        with atomic_file(write) as page:
            page.write_text(between_marks(write.read_text(), made))
    sys.stderr.write(f"{len(found)} mutants in {time.perf_counter() - start:.0f} s\n")


if __name__ == "__main__":
    main()
