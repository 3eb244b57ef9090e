"""The comparison with JAX and PyTorch: what its table says; what is missing is said."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from experiments.bench.compare import __main__ as compare
from experiments.bench.compare import timing
from experiments.bench.networks import mlp, resnet, training

ROOT = Path(__file__).parents[2]


def test_ratios_are_of_times_only():
    results = {
        "kit": {"loop": {"traced": 0.5, "run": 2.0}},
        "other": {"loop": {"traced": 1.0, "run": "refused"}},
    }
    assert compare.rows(results) == [
        ["loop", "traced", "0.5 s", "1 s", "2"],
        ["loop", "run", "2 s", "refused", "-"],
    ]


def test_a_stage_that_another_tool_does_not_have_is_left_open():
    assert compare.rows({"kit": {"mlp": {"ready": 0.5}}, "other": {}}) == [
        ["mlp", "ready", "0.5 s", "-", "-"]
    ]


def test_a_missing_tool_is_said_and_not_compared(monkeypatch, capsys):
    kit = {"mlp": {timing.TRACED: 0.25}}
    monkeypatch.setattr(compare, "measured", lambda tool, _: kit if tool == "kit" else None)
    compare.main()
    shown = capsys.readouterr()
    assert "torch is not installed and is not compared; pip install -e .[compare]" in shown.err
    assert "0.25 s" in shown.out
    assert "torch" not in shown.out


def test_a_tool_that_is_not_installed_is_not_started():
    assert compare.measured("no_such_tool", "none") is None


@pytest.mark.parametrize("name", timing.NETWORKS)
def test_the_kit_has_every_network_that_is_compared(name):
    assert name in training.TRAININGS


def test_the_sizes_are_those_of_the_kits_networks():
    assert (timing.WIDTHS, timing.STAGES) == (mlp.WIDTHS, resnet.STAGES)
    own = training.TRAININGS["transformer_24_layers"].network()
    assert own.words.shape == (timing.VOCABULARY, timing.WIDTH)
    assert own.places.shape == (timing.POSITIONS, timing.WIDTH)
    assert (training.BATCH, training.SEQUENCES, training.TOKENS) == (
        timing.BATCH,
        timing.SEQUENCES,
        timing.TOKENS,
    )


def test_only_the_comparison_imports_the_other_tools():
    found = []
    for package in ("davinci_sim", "kernels", "framework", "experiments"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if "jax" not in text and "torch" not in text:
                continue
            names = {
                name.split(".")[0]
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for name in (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                )
            }
            if names & {"jax", "torch"}:
                found.append(path.name)
    assert sorted(found) == ["with_jax.py", "with_torch.py"]
