"""How long a sink loop takes: steps that the device runs for one call of the host, whose inputs come beside.

Model: the host sends the inputs of the coming steps over the link while the device computes, into a queue
with room for them; the step copies its own from there. Without prefetch a step waits for its inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from davinci_sim.chip.flow import link_cycles
from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import Graph


@dataclass(frozen=True)
class SinkLoop:
    """So many equal steps: what one takes on the device, its inputs on the link, and the call of the host."""

    steps: int
    step_cycles: int
    transfer_cycles: int
    call_cycles: int
    prefetch: bool = True

    @property
    def cycles(self) -> int:
        """The end of the last step.

        >>> SinkLoop(10, 100, 20, 5).cycles, SinkLoop(10, 100, 120, 5).cycles
        (1020, 1300)
        >>> SinkLoop(10, 100, 20, 5, prefetch=False).cycles
        1205
        """
        work = self.steps * self.step_cycles
        sent = self.steps * self.transfer_cycles
        if not self.prefetch:
            return self.call_cycles + work + sent
        waits = max(self.call_cycles, self.transfer_cycles)
        return max(waits + work, sent + self.step_cycles)

    @property
    def hidden_cycles(self) -> int:
        """How much of the calls and transfers costs no time, because the device works meanwhile."""
        return self.call_cycles + self.steps * (self.transfer_cycles + self.step_cycles) - self.cycles


def transfer_cycles(graph: Graph, platform: Platform, names: Iterable[str] | None = None) -> int:
    """Return what the link takes for the inputs of a step."""
    nbytes = sum(graph.values[name].nbytes for name in (graph.inputs if names is None else names))
    return link_cycles(platform, nbytes)
