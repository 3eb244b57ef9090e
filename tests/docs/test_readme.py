"""What the README shows is what runs."""

import re
from pathlib import Path

import numpy as np

from davinci_sim.chip import Chip
from experiments.user_files import load_module
from kernels.run import random_inputs, references, run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "axpy.py"
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_kernel_in_the_readme_stands_in_the_example():
    """Every line shown is a line of the file that it is taken from."""
    shown = [line.strip() for line in BLOCKS[0].splitlines() if line.strip()]
    source = [line.strip() for line in EXAMPLE.read_text(encoding="utf-8").splitlines()]
    assert [line for line in shown if line not in source] == []


def test_the_example_kernel_equals_its_reference():
    """Z = 3 x + y, rounded after each of the two operations."""
    axpy = load_module(EXAMPLE, "readme_axpy").axpy
    shape = axpy.shape_type.of("axpy", {"n": 10_001})
    inputs = random_inputs(axpy, shape, 1)
    outputs, _ = run(axpy, shape, inputs, Chip())
    assert np.array_equal(outputs["z"], references(axpy, shape, inputs)["z"])


def test_the_network_in_the_readme_runs():
    """The block is executed as it stands; the derivative of the cube of 2 is 12."""
    path = ROOT / "tests" / "docs" / "readme_network.py"
    assert BLOCKS[1].strip() == path.read_text(encoding="utf-8").split('"""', 2)[2].strip()
    shown = load_module(path, "readme_network")
    assert shown.y.shape == (32, 10)
    assert float(shown.slope.numpy()) == 12.0
    assert float(shown.steep.numpy()) == 32.0
