"""The experiment on rooflines: what is asked for, and what its numbers are parts of."""

from __future__ import annotations

import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.platforms import platform
from experiments.harness import load
from experiments.operators.cover import launch
from experiments.operators.timing import Bench
from experiments.rooflines.experiment import PEAK, ROOF, STREAM, _timed, goals
from kernels.samples import NETWORKS, network_shapes

P = platform("ascend910a")


def test_every_goal_has_an_expectation_and_every_expectation_a_goal():
    assert {goal.name for goal in goals()} == set(load("rooflines").expected)


@pytest.mark.parametrize("name", kernels.load())
def test_every_kernel_has_a_problem_of_a_network(name):
    """Legal shapes, with all axes."""
    assert list(network_shapes(kernels.find(name)))


def test_the_networks_are_resnet_50_and_bert_large():
    """32 images; 24 sequences of 512 tokens and 1024 features."""
    assert {axes["n"] for axes in NETWORKS["image"]} == {32}
    assert NETWORKS["matrix"][0]["m"] == 24 * 512
    assert NETWORKS["sequence"][0]["heads"] * NETWORKS["sequence"][0]["d"] == 1024


def test_parts_are_of_the_peak_the_roofline_and_the_memory():
    """A product of 256: 128 cycles of 32 cubes, over the cycles that it takes."""
    row = _timed(launch("matmul", {"m": 256, "k": 256, "n": 256}, "fp16"), Bench(Chip(P)))
    assert row.of(PEAK, P) == 256**3 / (4096 * 32) / row.cycles
    assert row.of(ROOF, P) == row.roofline.bound_cycles / row.cycles
    assert row.of(STREAM, P) == row.moved_bytes / row.cycles / int(P.hbm_bytes_per_cycle)
    assert row.of(ROOF, P) <= 1
