"""Execution control: a session owns one graph on one chip, from Func to results."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from davinci_sim.chip import Chip
from davinci_sim.errors import DavinciError, InternalError
from davinci_sim.platforms import Platform
from framework.feeds import check_state, fed
from framework.graph_engine.control.profile import Profile, profile
from framework.graph_engine.data.graph import PUSH
from framework.graph_engine.data.memory import ALIGN_BYTES
from framework.graph_engine.options import GRAPH, OP_BY_OP, Options
from framework.graph_engine.service.bind import RoomFull
from framework.graph_engine.service.compile import CompiledGraph, compile_graph
from framework.graph_engine.service.execute import SinkResult, counts_fit, execute, host_round_trips
from framework.graph_engine.service.load import LoadedGraph, align_bytes, load
from framework.graph_engine.service.optimize import optimize
from framework.graph_engine.service.precision import with_precision
from framework.graph_engine.service.prepare import first_room, more_room, prepare
from framework.graph_engine.service.room import check_least, fits
from framework.graph_engine.service.split import placement, split
from framework.ir.nodes import Func

Array = np.ndarray[Any, Any]


class Session:
    """A Func compiled onto a chip: the six steps in order, then as many sink loops as wanted."""

    def __init__(
        self, func: Func, chip: Chip, state: Mapping[str, Array] | None = None, options: Options | None = None
    ) -> None:
        """Take a Func through preparation, splitting, optimisation, compilation and loading.

        Raises:
            DavinciError: what is given is no Func, no chip, or no options; or a step refuses it.
        """
        self.options = options or Options()
        self.func, self.chip = func, chip
        for what, given in zip(_TAKEN, (func, chip, self.options), strict=True):
            what.check(given)
        self.host_calls = 0
        self._build(first_room(func), state or {})

    def _build(self, room: int, state: Mapping[str, Array]) -> None:
        """Take the steps one to five; loops that keep values have room for so many turns."""
        platform = self.chip.platform
        self.room = room
        self.prepared = with_precision(prepare(self.func, room, state), self.options.precision, platform)
        self.placed = split(self.prepared, platform)
        check_least(self.placed, self.chip)
        self.optimized = optimize(self.placed, platform, self.options)
        side_by_side = self.options.streams and self.options.mode == GRAPH  # else the host sends one by one
        for unit in dict.fromkeys((align_bytes(self.chip), ALIGN_BYTES)):  # closer where that is too far
            self.compiled: CompiledGraph = compile_graph(
                self.optimized, platform, self.options.reuse, side_by_side, unit, self.options.blocks
            )
            if fits(self.compiled, self.chip):
                break
        self.loaded: LoadedGraph = load(self.compiled, self.chip, state)

    def run(self, feeds: Mapping[str, Array]) -> SinkResult:
        """Run one step per row of `feeds[input][steps, ...]`; variables stay on the device.

        When a loop has more turns than there is room for what it keeps, the host makes room for four times
        as many and lets all steps run again, which counts as a round trip of each of them. An integer that
        does not fit the 32 bits of a counter makes it load the graph with 64 from then on.
        """
        inputs = {
            each.name: each.tensor for each in self.func.params if each.name in self.loaded.graph.inputs
        }
        feeds = fed(self.func.name, inputs, feeds)
        if not counts_fit(self.loaded, feeds):
            self.options = replace(self.options, counters=False)
            self._build(self.room, self.variables())
        keeps = any(node.op == PUSH for node in self.loaded.graph.nodes)
        state = self.variables() if keeps else {}
        for retries in itertools.count():
            try:
                result = execute(self.loaded, feeds, retries)
            except RoomFull:
                self._build(more_room(self.room), state)
                continue
            self.host_calls += result.host_calls
            return result
        raise InternalError("the counter of retries has ended")

    @property
    def host_round_trips(self) -> int:
        """How often the newest step waited for the host."""
        return host_round_trips(self.loaded)

    def variables(self) -> dict[str, Array]:
        """Download every variable."""
        return {value.name: self.loaded.read(value.name) for value in self.loaded.graph.of_kind("variable")}

    def set_variables(self, state: Mapping[str, Array]) -> None:
        """Upload new contents of variables.

        Raises:
            DavinciError: one is missing, or is of another type.
        """
        variables = {value.name: value.type for value in self.loaded.graph.of_kind("variable")}
        check_state(self.func.name, variables, state)
        for value in self.loaded.graph.of_kind("variable"):
            self.loaded.write(value.name, state[value.name])

    def texts(self) -> dict[str, str]:
        """Return what each step made, as text; the sixth makes times, which `profile` returns."""
        return {
            "1 prepare": self.prepared.text(), "2 split": placement(self.placed),
            "3 optimize": self.optimized.text(), "4 compile": self.compiled.text(),
            "5 load": self.loaded.text(),
        }  # fmt: skip

    def profile(self) -> Profile:
        """Return the simulated time of every task of one step."""
        return profile(self.loaded, self.options.mode == OP_BY_OP)

    def step_us(self) -> float:
        """Return the simulated microseconds of one step."""
        return self.profile().us


class _Taken(NamedTuple):
    """What a Session is made of, and where to get it."""

    kind: type
    printed: str
    step: str

    def check(self, given: object) -> None:
        """Refuse what is something else."""
        if not isinstance(given, self.kind):
            name = getattr(given, "__name__", None) or repr(given)
            raise DavinciError(
                f"a Session takes {self.printed}, given {type(given).__name__} {name}\n  next: {self.step}"
            )


_TAKEN = (
    _Taken(Func, "a Func", "trace it with jit(f, device=...), or make one with training_step(...)"),
    _Taken(Chip, "a Chip", 'make one with Chip("ascend910a")'),
    _Taken(Options, "Options", "make them with Options(fusion=False, ...)"),
)


class DeviceFunction:
    """A Func that takes and returns arrays and computes on a chip: what `jit(f, device=...)` calls."""

    def __init__(self, func: Func, chip: Chip) -> None:
        """Compile and load the Func."""
        self.session = Session(func, chip)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Compute the results for arrays of the parameters."""
        params = self.session.func.params
        feeds = {p.name: np.asarray(a)[np.newaxis] for p, a in zip(params, arrays, strict=True)}
        outputs = self.session.run(feeds).outputs
        return [outputs[name][0] for name in self.session.loaded.graph.outputs]

    @property
    def tasks(self) -> str:
        """The task list as text."""
        return self.session.compiled.text()

    @property
    def host_round_trips(self) -> int:
        """How often the newest call waited for the host."""
        return self.session.host_round_trips

    def profile(self) -> Profile:
        """Return the simulated time of every task that ran in the newest call."""
        return self.session.profile()


def as_chip(device: Any) -> Chip:
    """Return a chip for a chip, a platform, or a platform's name."""
    if isinstance(device, Chip):
        return device
    return Chip(device if isinstance(device, Platform) else str(device))
