"""One step of a network on a simulated chip, without numbers: compiled by the graph engine and timed."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from davinci_sim.chip import Chip
from davinci_sim.errors import UnknownName, unknown
from framework import models
from framework.graph_engine import Options, Session
from framework.graph_engine.control.profile import OpTime, Profile
from framework.graph_engine.control.sink import SinkLoop, transfer_cycles
from framework.graph_engine.data.graph import AICPU, CONSTANT, FLOW, HOST, VARIABLE, Graph
from framework.graph_engine.data.memory import ALIGN_BYTES
from framework.graph_engine.options import OP_BY_OP, SWITCHES, op_by_op
from framework.graph_engine.service.fusion import ALL, chosen

MB = 1e6
PHASES = ("trace", "compile", "simulate")


@dataclass(frozen=True)
class Plan:
    """What to time: a model by name, and how it is compiled; `changes` differ from the configuration."""

    model: str
    config: str = ""
    changes: Mapping[str, str] = field(default_factory=dict)
    training: bool = True
    batch: int | None = None
    platform: str = "ascend910a"
    options: Options = field(default_factory=Options)
    steps: int = 1

    @property
    def samples(self) -> int:
        """The samples of a step: those of the model's recipe, if nobody has asked for others."""
        return self.batch or int(models.model(self.model).RECIPE.batch_size)

    @property
    def sizes(self) -> Any:
        """The configuration, with its changes.

        Raises:
            UnknownName: there is no such model, configuration or size.
            DavinciError: a value is of another kind.
        """
        return models.changed(models.config(self.model, self.config), self.changes)


@dataclass(frozen=True)
class Simulation:
    """A step that was timed."""

    plan: Plan
    session: Session
    profile: Profile
    wall_s: Mapping[str, float]

    @property
    def graph(self) -> Graph:
        """The graph that runs."""
        return self.session.loaded.graph

    @property
    def step_ms(self) -> float:
        """Simulated milliseconds of a step after another one."""
        return self.profile.us / 1e3

    @property
    def loop(self) -> SinkLoop:
        """All steps that were asked for: one call of the host for all, or, op by op, no step without it."""
        platform = self.session.chip.platform
        is_sunk = self.session.options.mode != OP_BY_OP
        call = int(platform.host_launch_cycles) if is_sunk else 0
        sent = transfer_cycles(self.graph, platform)
        return SinkLoop(self.plan.steps, self.profile.timeline.cycles, sent, call, prefetch=is_sunk)

    def elsewhere(self) -> list[dict[str, str]]:
        """Return what does not run on the AI cores, where it runs, and why."""
        return [
            {
                "name": node.name,
                "type": node.op,
                "engine": node.engine,
                "reason": node.reason,
                "costs": node.costs,
            }
            for node in self.graph.nodes
            if node.engine in (HOST, AICPU) and node.op not in FLOW
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the keys that the command line promises, and more."""
        chip, options = self.session.chip, self.session.options
        cycles, memory = self.profile.timeline.cycles, self._memory()
        return {
            "model": self.plan.model,
            "config": {each.name: getattr(self.plan.sizes, each.name) for each in fields(self.plan.sizes)},
            "platform": chip.platform.name,
            "training": self.plan.training,
            "mode": options.mode,
            "fusion": options.fusion,
            "precision": options.precision,
            "batch": self.plan.samples,
            "step_ms": self.step_ms,
            "samples_per_s": self.plan.samples / self.step_ms * 1e3,
            "cycles": cycles,
            "tasks": len(self.session.compiled.tasks),
            "instructions": sum(each.instructions * each.runs for each in self.profile),
            "simulated_tasks": chip.clockwork.simulated,
            "host_round_trips": self.profile.host_round_trips,
            "wall_s": sum(self.wall_s.values()),
            "phases_s": dict(self.wall_s),
            "peak_rss_mb": peak_rss_mb(),
            "device_memory_mb": sum(memory[each] for each in ("variables", "constants", "workspace")),
            "memory_mb": memory,
            "sink_loop": self._loop(),
            "elsewhere": self.elsewhere(),
            "classes": [each.as_json(self.profile.us) for each in classes(self.profile)],
            "ops": [_op(each) for each in self.profile],
        }

    def _memory(self) -> dict[str, float]:
        """Return what the device must have room for; a chip that only tells time may leave gaps."""
        plan = self.session.compiled.memory.dense
        planned = {
            "variables": self._held(VARIABLE), "constants": self._held(CONSTANT),
            "workspace": plan.peak_bytes, "alive": plan.live_bytes, "without_reuse": plan.unshared_bytes,
        }  # fmt: skip
        return {name: nbytes / MB for name, nbytes in planned.items()}

    def _held(self, kind: str) -> int:
        return sum(-(-value.nbytes // ALIGN_BYTES) * ALIGN_BYTES for value in self.graph.of_kind(kind))

    def _loop(self) -> dict[str, Any]:
        loop, chip = self.loop, self.session.chip
        ms = chip.microseconds(loop.cycles) / 1e3
        return {
            "steps": loop.steps,
            "ms": ms,
            "ms_per_step": ms / loop.steps,
            "samples_per_s": self.plan.samples * loop.steps / ms * 1e3,
            "prefetch": loop.prefetch,
            "host_call_ms": chip.microseconds(loop.call_cycles) / 1e3,
            "transfer_ms": chip.microseconds(loop.transfer_cycles) / 1e3,
            "hidden_ms": chip.microseconds(loop.hidden_cycles) / 1e3,
        }


@dataclass
class OpClass:
    """All tasks of one operator, or of one set of operators that were fused, and their part of the step."""

    name: str
    tasks: int = 0
    us: float = 0.0
    by_bound: dict[str, float] = field(default_factory=dict)

    def add(self, time: OpTime) -> None:
        """Count one more."""
        self.tasks += 1
        self.us += time.own_us
        self.by_bound[time.bound] = self.by_bound.get(time.bound, 0.0) + time.own_us

    @property
    def bound(self) -> str:
        """What most of the time is bound by."""
        return max(self.by_bound, key=lambda name: self.by_bound[name])

    def as_json(self, step_us: float) -> dict[str, Any]:
        """Return the row of a table."""
        return {
            "name": self.name, "tasks": self.tasks, "ms": self.us / 1e3, "share": self.us / step_us,
            "bound": self.bound,
            "by_bound_ms": {bound: us / 1e3 for bound, us in self.by_bound.items()},
        }  # fmt: skip


def classes(times: Iterable[OpTime]) -> list[OpClass]:
    """Return the operators of a step, the one that takes longest first."""
    found: dict[str, OpClass] = {}
    for each in times:
        name = "+".join(dict.fromkeys(each.fused)) or each.op
        found.setdefault(name, OpClass(name)).add(each)
    return sorted(found.values(), key=lambda each: (-each.us, each.name))


def _op(time: OpTime) -> dict[str, Any]:
    return {
        "name": time.name, "type": time.op, "shapes": time.shapes, "dtype": time.dtype, "us": time.us,
        "own_us": time.own_us,
        "bound": time.bound, "fused": list(time.fused), "kernel": time.kernel, "formats": time.formats,
        "cycles": time.cycles, "blocks": time.blocks, "runs": time.runs, "instructions": time.instructions,
    }  # fmt: skip


def simulate(
    plan: Plan, chip: Chip | None = None, entered: Callable[[str], None] = lambda phase: None
) -> Simulation:
    """Compile a step and time it; `entered` is told each phase when it begins.

    Raises:
        UnknownName: there is no such model, configuration, size or platform.
        OutOfSpace: the device memory cannot hold it.
    """
    chip = chip or Chip(plan.platform, data=False)
    wall_s, start = dict[str, float](), time.perf_counter()

    def ended(phase: str) -> None:
        nonlocal start
        now = time.perf_counter()
        wall_s[phase], start = now - start, now

    entered("trace")
    zoo, sizes = models.model(plan.model), plan.sizes
    step = (zoo.training if plan.training else zoo.inference)(sizes, plan.samples)
    ended("trace")
    entered("compile")
    state = dict.fromkeys(step.held, np.zeros(0, np.float32))  # names: a chip without data reads none
    session = Session(step.func, chip, state, plan.options)
    ended("compile")
    entered("simulate")
    profile = session.profile()
    ended("simulate")
    return Simulation(plan, session, profile, wall_s)


def options_of(
    mode: str, precision: str, fusion: bool | None = None, fusions: str = "", without: Iterable[str] = ()
) -> Options:
    """Return options of the graph engine by name; op by op nothing is optimised unless it is asked for.

    `without` names optimisations, or single fusions.

    Raises:
        UnknownName: there is no such mode, precision, set of fusions, optimisation or fusion.
    """
    base = op_by_op() if mode == OP_BY_OP else Options()
    changes: dict[str, Any] = {"mode": mode, "precision": precision}
    changes |= {} if fusion is None else {"fusion": fusion}
    changes |= {"fusions": fusions} if fusions else {}
    off = tuple(without)
    for name in off:
        if name not in (*SWITCHES, *ALL):
            refusal = unknown("optimisation or fusion", name, (*SWITCHES, *ALL))
            raise UnknownName(f"{refusal}: {', '.join(SWITCHES)} and those of docs/reference/fusions.md")
    changes |= {name: False for name in off if name in SWITCHES}
    options = replace(base, **changes)
    return replace(options, fusions=chosen(options.fusions).difference(off)) if ALL & {*off} else options


def peak_rss_mb() -> float:
    """Return the most memory that this process has had, in millions of bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
