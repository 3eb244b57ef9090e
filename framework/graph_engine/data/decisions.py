"""Decisions of the engine on disk: what pays on a chip is asked once, until the kit's source changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

from framework.graph_engine.data.operators import kernel
from kernels.lang.identity import identity
from kernels.tune.remembered import remembered

_FRAMEWORK = Path(__file__).resolve().parents[2]
DECIDING = ("graph_engine", "ops/lowering")
"""The parts of the framework whose source most decisions depend on, beside the kernels and the simulator."""


def decided(
    question: str, called: Collection[str], find: Callable[[], list[int]], parts: tuple[str, ...] = DECIDING
) -> list[int]:
    """Return the numbers that `find` gives for a question, as an earlier process has found them if it has.

    `called` names the kernels that it is about. One from a file of the user may use whatever it imports: what
    concerns such a kernel is found anew. `parts` of the framework are what the answer depends on beside them.
    """
    sources = sorted({identity(kernel(name)) for name in called})
    return find() if "" in sources else remembered(f"{_source(parts)} {sources} {question}", find)


@cache
def _source(parts: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        whole = _FRAMEWORK / part
        for path in sorted(whole.rglob("*.py")) if whole.is_dir() else [whole]:
            digest.update(path.read_bytes())
    return digest.hexdigest()
