"""How quick times are told that were simulated before: in this process, and by an earlier one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.bench.registry import benchmark, median_seconds, seconds

if TYPE_CHECKING:
    from davinci_sim.chip import Chip, Group, Task

_LAYERS = 24
_TOKENS, _HIDDEN, _INNER, _ROWS = 96 * 128, 1024, 4096, 96 * 16 * 128
_SQUARE = {"m": _TOKENS, "k": _HIDDEN, "n": _HIDDEN}
_NORM = {"m": _TOKENS, "n": _HIDDEN}
_LAYER = (
    ("matmul", _SQUARE, "x wq q"),
    ("matmul", _SQUARE, "x wk k"),
    ("matmul", _SQUARE, "x wv v"),
    ("softmax", {"m": _ROWS, "n": 128}, "scores shares"),
    ("matmul", _SQUARE, "v wo o"),
    ("layer_norm", _NORM, "o gamma1 beta1 y mean1 rstd1"),
    ("matmul", {**_SQUARE, "n": _INNER}, "y w1 f"),
    ("gelu", {"n": _TOKENS * _INNER}, "f g"),
    ("matmul", {**_SQUARE, "k": _INNER}, "g w2 z"),
    ("layer_norm", _NORM, "z gamma2 beta2 next mean2 rstd2"),
)
"""Kernel, shape and tensors of a layer of BERT-Large at batch 96, without the two small products."""


def _chip(keep_times: bool = False) -> Chip:
    from davinci_sim.chip import Chip

    return Chip("ascend910a", data=False, keep_times=keep_times)


def _tasks(chip: Chip, layers: int = _LAYERS) -> list[Group]:
    """Return the tasks of layers, each of which begins where the sets of L2 do."""
    return [chip.group([task]) for layer in range(layers) for task in _layer(chip, layer)]


def _layer(chip: Chip, layer: int) -> Iterator[Task]:
    import kernels

    handles: dict[str, int] = {}
    for name, axes, names in _LAYER:
        kernel = kernels.find(name)
        shape = kernel.shape_type.of(name, axes)
        operands = dict(zip(names.split(), kernel.operands(shape), strict=True))
        for tensor, operand in operands.items():
            if tensor not in handles:
                handles[tensor] = chip.allocate(operand.nbytes, f"{tensor} {layer}", chip.l2_period_bytes)
        mine = {operand.name: handles[tensor] for tensor, operand in operands.items()}
        yield kernel.deferred(shape, mine, chip.platform)


@benchmark("tasks", at_most=20)
def simulated_of_240_tasks_in_equal_layers() -> float:
    """Count how many tasks of 24 layers of BERT-Large have to be simulated; the others are equal."""
    chip = _chip()
    chip.times(_tasks(chip))
    return float(chip.clockwork.simulated)


@benchmark("ms")
def timing_a_remembered_task() -> float:
    """Time a task whose time is remembered: what L2 holds is read, compared and renewed."""
    chip = _chip()
    groups = _tasks(chip, 4)
    for group in groups:
        chip.clockwork.time_of_group(group)
    last = groups[-len(_LAYER) :]
    took = median_seconds(lambda: [chip.clockwork.time_of_group(group) for group in last])
    return took / len(last) * 1e3


@benchmark("ms")
def timing_a_remembered_step() -> float:
    """Time the 240 tasks of 24 layers when all was simulated, and L2 is as it was then."""
    chip = _chip()
    groups = _tasks(chip)

    def step() -> None:
        chip.empty_l2()
        chip.times(groups)

    return median_seconds(step) * 1e3


@benchmark("1/s")
def kept_times_read() -> float:
    """Count how many times of tasks are read back from disk in a second, with what they leave in L2."""
    return 1 / _on_disk()[1]


@benchmark("1/s")
def kept_times_written() -> float:
    """Count how many are written in a second."""
    return 1 / _on_disk()[0]


def _on_disk() -> tuple[float, float]:
    """Return the time of writing and of reading an entry of the size that a large task has."""
    import numpy as np

    from davinci_sim.chip.group import GroupTime, TaskTime
    from davinci_sim.chip.kept import Remembered, Store, packed, unpacked

    runs = np.repeat(np.arange(1500, dtype=np.int32)[:, None] * 64, 3, axis=1)
    known = Remembered(GroupTime(((0, 1),), (TaskTime(1, {"V": 1}),)), runs)
    names = [f"{number:040}" for number in range(200)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))

        def write() -> None:
            for name in names:
                store.put(name, packed(known))

        written = seconds(write)
        read = seconds(lambda: [unpacked(store.get(name) or b"") for name in names])
    return written / len(names), read / len(names)
