"""How long the simulated chip takes for launches, from a known state of L2."""

from __future__ import annotations

from collections.abc import Sequence

from davinci_sim.chip import Chip, Task
from davinci_sim.chip.chip import ALIGN_BYTES
from experiments.operators.cover import Launch, launch

STATES = ("cold", "used", "produced")
"""What L2 holds when an operator starts, see `Bench`."""


class Bench:
    """A chip on which operators are timed, from the start of a task to its last result.

    Three states of L2 before it:

    - cold: empty; every input comes from HBM, and nothing has to be written back.
    - used: another operator has streamed twice the size of L2 through it, half read and half written.
    - produced: the same, and then an operator wrote the first input, as in a network.
    """

    def __init__(self, chip: Chip) -> None:
        """Take a chip whose device memory nobody else uses."""
        self.chip = chip
        self.quarter = int(chip.platform.gm_bytes) // 4
        count = 2 * int(chip.platform.l2_bytes) // 4
        self.stream = self._task(launch("relu", {"n": count}, "fp32"), {}, self.quarter)

    def us(self, launches: Sequence[Launch], state: str) -> float:
        """Return the simulated time of launches, one after the other, in microseconds."""
        tasks = self.tasks(launches)
        self.chip.empty_l2()
        if state != "cold":
            self.chip.cycles(self.stream)
        if state == "produced":
            self.chip.cycles(self._producer(launches[0], tasks[0]))
        return self.chip.microseconds(sum(self.chip.cycles(task) for task in tasks))

    def tasks(self, launches: Sequence[Launch]) -> list[Task]:
        """Return the tasks of launches whose operands lie one after another; equal names are one tensor."""
        handles: dict[str, int] = {}
        return [self._task(each, handles, 0) for each in launches]

    def _task(self, each: Launch, handles: dict[str, int], start: int) -> Task:
        """Return a task; `handles` keeps where tensors lie, and gets those that it lacks."""
        end = max([start, *(handles.values())])
        for operand in each.kernel.operands(each.shape):
            if operand.name not in handles:
                handles[operand.name] = end
                end += -(-operand.nbytes // ALIGN_BYTES) * ALIGN_BYTES
        return each.kernel.task(each.shape, dict(handles), self.chip.platform)

    def _producer(self, each: Launch, task: Task) -> Task:
        """Return a launch that writes the first input of another one."""
        first = each.kernel.operands(each.shape)[0]
        writer = launch("relu", {"n": max(1, first.nbytes // 4)}, "fp32")
        source, target = (operand.name for operand in writer.kernel.operands(writer.shape))
        handles = {source: 2 * self.quarter, target: task.operands[first.name]}
        return writer.kernel.task(writer.shape, handles, self.chip.platform)
