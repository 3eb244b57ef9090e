"""How quick kernels are emitted, and their data computed."""

from __future__ import annotations

from typing import Any

from experiments.bench.registry import benchmark, median_seconds


def task_of(name: str, dtype: str | None = None, threads: int | None = None, **axes: int) -> Any:
    """Return a placed kernel with random data on a chip of its own."""
    import kernels
    from davinci_sim.chip import Chip
    from kernels.run import place, random_inputs

    kernel = kernels.find(name)
    shape = kernel.shape_type.of(name, axes, dtype)
    return place(kernel, shape, random_inputs(kernel, shape, 0), Chip("ascend910a", threads=threads))


@benchmark("records/s", at_least=15e6)
def emission() -> float:
    """Emit all blocks of a matmul, records only."""
    from davinci_sim.core.local import space_bytes
    from davinci_sim.isa import state as st

    placed = task_of("matmul", m=1024, k=1024, n=1024)
    chip = placed.chip.platform
    tiling = placed.kernel.tiling_type.default(placed.shape, chip)
    capacity = max(map(len, placed.task.programs))
    core = st.new_core_state(capacity, space_bytes(chip, 0), int(chip.event_ids_per_pipe_pair))
    numbers = (*placed.task.operands.values(), placed.shape.pack(), tiling.pack())

    def emit() -> None:
        for block in range(placed.task.block_dim):
            st.begin_block(core, block, placed.task.block_dim)
            placed.kernel.emit(core, *numbers)

    return float(placed.task.instructions) / median_seconds(emit)


@benchmark("records/s")
def launch_preparation() -> float:
    """Make a whole task of a matmul: emit, put into a legal order, note the source lines."""
    placed = task_of("matmul", m=1024, k=1024, n=1024)
    chip = placed.chip.platform
    work = median_seconds(lambda: placed.kernel.task(placed.shape, placed.task.operands, chip))
    return float(placed.task.instructions) / work


@benchmark("GFLOP/s", at_least=20)
def matmul_data() -> float:
    """Compute the data of an fp16 matmul on one core of the host."""
    placed = task_of("matmul", threads=1, m=512, k=512, n=512)
    work = 2 * placed.kernel.macs(placed.shape)
    return 1e-9 * float(work) / median_seconds(lambda: placed.chip.run(placed.task))


@benchmark("x NumPy's time", at_most=3)
def vector_add_data() -> float:
    """Add 16 million fp32 numbers (192 MiB in all) on one core of the host, as a multiple of NumPy's time."""
    import numpy as np

    count = 1 << 24
    placed = task_of("add", "fp32", threads=1, n=count)
    a, b = np.ones(count, np.float32), np.ones(count, np.float32)
    c = np.empty_like(a)
    return median_seconds(lambda: placed.chip.run(placed.task)) / median_seconds(lambda: np.add(a, b, out=c))


@benchmark("x a run's time", at_most=10)
def hazard_checks() -> float:
    """Check launches for hazards, as a multiple of a run with data: the worst of a dozen kernels."""
    from experiments.mutation.times import LAUNCHES, measure

    taken = [measure(name, keys) for name, keys in LAUNCHES]
    return max(each.whole_s / each.run_s for each in taken)
