"""How long the simulated chip takes for launches, from a known state of L2."""

from __future__ import annotations

from collections.abc import Sequence

from davinci_sim.chip import Chip, Task
from davinci_sim.chip.chip import ALIGN_BYTES
from experiments.operators.cover import Launch, launch

STATES = ("cold", "used", "produced")
"""What L2 holds when an operator starts, see `Bench`."""


class _Memory:
    """Where tensors lie in device memory, one after another; equal names are one tensor."""

    def __init__(self, start: int) -> None:
        self.handles: dict[str, int] = {}
        self.end = start

    def handle(self, name: str, nbytes: int) -> int:
        """Return where a tensor lies."""
        if name not in self.handles:
            self.handles[name] = self.end
            self.end += -(-nbytes // ALIGN_BYTES) * ALIGN_BYTES
        return self.handles[name]


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
        self.stream = self._task(launch("relu", {"n": count}, "fp32"), _Memory(self.quarter))

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
        memory = _Memory(0)
        return [self._task(each, memory) for each in launches]

    def _task(self, each: Launch, memory: _Memory) -> Task:
        """Return a task whose operands lie in `memory`."""
        names = dict(each.tensors)
        handles = {
            operand.name: memory.handle(names.get(operand.name, operand.name), operand.nbytes)
            for operand in each.kernel.operands(each.shape)
        }
        return each.kernel.task(each.shape, handles, self.chip.platform)

    def _producer(self, each: Launch, task: Task) -> Task:
        """Return a launch that writes the first input of another one."""
        first = each.kernel.operands(each.shape)[0]
        writer = launch("relu", {"n": max(1, first.nbytes // 4)}, "fp32")
        source, target = (operand.name for operand in writer.kernel.operands(writer.shape))
        handles = {source: 2 * self.quarter, target: task.operands[first.name]}
        return writer.kernel.task(writer.shape, handles, self.chip.platform)
