"""How quick whole kernels are emitted and timed, at the sizes of real networks."""

from __future__ import annotations

from experiments.bench.registry import benchmark, seconds


@benchmark("s", at_most=20)
def networks() -> float:
    """Emission and timing of every kernel at the sizes of ResNet-50 and BERT-Large, warm."""
    import kernels
    from davinci_sim.chip import Chip
    from experiments.operators.cover import Launch
    from experiments.operators.timing import Bench
    from kernels.samples import network_shapes, plain_shapes

    bench = Bench(Chip("ascend910a", remember_times=False))

    def time_all(small: bool) -> None:
        for kernel in kernels.load().values():
            for shape in plain_shapes(kernel)[:1] if small else network_shapes(kernel):
                for task in bench.tasks([Launch(kernel, shape)]):
                    bench.chip.cycles(task)

    time_all(small=True)  # loads what is compiled
    return seconds(lambda: time_all(small=False))
