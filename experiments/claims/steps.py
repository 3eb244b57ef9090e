"""Training steps of networks, compiled in some way and timed; what was timed once is remembered on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import framework
from davinci_sim.chip import Chip, Task
from davinci_sim.chip.chip import TIMES_FOLDER
from davinci_sim.chip.kept import Store
from davinci_sim.errors import OutOfSpace
from davinci_sim.platforms import Platform, assumed
from experiments.claims.layers import layers_of
from experiments.claims.recipes import Case, step_of
from framework.graph_engine import Options, Session
from framework.graph_engine.control.profile import profile
from framework.graph_engine.data.graph import CONSTANT, VARIABLE
from framework.graph_engine.data.operators import kernel
from framework.graph_engine.service.load import BoundTask, LoadedGraph
from kernels.lang.identity import kit
from kernels.lang.shapes import Shape
from kernels.roofline import roofline

STEPS_FOLDER = TIMES_FOLDER.parent / "steps"
"""Where steps are remembered, beside the times of tasks."""
DISPATCH_US = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0)
"""What the host may take to send one task: each step is told for all of these."""
ROOMY_BYTES = 1 << 40
"""Device memory of the chip that steps are timed on which do not fit the real one."""


class Row(NamedTuple):
    """A task of a step: its cycles, its start included, and what a ledger needs to explain them.

    `ideal` is what the cube needs at its peak; `cube` to `writes` is how long the pipes of a core work, the
    mean of those that have blocks; `paths`, `l2` and `hbm` are what its bytes need when each crosses once.
    """

    name: str
    op: str
    kernel: str
    layer: str
    blocks: int
    cycles: int
    ideal: int = 0
    cube: int = 0
    vector: int = 0
    loads: int = 0
    reads: int = 0
    writes: int = 0
    paths: int = 0
    l2: int = 0
    hbm: int = 0


Tell = Callable[[Case, Options], None]
"""Shows which step is timed."""


@dataclass(frozen=True)
class Timed:
    """A step on a chip.

    Attributes:
        cycles: of the step, when the device follows its list of tasks.
        tasks: how many tasks it has.
        memory_bytes: of device memory, for what it holds and what is alive at once, or all where memory is
            not used again.
        fits: whether the chip has so much; else it was timed on one that has.
        clock_hz: of the chip.
        dispatch: what the host takes for a task, in microseconds -> cycles of the step, if it sends each.
        rows: the tasks, each as it is when nothing runs beside it.
        notes: what the passes decided.
    """

    cycles: int
    tasks: int
    memory_bytes: int
    fits: bool
    clock_hz: float
    dispatch: Mapping[float, int]
    rows: tuple[Row, ...] = field(repr=False, default=())
    notes: tuple[str, ...] = field(repr=False, default=())

    @property
    def ms(self) -> float:
        """Milliseconds of the step."""
        return self.cycles / self.clock_hz * 1e3

    def dispatched_ms(self, us: float) -> float:
        """Return milliseconds of the step when the host takes so long to send each task."""
        return self.dispatch[us] / self.clock_hz * 1e3


class Steps:
    """Compiles and times steps on a platform, or remembers what they took."""

    def __init__(
        self, platform: Platform, engine: str = "fast", tell: Tell | None = None, store: Store | None = None
    ) -> None:
        """Time with an engine, `tell` of each step; entries lie in `store`, or where the kit keeps times."""
        self.platform, self.engine, self.tell = platform, engine, tell
        self.store = Store(STEPS_FOLDER) if store is None else store

    def timed(self, case: Case, options: Options, platform: Platform | None = None) -> Timed:
        """Return a step as it is compiled with options, on another platform if one is given."""
        chip = platform or self.platform
        if self.tell is not None:
            self.tell(case, options)
        what = (case, options, chip.digest)
        return _unpacked(self.remembered(what, lambda: self._found(case, options, chip)))

    def knows(self, case: Case, options: Options, platform: Platform | None = None) -> bool:
        """Tell whether a step is remembered."""
        chip = platform or self.platform
        return self.store.get(self._name((case, options, chip.digest))) is not None

    def remembered(self, what: object, make: Callable[[], bytes]) -> bytes:
        """Return what was made before of the same source, or make it."""
        name = self._name(what)
        entry = self.store.get(name)
        if entry is None:
            entry = make()
            self.store.put(name, entry)
        return entry

    def _name(self, what: object) -> str:
        key = (kit_digest(), what, self.platform.digest, self.engine)
        return hashlib.blake2b(repr(key).encode(), digest_size=20).hexdigest()

    def _found(self, case: Case, options: Options, platform: Platform) -> bytes:
        """Simulate a step, on a chip with room for it if there is none."""
        try:
            return _packed(self._simulated(case, options, platform))
        except OutOfSpace:
            return _packed(replace(self._simulated(case, options, roomy(platform)), fits=False))

    def _simulated(self, case: Case, options: Options, platform: Platform) -> Timed:
        chip = Chip(platform, data=False, engine=self.engine)
        session = Session(step_of(case), chip, options=options)
        return timed(session.loaded, options.reuse)


def roomy(platform: Platform) -> Platform:
    """Return a platform with device memory without end, to time what does not fit."""
    memory = assumed(ROOMY_BYTES, "B", "as much as it takes, for steps that do not fit the real chip")
    return platform.with_figures(f"{platform.name}_roomy", gm_bytes=memory)


def host_us(platform: Platform) -> float:
    """Return what the host takes to send a task, in microseconds."""
    return float(int(platform.host_launch_cycles) / float(platform.clock_hz) * 1e6)


def timed(loaded: LoadedGraph, reuse: bool = True) -> Timed:
    """Return the times of a loaded step; with `reuse` its values share memory in turn."""
    found = profile(loaded)
    path = found.timeline.spans["task"]
    tasks = [loaded.tasks[number] for number in path.tolist()]
    rows = tuple(_rows(loaded, tasks))
    took = [row.cycles for row in rows]
    clock_hz = float(loaded.chip.platform.clock_hz)
    hosts = sorted({*DISPATCH_US, host_us(loaded.chip.platform)})
    dispatch = {us: loaded.flow.timeline(path, took, round(us * 1e-6 * clock_hz)).cycles for us in hosts}
    graph, memory = loaded.graph, loaded.compiled.memory
    held = sum(value.nbytes for value in graph.values.values() if value.kind in {VARIABLE, CONSTANT})
    nbytes = held + (memory.live_bytes if reuse else memory.unshared_bytes)
    return Timed(
        found.timeline.cycles, len(tasks), nbytes, True, clock_hz, dispatch, rows, tuple(graph.notes)
    )


def _rows(loaded: LoadedGraph, tasks: list[BoundTask]) -> Iterator[Row]:
    """Yield the tasks in order, each alone on the chip, as in a step after another one."""
    chip, layers = loaded.chip, layers_of(loaded.graph)
    groups = [chip.group([each.task]) for each in tasks if each.task is not None]
    chip.empty_l2()
    chip.times(groups)
    times = iter(chip.times(groups))
    for each in tasks:
        spec, node = each.spec, each.spec.node
        layer = layers.get(node.name if node is not None else spec.name, "other")
        op = node.op if node is not None else spec.kind
        if each.task is None or spec.shape is None:
            yield Row(spec.name, op, each.item.kind, layer, 0, each.item.cycles(chip))
            continue
        (only,) = next(times).times
        cores = min(spec.blocks, int(chip.platform.ai_cores))
        busy = [only.busy_cycles.get(pipe, 0) // cores for pipe in ("M", "V", "MTE1", "MTE2", "MTE3")]
        cycles = chip.start_cycles + only.cycles
        ideal, *ports = _bounds(spec.kernel, spec.shape, chip.platform)
        if only.cycles < max(ideal, ports[0]):  # it needs not all of its operands: what it moves counts
            ideal, *ports = _bounds(spec.kernel, spec.shape, chip.platform, each.task)
        told = spec.name, op, spec.kernel, layer
        yield Row(*told, *(spec.blocks, cycles, ideal, *busy, *ports))


@lru_cache(maxsize=8192)
def _bounds(
    name: str, shape: Shape, platform: Platform, task: Task | None = None
) -> tuple[int, int, int, int]:
    """Return what the cube at its peak, the cores' paths, L2 and device memory need for a launch."""
    roof = roofline(kernel(name), shape, platform, task)
    return roof.cube_cycles, roof.path_cycles, roof.l2_cycles, roof.hbm_cycles


@cache
def kit_digest() -> str:
    """Digest the source of everything that a step depends on: after any change it is timed anew."""
    here = Path(__file__).parent
    return kit() + digest_of(
        Path(framework.__path__[0]), here / "steps.py", here / "layers.py", here / "recipes.py"
    )


def digest_of(*places: Path) -> str:
    """Digest source files, and those of folders."""
    digest = hashlib.blake2b(digest_size=16)
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            text = path.read_bytes()
            digest.update(f"{path.relative_to(place.parent)} {len(text)} ".encode() + text)
    return digest.hexdigest()


def _packed(found: Timed) -> bytes:
    table = asdict(found) | {"dispatch": list(found.dispatch.items()), "rows": found.rows}
    return json.dumps(table, separators=(",", ":")).encode()


def _unpacked(entry: bytes) -> Timed:
    table = json.loads(entry)
    rows = tuple(Row(*row) for row in table.pop("rows"))
    dispatch, notes = dict(map(tuple, table.pop("dispatch"))), tuple(table.pop("notes"))
    return Timed(**table, dispatch=dispatch, rows=rows, notes=notes)
