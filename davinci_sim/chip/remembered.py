"""Times of tasks that were simulated before, by everything that they depend on and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.l2 import L2, new_l2
from davinci_sim.chip.engine.renaming import Entries, outcome, rename, replay, restore, runs_of, spread
from davinci_sim.chip.group import Group, GroupTime, TaskTime, time_of
from davinci_sim.chip.kept import Remembered, Store, packed, packed_sequence, unpacked, unpacked_sequence
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.regions import Regions, all_memory, regions_of
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.chip.task import Task
from davinci_sim.core.trace import Trace
from davinci_sim.platforms import Platform

MOST_BYTES = 1 << 28
"""What the remembered times may take in memory; beyond, those that came first are forgotten."""
MOST_SEQUENCES = 16
"""Sequences that are remembered as a whole in memory; those of a large network take some megabytes each."""
Key = tuple[object, ...]
Timed = tuple[tuple[GroupTime, ...], bytes]
"""The times of a sequence, and a digest of what L2 holds after it."""


class Clockwork:
    """Simulate tasks one after the other on an otherwise idle chip, and remember their times.

    A time depends on the task, on what of its operands L2 holds and on what else has to go for them; not on
    where in memory that all lies. So the content of L2 is looked at in names that say no more than that (see
    regions), and so is what a task leaves there: remembering never changes a result, and the layers of a
    network that are alike are simulated once.

    Attributes:
        simulated: how many groups were simulated, and not remembered.
    """

    def __init__(self, platform: Platform, engine: str, remember: bool, store: Store | None = None) -> None:
        """Start with an empty L2; what tasks of known source take is kept in the store, too."""
        self.platform, self.engine, self.remember, self.store = platform, engine, remember, store
        self.simulated = 0
        self._cache = new_l2(platform)
        self._digest = b""  # of what L2 holds; empty where nobody has asked for it
        self._behind: list[Group] = []  # remembered groups that L2 does not show yet
        self._sequences: dict[str, Timed] = {}
        sets, ways = self._cache.lines.shape
        self._content, self._names, self._left = np.empty((3, ways, sets), dtype=np.int32)
        self._known: dict[Key, Remembered] = {}
        self._known_bytes = 0
        self._wandering: set[Key] = set()  # tasks that leave their operands

    @property
    def cache(self) -> L2:
        """What L2 holds now."""
        self._catch_up()
        return self._cache

    def time(self, task: Task) -> TaskTime:
        """Return the time of a task alone, and leave L2 as it does."""
        return self.time_of_group(Group((task,))).times[0]

    def time_of_group(self, group: Group) -> GroupTime:
        """Return the times of tasks that run side by side, and leave L2 as they do."""
        self._catch_up()
        self._digest = b""
        return self._time(group)

    def times(self, groups: Sequence[Group]) -> tuple[GroupTime, ...]:
        """Return the times of groups that run one after the other, and leave L2 as they do.

        They are remembered as a whole, too: where L2 holds the same lines when it begins, a sequence of
        thousands takes no more than to see that it is the same one.
        """
        if not self.remember:
            return tuple(self.time_of_group(group) for group in groups)
        name = self._name_of_sequence(groups)
        known = self._sequences.get(name) or self._kept_sequence(name, groups)
        if known is None:
            self._catch_up()
            self._digest = b""
            known = tuple(self._time(group) for group in groups), self._digest_of_content()
            if self._may_keep(groups):
                self._put(name, packed_sequence(*known))
        elif known[1] != self._digest:  # a step that is repeated soon leaves what it found
            self._behind.extend(groups)
        self._sequences[name], self._digest = known, known[1]
        if len(self._sequences) > MOST_SEQUENCES:
            self._sequences.pop(next(iter(self._sequences)))
        return known[0]

    def _catch_up(self) -> None:
        """Let L2 hold what groups have left there whose times were remembered as those of a sequence."""
        behind, self._behind = self._behind, []
        for group in behind:
            self._time(group)

    def _digest_of_content(self) -> bytes:
        """Return a digest of the lines that L2 holds."""
        self._write_down()
        return _digest_of(self._content)

    def _name_of_sequence(self, groups: Sequence[Group]) -> str:
        """Return what tells a sequence apart: its tasks, where they lie, and what L2 holds before."""
        self._digest = self._digest or self._digest_of_content()
        digest = hashlib.blake2b(self._digest + self._facts(groups).encode(), digest_size=20)
        for group in groups:
            places = [[(x.start, x.nbytes, x.padding_bytes) for x in task.tensors] for task in group.tasks]
            tasks = [(task.key, task.operands) for task in group.tasks]
            digest.update(repr((tasks, places, group.after, group.start_cycles)).encode())
        return digest.hexdigest()

    def _kept_sequence(self, name: str, groups: Sequence[Group]) -> Timed | None:
        entry = self.store.get(name) if self.store is not None and self._may_keep(groups) else None
        return None if entry is None else unpacked_sequence(entry)

    def _time(self, group: Group) -> GroupTime:
        """Return the times of a group, remembered or not."""
        if not self.remember:
            self.simulated += 1
            return time_of(self.simulate(self._launches(group)))
        regions = self._regions(group)
        key = self._key(group, regions)
        known = self._known.get(key) or self._kept(group, key)
        if known is not None:
            spread(known.left, self._left.reshape(-1))
            replay(self._cache, regions.shift, regions.by_name, self._content, self._left)
            return known.time
        return self._simulated(group, regions, key)

    def _regions(self, group: Group) -> Regions:
        is_wandering = bool(self._wandering) and tuple(task.key for task in group.tasks) in self._wandering
        return (all_memory if is_wandering else regions_of)(group.tasks, self.platform)

    def _key(self, group: Group, regions: Regions) -> Key:
        """Return everything that the time of a group depends on, with what L2 holds now."""
        rename(self._cache, regions.shift, regions.by_line, self._content, self._names)
        digest = _digest_of(self._names)
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
        if not regions.is_everything and not stay_inside(programs, self.platform, regions.by_line):
            self._wandering.add(tuple(task.key for task in group.tasks))
            return self._time(group)
        self.simulated += 1
        time = time_of(self._run(launches, regions.shift))
        outcome(self._cache, regions.shift, regions.by_line, self._content, self._left)
        known = Remembered(time, runs_of(self._left.reshape(-1)))
        self._note(key, known)
        if self._may_keep([group]):
            self._put(self._name(group, key), packed(known))
        return time

    def _kept(self, group: Group, key: Key) -> Remembered | None:
        """Return what the store has, and remember it."""
        entry = None
        if self.store is not None and self._may_keep([group]):
            entry = self.store.get(self._name(group, key))
        if entry is None:
            return None
        known = unpacked(entry)
        self._note(key, known)
        return known

    def _put(self, name: str, entry: bytes) -> None:
        if self.store is not None:
            self.store.put(name, entry)

    def _may_keep(self, groups: Sequence[Group]) -> bool:
        """Tell whether there is a store, and whether it is known what the code of the tasks is made from."""
        return self.store is not None and all(task.source for group in groups for task in group.tasks)

    def _facts(self, groups: Sequence[Group]) -> str:
        """Print what the times of all tasks depend on."""
        sources = sorted({task.source for group in groups for task in group.tasks})
        return repr((sources, self.engine, self.platform.digest))

    def _name(self, group: Group, key: Key) -> str:
        """Return what a group is kept under."""
        return hashlib.blake2b(f"{self._facts([group])} {key}".encode(), digest_size=20).hexdigest()

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
        self._catch_up()
        self._digest = b""
        self._write_down()
        return self._run(launches, 0, engine, gm)

    def _write_down(self) -> None:
        """Note what L2 holds, with its own numbers of sets."""
        rename(self._cache, 0, np.empty((0, 3), dtype=np.int64), self._content, self._names)

    def _run(
        self,
        launches: Sequence[Launch],
        shift: int,
        engine: str = "",
        gm: npt.NDArray[np.uint8] | None = None,
    ) -> Trace:
        """Simulate launches where L2 was just written down."""
        try:
            return simulate_launches(launches, self.platform, engine or self.engine, self._cache, gm)
        except BaseException:
            restore(self._cache, shift, self._content)
            raise

    def empty(self) -> None:
        """Forget what L2 holds."""
        self._cache = new_l2(self.platform)
        self._digest, self._behind = b"", []


def _digest_of(entries: Entries) -> bytes:
    """Digest entries as runs, which are fewer by far and tell the same."""
    return hashlib.sha256(runs_of(entries.reshape(-1)).data).digest()
