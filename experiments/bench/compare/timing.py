"""What is compared, and how it is timed: alike for every tool, in a process of its own."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

NETWORKS = ("mlp", "resnet50", "transformer_24_layers", "transformer_96_layers")
TRACED, LOWERED = "traced, differentiated", "ready for a back end"
LOOP = "while_loop"
RUN = "10,000 turns with gradient"
BATCH, IMAGE, TOKENS, WIDTHS = 32, 224, 128, (784, 512, 256, 128, 10)
SEQUENCES, WIDTH, HEADS, VOCABULARY, POSITIONS = 8, 128, 4, 30_522, 512
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
TURNS = 10_000
REPEATS = 3

Found = dict[str, float | str]
Stages = Mapping[str, Callable[[], object]]
"""What is timed, by the name of the stage; each call starts anew."""


def layers_of(name: str) -> int:
    """Return how many layers the transformer of this name has."""
    return int(name.split("_")[1])


def seconds(work: Callable[[], object]) -> float:
    """Return the median of the processor's time for a call, while no garbage is collected."""
    times = []
    for _ in range(REPEATS):
        gc.collect()
        gc.disable()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
        gc.enable()
    return statistics.median(times)


def report(networks: Callable[[str], Stages], loop: Callable[[], Found]) -> None:
    """Print what one tool takes for everything, as JSON; the first network warms up."""
    for work in networks(NETWORKS[0]).values():
        work()
    found: dict[str, Found] = {}
    for name in NETWORKS:
        found[name] = {stage: seconds(work) for stage, work in networks(name).items()}
    found[LOOP] = loop()
    print(json.dumps(found))


def refusal(work: Callable[[], Any]) -> str:
    """Return how a tool refuses, in short."""
    try:
        work()
    except Exception as error:  # each tool has kinds of its own
        return f"refused: {type(error).__name__}"
    return "accepted"
