"""What the tests of the kernel families share: run a kernel over dirty memory and compare everything."""

from __future__ import annotations

import numpy as np

from davinci_sim.chip import Chip
from davinci_sim.platforms import platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.roofline import gm_bytes, roofline
from kernels.run import place, random_inputs, references, run
from kernels.tolerance import compare

P = platform("ascend910a")
DIRT = 0xAB


def shape_of(kernel: Kernel, dtype: str | None = None, **axes: int) -> Shape:
    """Return a checked shape of a kernel."""
    return kernel.shape_type.of(kernel.name, axes, dtype)


def tilings(kernel: Kernel, shape: Shape) -> list[Tiling]:
    """Return the tilings that the kernel offers for a shape."""
    return list(kernel.tiling_type.space(shape, P))


def differences(kernel: Kernel, shape: Shape, pick: int, seed: int, inputs=None) -> dict[str, int]:
    """Return, per output, how many elements break the rule of `kernels.tolerance`; padding must be zero.

    The outputs' memory is dirty before. fp16: four roundings of 2^-11; fp32: a walk of 2^20 of 2^-24.
    """
    inputs = inputs or random_inputs(kernel, shape, seed)
    choices = tilings(kernel, shape)
    placed = place(kernel, shape, inputs, Chip(P), choices[pick % len(choices)])
    for operand in kernel.operands(shape):
        if operand.is_output:
            placed.chip.write(placed.task.operands[operand.name], np.full(operand.nbytes, DIRT, np.uint8))
    placed.chip.run(placed.task)
    results, expected = placed.outputs(), references(kernel, shape, inputs)
    wrong = {name: compare(results[name], expected[name]).wrong for name in expected}
    for operand in kernel.operands(shape):
        if operand.is_output and operand.layout != "ND":
            clean = operand.pack(results[operand.name])
            lies = placed.chip.read(placed.task.operands[operand.name], clean.shape, operand.device_dtype)
            wrong[operand.name] += int((lies != clean).sum())
    return wrong


def engines_agree(kernel: Kernel, shape: Shape, inputs=None) -> bool:
    """Tell whether the SimPy reference with data gives the bits of the compiled path."""
    inputs = inputs or random_inputs(kernel, shape, 1)
    fast, _ = run(kernel, shape, inputs, Chip(P))
    slow, _ = run(kernel, shape, inputs, Chip(P), engine="reference")
    return all(fast[name].tobytes() == slow[name].tobytes() for name in fast)


def memory_share(kernel: Kernel, shape: Shape) -> float:
    """Return the bytes that all cores move a cycle over what device memory gives; L2 keeps written ones."""
    placed = place(kernel, shape, None, Chip(P))
    rate = sum(gm_bytes(placed.task)) / placed.chip.trace(placed.task).cycles
    return float(rate / P.hbm_bytes_per_cycle)


def efficiency(kernel: Kernel, shape: Shape) -> float:
    """Return the roofline's cycles over the simulated ones."""
    placed = place(kernel, shape, None, Chip(P))
    return roofline(kernel, shape, P, placed.task).bound_cycles / placed.chip.trace(placed.task).cycles
