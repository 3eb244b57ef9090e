"""Commands whose help tells the formula of every number that they print."""

from __future__ import annotations

from typing import Any

import click

RUN = {
    "cycles": "end of the last result - start of the first block, alone on the chip, L2 empty at first",
    "us": "cycles / clock_hz * 10^6",
    "tflops": "2 * multiplications of the problem, without padding / us / 10^6",
    "gm_bytes": "bytes that instructions read from and write to GM, in blocks of 32",
    "gbps": "gm_bytes / us / 10^3",
    "utilization": "cycles for which a pipe holds instructions but hand-offs / (cycles * cores with blocks)",
    "bound": "the longest of the cube, paths, l2 and hbm ceilings of `davinci kernel profile --help`",
    "efficiency": "bound / cycles",
    "max_abs_error": "largest |result - reference| of all outputs; the reference is NumPy",
    "simulated in": "wall-clock time of emitting, computing and simulating",
}
PROFILE = {
    "cycles": RUN["cycles"],
    "us": RUN["us"],
    "ideal": "multiplications / (cores * m * k * n of one cube product)",
    "port": "the longest of operand bytes / (cores * width of a core's path), / width of L2, / width of HBM",
    "capacity": "bytes of 2 f / sqrt(s) - 2 s numbers (f products, room for s) / width; matrix products only",
    "ceilings": "as ideal and port; vector: repeats * cycles of a repeat, all cores together / cores",
    "at work": "work of the units / (cores * cycles); bytes through L2, from and to HBM / width / cycles",
    "efficiency": "the longest of the cube, paths, l2 and hbm ceilings / cycles",
    "share": "cycles that a pipe is charged with for a cause / cycles, the mean of the cores with blocks",
    "critical": "the same of the core whose last block ends last",
    "busy of a line": "cycles in which units hold its instructions, all pipes but S, / cores with blocks",
    "waiting of a line": "cycles for which pipes but S wait for its instructions / cores with blocks",
    "critical path": "cycles of steps, back from the last result, each ending when the next one began",
    "what if": "cycles of the same programs, simulated on a machine that differs in what the row says",
    "saved, worth": "1 - cycles of that machine / cycles; what two limits cost together is not the sum",
    "saves": "1 - cycles with the tiling named / cycles; both were simulated",
}
COMPARE = {
    "cycles, us": "as `davinci kernel run --help` says",
    "term": "cycles that a cause takes of a pipe in the second launch - the same in the first",
    "sum": "cycles of the second launch - cycles of the first = sum of the terms",
}
SIMULATE = {
    "step_ms": "end of the last task of a step - its start, where a step went before",
    "samples_per_s": "batch / step_ms * 10^3",
    "ms, share of an operator": "time of its tasks, divided by n where n run side by side; / step",
    "us, share of a task": "end - start, others beside it or not; / step",
    "bound": "start: shorter than the start of a task takes; cores: no pipe "
    "works for half of its time, while it waits for the cores of others; else the pipe that is busiest in it",
    "instructions": "records of all tasks of the step, repetitions counted",
    "simulated": "tasks that had to be simulated; the times of the others were remembered",
    "device_memory_mb": "(variables + constants + workspace, aligned) / 10^6 bytes",
    "alive": "most bytes of the workspace that one task needs or must leave: no plan takes less",
    "loop": "max(call, transfer) + steps * step, if the link keeps up; op by op: steps * (transfer + step)",
    "transfer": "bytes of a step's inputs / host_link_bytes_per_cycle of the platform",
    "hidden": "time of the call and of the transfers - what the loop takes longer than its steps",
    "took": "wall-clock time of tracing and differentiating, compiling and loading, and simulating",
}


class Explained(click.Command):
    """A command whose help has the formulas of its `metrics` and, with `causes`, what each cause means."""

    def __init__(self, *args: Any, metrics: dict[str, str], causes: bool = False, **extra: Any) -> None:
        """Take what click takes."""
        super().__init__(*args, **extra)
        self.metrics, self.causes = metrics, causes

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the formulas and the causes before the examples."""
        with formatter.section("Metrics"):
            formatter.write_dl(list(self.metrics.items()))
        if self.causes:
            from davinci_sim.trace.ledger.causes import CAUSES

            with formatter.section("Causes (every cycle of every pipe has exactly one)"):
                formatter.write_dl([(cause.name, cause.meaning) for cause in CAUSES])
        super().format_epilog(ctx, formatter)
