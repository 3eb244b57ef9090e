"""Times of tasks that were simulated before, by everything that they depend on and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.l2 import new_l2
from davinci_sim.chip.engine.renaming import outcome, rename, replay, restore, runs_of, spread
from davinci_sim.chip.group import Group, GroupTime, TaskTime, time_of
from davinci_sim.chip.kept import Remembered, Store
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.regions import Regions, all_memory, regions_of
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.chip.task import Task
from davinci_sim.core.trace import Trace
from davinci_sim.platforms import Platform

MOST_BYTES = 1 << 28
"""What the remembered times may take in memory; beyond, those that came first are forgotten."""
Key = tuple[object, ...]


class Clockwork:
    """Simulate tasks one after the other on an otherwise idle chip, and remember their times.

    A time depends on the task, on what of its operands L2 holds and on what else has to go for them; not on
    where in memory that all lies. So the content of L2 is looked at in names that say no more than that (see
    regions), and so is what a task leaves there: remembering never changes a result, and the layers of a
    network that are alike are simulated once.

    Attributes:
        cache: what L2 holds now.
        simulated: how many groups were simulated, and not remembered.
    """

    def __init__(self, platform: Platform, engine: str, remember: bool, store: Store | None = None) -> None:
        """Start with an empty L2; what tasks of known source take is kept in the store, too."""
        self.store = store
        self.platform, self.engine, self.remember = platform, engine, remember
        self.cache = new_l2(platform)
        self.simulated = 0
        sets, ways = self.cache.lines.shape
        self._content, self._names, self._left = np.empty((3, ways, sets), dtype=np.int32)
        self._known: dict[Key, Remembered] = {}
        self._known_bytes = 0
        self._wandering: set[Key] = set()  # tasks that leave their operands

    def time(self, task: Task) -> TaskTime:
        """Return the time of a task alone, and leave L2 as it does."""
        return self.time_of_group(Group((task,))).times[0]

    def time_of_group(self, group: Group) -> GroupTime:
        """Return the times of tasks that run side by side, and leave L2 as they do."""
        if not self.remember:
            self.simulated += 1
            return time_of(self.simulate(self._launches(group)))
        regions = self._regions(group)
        key = self._key(group, regions)
        known = self._known.get(key) or self._kept(group, key)
        if known is not None:
            spread(known.left, self._left.reshape(-1))
            replay(self.cache, regions.shift, regions.by_name, self._content, self._left)
            return known.time
        return self._simulated(group, regions, key)

    def _regions(self, group: Group) -> Regions:
        is_wandering = bool(self._wandering) and tuple(task.key for task in group.tasks) in self._wandering
        return (all_memory if is_wandering else regions_of)(group.tasks, self.platform)

    def _key(self, group: Group, regions: Regions) -> Key:
        """Return everything that the time of a group depends on, with what L2 holds now."""
        rename(self.cache, regions.shift, regions.by_line, self._content, self._names)
        digest = hashlib.blake2b(self._names.data, digest_size=16).digest()
        return (
            tuple(task.key for task in group.tasks),
            group.after,
            group.start_cycles,
            regions.place,
            digest,
        )

    def _simulated(self, group: Group, regions: Regions, key: Key) -> GroupTime:
        """Simulate a group and remember what it takes."""
        from davinci_sim.chip.engine.touched import stay_inside

        launches = self._launches(group)
        programs = [program for launch in launches for program in launch.programs]
        if not stay_inside(programs, self.platform, regions.by_line):
            self._wandering.add(tuple(task.key for task in group.tasks))
            return self.time_of_group(group)
        self.simulated += 1
        time = time_of(self._run(launches, regions.shift))
        outcome(self.cache, regions.shift, regions.by_line, self._content, self._left)
        known = Remembered(time, runs_of(self._left.reshape(-1)))
        self._note(key, known)
        name = self._name(group, key)
        if self.store is not None and name:
            self.store.put(name, known)
        return time

    def _kept(self, group: Group, key: Key) -> Remembered | None:
        """Return what the store has, and remember it."""
        name = self._name(group, key)
        known = self.store.get(name) if self.store is not None and name else None
        if known is not None:
            self._note(key, known)
        return known

    def _name(self, group: Group, key: Key) -> str:
        """Return what a group is kept under; "" if nothing is known of what its code is made from."""
        if self.store is None or not all(task.source for task in group.tasks):
            return ""
        sources = sorted({task.source for task in group.tasks})
        facts = repr((sources, self.engine, self.platform.digest, key))
        return hashlib.blake2b(facts.encode(), digest_size=20).hexdigest()

    def _note(self, key: Key, known: Remembered) -> None:
        """Remember one more, and forget the oldest where that takes too much."""
        self._known[key] = known
        self._known_bytes += known.left.nbytes
        while self._known_bytes > MOST_BYTES:
            self._known_bytes -= self._known.pop(next(iter(self._known))).left.nbytes

    def trace(self, task: Task) -> Trace:
        """Simulate a task, whatever is remembered, and leave L2 as it does."""
        return self.simulate(self._launches(Group((task,))))

    def _launches(self, group: Group) -> list[Launch]:
        return group.launches(int(self.platform.block_start_cycles))

    def simulate(
        self, launches: Sequence[Launch], engine: str = "", gm: npt.NDArray[np.uint8] | None = None
    ) -> Trace:
        """Simulate launches and leave L2 as they do; if they cannot run to their ends, as it was."""
        rename(self.cache, 0, np.empty((0, 3), dtype=np.int64), self._content, self._names)
        return self._run(launches, 0, engine, gm)

    def _run(
        self,
        launches: Sequence[Launch],
        shift: int,
        engine: str = "",
        gm: npt.NDArray[np.uint8] | None = None,
    ) -> Trace:
        """Simulate launches where L2 was just written down."""
        try:
            return simulate_launches(launches, self.platform, engine or self.engine, self.cache, gm)
        except BaseException:
            restore(self.cache, shift, self._content)
            raise

    def empty(self) -> None:
        """Forget what L2 holds."""
        self.cache = new_l2(self.platform)
