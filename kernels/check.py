"""Check a kernel for hazards: memcheck, racecheck, initcheck and synccheck on the programs that it emits."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.task import Task
from davinci_sim.core.checks import Finding, check_programs
from davinci_sim.core.dispatch import execute
from davinci_sim.core.local import new_memory
from davinci_sim.core.order import legal_order
from davinci_sim.errors import Deadlock, IllegalInstruction
from davinci_sim.isa.machine import Memory
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import Platform, platform
from kernels.lang import rewrite
from kernels.lang.kernel import ALIGN_BYTES, Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.run import Arrays, random_inputs

UNWRITTEN = "unwritten"
POISONS = (0x00, 0xFF)
Bytes = npt.NDArray[np.uint8]


def handles_of(kernel: Kernel, shape: Shape) -> dict[str, int]:
    """Return addresses in GM for the operands of a kernel, one behind the other."""
    return kernel.handles(shape)


def check(
    kernel: Kernel,
    shape: Shape,
    chip: str | Platform = "ascend910a",
    tiling: Tiling | None = None,
    inputs: Arrays | None = None,
) -> list[Finding]:
    """Return what the checkers find in a kernel of this shape and tiling; an empty list is good.

    A read of unwritten bytes is told when it changes an output on `inputs` (random ones if none are given).
    """
    chosen = platform(chip) if isinstance(chip, str) else chip
    task = kernel.emitted(shape, handles_of(kernel, shape), chosen, tiling)
    findings = check_programs(task.programs, chosen, task.tensors, task.buffers, buffer_name)
    if any(finding.rule == UNWRITTEN for finding in findings):
        given = random_inputs(kernel, shape, 0) if inputs is None else inputs
        return that_matter(findings, task, chosen, device_memory(kernel, shape, task, given))
    return findings


def check_task(task: Task, chip: Platform, gm: Bytes | None = None) -> list[Finding]:
    """Return what the checkers find in a task.

    With the device memory `gm[bytes]` before the task, reads of unwritten bytes that change no output are
    left out: kernels may compute whole vectors of which they store a part.
    """
    findings = check_programs(task.programs, chip, task.tensors, task.buffers, buffer_name)
    return findings if gm is None else that_matter(findings, task, chip, gm)


def buffer_name(location: int) -> str:
    """Return the variables that buffers were assigned to in a line, and the line."""
    line, place = rewrite.source_line(location), rewrite.source_text(location)
    name = line.split("=")[0].strip() if "=" in line else "a buffer"
    return f"{name} ({place})" if place else name


def device_memory(kernel: Kernel, shape: Shape, task: Task, inputs: Arrays) -> Bytes:
    """Return a device memory that holds the inputs where the task expects them."""
    end = max(tensor.start + tensor.nbytes for tensor in task.tensors)
    gm = np.zeros(end + 2 * ALIGN_BYTES, dtype=np.uint8)
    for operand in kernel.operands(shape):
        if not operand.is_output:
            data = np.ascontiguousarray(operand.pack(inputs[operand.name])).reshape(-1).view(np.uint8)
            start = task.operands[operand.name]
            gm[start : start + data.size] = data
    return gm


def that_matter(findings: Sequence[Finding], task: Task, chip: Platform, gm: Bytes) -> list[Finding]:
    """Leave out the reads of unwritten bytes that change no byte of an output.

    The task runs twice, from on-chip memories that differ in every byte; then, for each finding, its block
    from ones that differ in the finding's bytes only. When none of them explains a difference, all stay.
    """
    unwritten = [finding for finding in findings if finding.rule == UNWRITTEN]
    if not unwritten:
        return list(findings)
    try:
        trial = _Trial(task, chip, gm)
        kept = [each for each in unwritten if trial.differs(each)] or unwritten if trial.differs() else []
    except (Deadlock, IllegalInstruction):  # told by the other findings: such a program cannot be run
        return list(findings)
    return [each for each in findings if each.rule != UNWRITTEN or each in kept]


class _Trial:
    """A task, run twice side by side from on-chip memories that hold this and that."""

    def __init__(self, task: Task, chip: Platform, gm: Bytes) -> None:
        self.task, self.before = task, gm
        self.words = [program.words[legal_order(program)] for program in task.programs]
        self.memories = [new_memory(chip, gm.copy()) for _ in POISONS]
        self.outputs = [slice(t.start, t.start + t.nbytes) for t in task.tensors if t.is_output]
        self.is_fresh = True

    def differs(self, finding: Finding | None = None) -> bool:
        """Tell whether the outputs depend on what a finding's bytes, or all bytes, hold at first."""
        with ThreadPoolExecutor(len(POISONS)) as pool:
            list(pool.map(self._run, self.memories, POISONS, (finding, finding)))
        self.is_fresh = False
        one, other = (memory.gm for memory in self.memories)
        return any(not np.array_equal(one[output], other[output]) for output in self.outputs)

    def _run(self, memory: Memory, poison: int, finding: Finding | None) -> None:
        """Run all blocks, or that of a finding, from a memory that holds `poison`."""
        for output in [] if self.is_fresh else self.outputs:
            memory.gm[output] = self.before[output]
        blocks = range(len(self.words)) if finding is None else [finding.records[0][0]]
        for block in blocks:
            self._poison(memory, block, poison, finding)
            if execute(self.words[block], 0, len(self.words[block]), memory) >= 0:
                raise IllegalInstruction("an operand leaves its memory space")

    def _poison(self, memory: Memory, block: int, poison: int, finding: Finding | None) -> None:
        """Fill what a block has allocated, or of it a finding's bytes only and the rest with zeros."""
        for space, start, nbytes, _, _ in self.task.buffers[block].tolist():
            first = int(memory.base[space]) + start
            memory.local[first : first + nbytes] = poison if finding is None else 0
        if finding is not None and finding.bytes is not None:
            first = int(memory.base[Space[finding.bytes.space]]) + finding.bytes.start
            memory.local[first : first + finding.bytes.end - finding.bytes.start] = poison
