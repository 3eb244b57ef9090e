"""`davinci kernel show` and `davinci kernel step`: a kernel's program, and how it is emitted."""

from __future__ import annotations

from bdb import BdbQuit

import click

from experiments.cli.output import examples, json_option, note, report
from experiments.cli.problem import block_option, problem_of, problem_options, tiling_option


@click.command(
    "show",
    short_help="Print the instructions of one kernel.",
    epilog=examples(
        "davinci kernel show add --shape n=1000",
        "davinci kernel show matmul --shape m=64,k=64,n=64 --block 3 --numbers",
    ),
)
@problem_options
@tiling_option
@block_option
@click.option("--numbers", is_flag=True, help="Put each record's number before it, as --until wants it.")
@json_option
def show_kernel(
    name: str, shape: str, dtype: str | None, platform: str, tiling: str, block: int, numbers: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Print what one core does in kernel NAME, or NAME in a file of yours given as file.py:NAME.

    One instruction a line: its pipe, its operands, and the line of the kernel that it comes from. Without
    --numbers, davinci_sim.core.program.parse reads the text back.
    """
    problem = problem_of(name, shape, dtype, platform, tiling)
    program = problem.kernel.program(problem.shape, problem.chip, problem.tiling, block)
    if as_json:
        result = {
            "kernel": problem.kernel.name, "shape": str(problem.shape), "platform": problem.chip.name,
            "block": block, "digest": program.digest(), "program": program.text().splitlines(),
        }  # fmt: skip
        report(as_json, result, lambda console: None)
    elif numbers:
        click.echo("\n".join(f"{index:6d}  {program.line(index)}" for index in range(len(program))))
    else:
        click.echo(program.text(), nl=False)


@click.command(
    "step",
    short_help="Step through one kernel with Python's debugger.",
    epilog=examples(
        "davinci kernel step add --shape n=1000",
        "davinci kernel step my_kernels/gelu.py:gelu --shape n=5000 --block 1",
    ),
)
@problem_options
@tiling_option
@block_option
@click.option("--deep", is_flag=True, help="Step into the building blocks of the language, too.")
def step_kernel(
    name: str, shape: str, dtype: str | None, platform: str, tiling: str, block: int, deep: bool
) -> None:
    """Run kernel NAME, or NAME in a file of yours given as file.py:NAME, as plain Python under pdb.

    It stops at the kernel's first line. Beside pdb's own commands, `emitted` prints the last instructions and
    `buffers` what was allocated; a step goes over the language and into your own functions. breakpoint() in
    the kernel works, too, as long as it runs this way.
    """
    from kernels.debug import KernelDebugger, step

    problem = problem_of(name, shape, dtype, platform, tiling)
    try:
        debugger = KernelDebugger(deep)
        program = step(problem.kernel, problem.shape, problem.chip, problem.tiling, block, debugger)
    except BdbQuit:
        note(f"{problem.kernel.name}: left before its end")
        return
    note(f"{problem.kernel.name}: block {block} has {len(program)} instructions")
