"""What a change spares, as the notes below a graph print it."""

from __future__ import annotations

import pytest

from framework.graph_engine.service.formats import LAUNCH_BYTES
from framework.graph_engine.service.fusion.gain import Gain

KIB = 1024


@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (Gain(14 * KIB, 90, 40), "90 -> 40 cycles, 14 KiB spared"),
        (Gain(14 * KIB + LAUNCH_BYTES, 90, 40, 1), "90 -> 40 cycles, 1 launch and 14 KiB spared"),
        (Gain(2 * LAUNCH_BYTES, 90, 95, 2), "90 -> 95 cycles, 2 launches and 0 KiB spared, not made"),
        (Gain(LAUNCH_BYTES - 3 * KIB, launches=1), "1 launch and -3 KiB spared"),
        (Gain(-KIB), "-1 KiB spared, not made"),
    ],
)
def test_launches_are_told_beside_the_bytes_of_tensors(gain, text):
    """What a launch is worth is no traffic: a note of bytes tells only what tensors move."""
    assert gain.text() == text
