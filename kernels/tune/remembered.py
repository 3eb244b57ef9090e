"""What was worked out, on disk: default tilings, into how many parts sums are best cut, which fusions pay.

Choosing among thousands of estimates takes a tenth of a second for a convolution. What one process has found,
the next one reads, until a kernel, a tiling, an instruction or the chip changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from davinci_sim.chip.kept import Store
from davinci_sim.isa.cache import CACHE_FOLDER
from davinci_sim.platforms import Platform
from kernels.lang.identity import kit
from kernels.lang.shapes import Shape

STORE = Store(Path(CACHE_FOLDER).parent / "choices", most_bytes=1 << 28)


def remembered(question: str, find: Callable[[], list[int]]) -> list[int]:
    """Return the numbers that `find` gives for a question.

    All that the answer depends on is in the question or in the source of the simulator and the kernels.
    """
    key = hashlib.blake2b(f"{kit()} {question}".encode(), digest_size=20).hexdigest()
    known = STORE.get(key)
    if known is not None:
        return [int(number) for number in json.loads(known)]
    found = find()
    STORE.put(key, json.dumps(found).encode())
    return found


def about(what: str, shape: Shape, platform: Platform) -> str:
    """Return the question of what is best for a shape on a chip."""
    return f"{what} {type(shape).__name__} {shape} {platform.name} {platform.digest}"
