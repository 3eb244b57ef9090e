"""How long whole steps of networks take to compile onto the chip and to simulate, and how much memory.

Each is measured in a process of its own: `python -m experiments.bench.whole_steps resnet50 32 train kept`
prints one line of numbers. With `anew` nothing is known of the times of the step's tasks, so that each
distinct task is simulated; otherwise they are remembered from a run before. Tilings and the decisions of
fusions are remembered in both.
"""

from __future__ import annotations

import json
import sys
import time
from functools import lru_cache
from pathlib import Path

from experiments.bench.registry import benchmark, python

KEPT, ANEW = "kept", "anew"
TRAIN, INFER = "train", "infer"


def measure(network: str, batch: int, way: str, times: str) -> dict[str, float]:
    """Compile a step and simulate it once; return seconds of both, and the most memory in gigabytes."""
    from davinci_sim import Chip
    from framework.graph_engine import Session
    from framework.models import config, model

    zoo, start = model(network), time.perf_counter()
    make = zoo.training if way == TRAIN else zoo.inference
    step = make(config(network), batch)
    session = Session(step.func, Chip("ascend910a", data=False, keep_times=times == KEPT))
    compiled = time.perf_counter()
    step_us = session.step_us()
    ended = time.perf_counter()
    return {
        "compile_s": compiled - start, "simulate_s": ended - compiled, "peak_gb": _most_gigabytes(),
        "step_us": step_us, "simulated": float(session.chip.clockwork.simulated),
    }  # fmt: skip


def _most_gigabytes() -> float:
    """Return the most memory that this process has held; what getrusage tells goes on from its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024 / 1e9


@lru_cache
def _measured(*what: str) -> dict[str, float]:
    """Return what a new process measures; one that finds times on disk comes after one that keeps them."""
    run = python("-m", "experiments.bench.whole_steps", *what)
    if what[-1] == KEPT:
        run()
    found: dict[str, float] = json.loads(run())
    return found


@benchmark("s", at_most=6.0)
def compile_resnet50_onto_the_chip() -> float:
    """Time from the Cell of ResNet-50 to the loaded tasks of a training step, batch 32."""
    return _measured("resnet50", "32", TRAIN, KEPT)["compile_s"]


@benchmark("s", at_most=8.0)
def compile_bert_large_onto_the_chip() -> float:
    """Time the same of BERT-Large, batch 96, 128 tokens."""
    return _measured("bert", "96", TRAIN, KEPT)["compile_s"]


@benchmark("s", at_most=3.0)
def simulate_resnet50_32() -> float:
    """Time a training step of ResNet-50, batch 32, its tasks remembered."""
    return _measured("resnet50", "32", TRAIN, KEPT)["simulate_s"]


@benchmark("s", at_most=10.0)
def simulate_resnet50_256() -> float:
    """Time the same at batch 256."""
    return _measured("resnet50", "256", TRAIN, KEPT)["simulate_s"]


@benchmark("s", at_most=15.0)
def simulate_bert_large_96() -> float:
    """Time a training step of BERT-Large, batch 96, its tasks remembered."""
    return _measured("bert", "96", TRAIN, KEPT)["simulate_s"]


@benchmark("s", at_most=0.5)
def simulate_resnet50_inference() -> float:
    """Time ResNet-50 in use, one image, its tasks remembered."""
    return _measured("resnet50", "1", INFER, KEPT)["simulate_s"]


@benchmark("s")
def simulate_resnet50_inference_anew() -> float:
    """Time the same with every distinct task simulated."""
    return _measured("resnet50", "1", INFER, ANEW)["simulate_s"]


@benchmark("s")
def simulate_resnet50_32_anew() -> float:
    """Time a training step of ResNet-50, batch 32, with every distinct task simulated."""
    return _measured("resnet50", "32", TRAIN, ANEW)["simulate_s"]


@benchmark("GB", at_most=4.0)
def memory_of_bert_large_96() -> float:
    """Measure the most memory of the process that compiles and times BERT-Large, batch 96."""
    return _measured("bert", "96", TRAIN, KEPT)["peak_gb"]


@benchmark("GB", at_most=4.0)
def memory_of_resnet50_256() -> float:
    """Measure the same of ResNet-50, batch 256."""
    return _measured("resnet50", "256", TRAIN, KEPT)["peak_gb"]


if __name__ == "__main__":
    _, network, batch, *how = sys.argv
    print(json.dumps(measure(network, int(batch), *how)))
