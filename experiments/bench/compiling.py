"""How long training steps are compiled: front end, differentiation and passes, each in a new process."""

from __future__ import annotations

import statistics

from experiments.bench.registry import benchmark, python

_RUNS = 3


def _seconds(name: str) -> float:
    run = python("-m", "experiments.bench.networks", name)
    return statistics.median(float(run()) for _ in range(_RUNS))


@benchmark("s", at_most=1.0)
def compile_resnet50() -> float:
    """Compile the training step of ResNet-50, 32 images of 224x224, 25.6 million weights."""
    return _seconds("resnet50")


@benchmark("s", at_most=1.5)
def compile_bert_large() -> float:
    """Compile the training step of BERT-Large, 8 sequences of 128 tokens, 335 million weights."""
    return _seconds("bert_large")


@benchmark("", at_most=2.0)
def compile_96_layers_over_24() -> float:
    """Compile BERT-Large with 96 layers instead of 24: how many times as long that takes."""
    return _seconds("bert_large_96_layers") / _seconds("bert_large")
