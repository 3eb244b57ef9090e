"""Seed bugs into launches, and see who catches each: a checker, the output, or nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.task import Task
from davinci_sim.core.checks import CHECKERS, Finding, check_programs
from davinci_sim.core.checks.sync import synchronise
from davinci_sim.core.dispatch import execute
from davinci_sim.core.local import new_memory
from davinci_sim.core.order import legal_order
from davinci_sim.errors import Deadlock, IllegalInstruction
from davinci_sim.platforms import Platform
from experiments.mutation.cases import launches
from experiments.mutation.oracle import is_dead, is_ordered
from experiments.mutation.seeds import CLASSES, SYNCHRONISATION, Block
from kernels.check import device_memory, handles_of, that_matter
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.run import random_inputs

Bytes = npt.NDArray[np.uint8]
DATA_SETS = 2
STALE = 0x5A
"""What outputs hold before a launch."""
MOST_RECORDS = 400
"""Longer programs are left out: their mutants are like those of short ones, and take longer."""


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant."""

    kind: str
    kernel: str
    launch: str
    what: str
    caught_by: tuple[str, ...]
    is_equivalent: bool

    @property
    def is_caught(self) -> bool:
        """Somebody noticed."""
        return bool(self.caught_by)


class Bench:
    """One launch, its data and its right output."""

    def __init__(self, kernel: Kernel, shape: Shape, tiling: Tiling, platform: Platform) -> None:
        self.name, self.platform = kernel.name, platform
        self.title = f"{shape} {tiling}"
        self.task = kernel.emitted(shape, handles_of(kernel, shape), platform, tiling)
        self.memories = [self._filled(kernel, shape, seed) for seed in range(DATA_SETS)]
        self.right = [self._outputs(self.task, gm, False) for gm in self.memories]

    def _filled(self, kernel: Kernel, shape: Shape, seed: int) -> Bytes:
        """Return device memory with inputs, and with outputs that are full of something else."""
        gm = device_memory(kernel, shape, self.task, random_inputs(kernel, shape, seed))
        for tensor in self.task.tensors:
            if tensor.is_output:
                gm[tensor.start : tensor.start + tensor.nbytes] = STALE
        return gm

    @property
    def size(self) -> int:
        """Records of the longest block."""
        return max(len(program) for program in self.task.programs)

    def _outputs(self, task: Task, before: Bytes, runs_ahead: bool) -> list[Bytes] | None:
        """Run the blocks; with `runs_ahead` a pipe runs as far as its flags let it before the next does."""
        gm = before.copy()
        for program in task.programs:
            if runs_ahead:
                order, _ = synchronise(program.words, int(self.platform.event_ids_per_pipe_pair), True)
            else:
                order = legal_order(program)
            memory = new_memory(self.platform, gm)
            if execute(program.words[order], 0, len(order), memory) >= 0:
                return None
        return [gm[t.start : t.start + t.nbytes] for t in task.tensors if t.is_output]

    def output_differs(self, task: Task) -> bool:
        """Tell whether a launch computes something else, in program order or with pipes that run ahead."""
        try:
            for gm, right in zip(self.memories, self.right, strict=True):
                for runs_ahead in (False, True):
                    made = self._outputs(task, gm, runs_ahead)
                    if made is None or not all(map(np.array_equal, made, right or ())):
                        return True
        except (Deadlock, IllegalInstruction):
            return True
        return False

    def findings(self, task: Task) -> list[Finding]:
        """Return what the checkers find, reads of unwritten bytes only where they reach an output."""
        found = check_programs(task.programs, self.platform, task.tensors, task.buffers)
        return that_matter(found, task, self.platform, self.memories[0])

    def verdict(self, kind: str, what: str, task: Task, block: int) -> Verdict:
        """Let everybody look at a mutant."""
        kinds = {finding.kind for finding in self.findings(task)}
        caught = tuple(checker for checker in CHECKERS if checker in kinds)
        unsafe = bool({"memcheck", "synccheck"} & kinds)  # such a program is not run
        if not unsafe and self.output_differs(task):
            caught = (*caught, "output")
        is_equivalent = not caught and self._is_equivalent(kind, task, block)
        return Verdict(kind, self.name, self.title, what, caught, is_equivalent)

    def _is_equivalent(self, kind: str, task: Task, block: int) -> bool:
        """Tell whether a mutant does the same as the kernel for all data."""
        if kind in SYNCHRONISATION:
            return is_ordered(task.programs[block], legal_order(task.programs[block]))
        if kind == "overlapped buffers":
            return False
        right = self.task.programs[block]
        return is_dead(right, task.programs[block], legal_order(right))


def _generator(seed: int, *names: str) -> np.random.Generator:
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.Generator(np.random.Philox(key=[seed, int.from_bytes(digest[:8], "little")]))


def benches(platform: Platform, per_kernel: int, most_records: int = MOST_RECORDS) -> Iterator[Bench]:
    """Yield some launches of every kernel: the longest of the short ones, in which every pipe goes round."""
    kept: dict[str, list[tuple[int, Kernel, Shape, Tiling]]] = {}
    for kernel, shape, tiling in launches(platform, 4):
        task = kernel.emitted(shape, handles_of(kernel, shape), platform, tiling)
        size = max(map(len, task.programs))
        if size <= most_records:
            kept.setdefault(kernel.name, []).append((size, kernel, shape, tiling))
    for found in kept.values():
        longest = sorted(found, key=lambda each: -each[0])[:per_kernel]
        yield from (Bench(kernel, shape, tiling, platform) for _, kernel, shape, tiling in longest)


def mutants(bench: Bench, seed: int, per_class: int) -> Iterator[tuple[str, str, Task, int]]:
    """Yield (class, what was done, launch, block): up to `per_class` of each class, drawn by the seed."""
    for kind, seeded in CLASSES.items():
        generator = _generator(seed, bench.name, bench.title, kind)
        index = int(generator.integers(len(bench.task.programs)))
        block = Block(bench.task.programs[index].words, bench.task.buffers[index], bench.task, index)
        choices = list(seeded(block))
        picks = generator.permutation(len(choices))[:per_class]
        yield from ((kind, *choices[pick], index) for pick in sorted(picks.tolist()))


def verdicts(platform: Platform, seed: int, per_class: int, per_kernel: int) -> Iterator[Verdict]:
    """Seed bugs into launches of every kernel and yield what became of each."""
    for bench in benches(platform, per_kernel):
        for kind, what, task, index in mutants(bench, seed, per_class):
            yield bench.verdict(kind, what, task, index)
