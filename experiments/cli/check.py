"""`davinci kernel check`: races, bytes out of bounds or never written, and unbalanced flags of one kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from experiments.cli.output import examples, json_option, report
from experiments.cli.problem import problem_of, problem_options, tiling_option

if TYPE_CHECKING:
    from rich.console import Console

    from davinci_sim.core.checks import Finding


CHECKERS = """\b
Checkers:
  memcheck   bytes outside of a buffer or tensor, misaligned operands
  racecheck  reads and writes that no flag and no barrier orders
  initcheck  bytes that are read and that nobody wrote
  synccheck  flags that are set twice, never set or never waited for

"""


@click.command(
    "check",
    short_help="Check one kernel for hazards.",
    epilog=CHECKERS
    + examples(
        "davinci kernel check matmul --shape m=256,k=256,n=256",
        "davinci kernel check add --shape n=100000 --dtype fp32 --tiling slots=1 --platform ascend310",
        "davinci kernel check my_kernels.py:scale --shape n=5000 --json",
    ),
)
@problem_options
@tiling_option
@json_option
def check_kernel(name: str, shape: str, dtype: str | None, platform: str, tiling: str, as_json: bool) -> None:
    """Check kernel NAME, or NAME in a file of yours given as file.py:NAME, for hazards.

    A kernel with a missing flag computes right numbers on a lucky day. So the checkers ask of every byte that
    an instruction touches who wrote it, who reads it, and what orders the two.

    A finding names both instructions with their pipes and source lines, the bytes and their buffer, and the
    flag to add; then the command exits with 1. docs/checks.md tells what counts as ordered. In Python:
    kernels.check.check(kernel, shape), and check=True in kernels.run.run refuses a kernel with findings.
    """
    from kernels.check import check

    problem = problem_of(name, shape, dtype, platform, tiling)
    findings = check(problem.kernel, problem.shape, problem.chip, problem.tiling)
    result = {
        "kernel": problem.kernel.name,
        "platform": problem.chip.name,
        "shape": str(problem.shape),
        "tiling": str(problem.tiling or problem.kernel.tiling(problem.shape, problem.chip)),
        "findings": [finding.as_json() for finding in findings],
    }
    report(as_json, result, lambda console: _show(console, result, findings))
    if findings:
        raise click.exceptions.Exit(1)


def _show(console: Console, result: dict[str, Any], findings: list[Finding]) -> None:
    """Print every finding, or that there is none."""
    from rich.markup import escape

    console.print(
        escape(f"{result['kernel']} {result['shape']}, {result['tiling']}, on {result['platform']}")
    )
    for finding in findings:
        console.print(escape(finding.message), soft_wrap=True)
    console.print("no findings" if not findings else f"findings: {len(findings)}")
