"""A chip: device memory that hands out ranges, and tasks that run on the cores."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.group import Group, GroupTime, TaskTime
from davinci_sim.chip.kept import store_in
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.regions import l2_sets
from davinci_sim.chip.remembered import Clockwork
from davinci_sim.chip.simulate import ENGINES
from davinci_sim.chip.stream import Stream, Streams
from davinci_sim.chip.task import Code, Task
from davinci_sim.core.dispatch import execute
from davinci_sim.core.local import new_memory
from davinci_sim.core.program import out_of_bounds
from davinci_sim.core.trace import Trace
from davinci_sim.errors import DavinciError, out_of_space, unknown
from davinci_sim.isa.cache import CACHE_FOLDER
from davinci_sim.isa.machine import Memory
from davinci_sim.memory.dtypes import DType
from davinci_sim.platforms import Platform, platform

ALIGN_BYTES = 512
"""Every allocation begins here: GM transfers are fastest from such addresses (Ascend C guide)."""
FIRST_GM_BYTES = 1 << 20
TIMES_FOLDER = Path(CACHE_FOLDER).parent / "times"
"""Where times of tasks are kept, beside the machine code."""
SMALL_TASK = 4096  # instructions; below, a second thread costs more than it brings


class Chip:
    """One simulated chip with its device memory and what its L2 holds.

    Data of a task are computed by compiled code, block by block; its time comes from the engine: "fast"
    (compiled) or "reference" (SimPy), which agree to the cycle. A task is simulated once for each state of
    L2 that it meets, and what is found is kept on disk for the next process, until something changes in the
    source of the kit: `remember_times=False` and `keep_times=False` turn that off. Blocks write disjoint
    memory, so that `threads` changes no result. With `data=False` a chip only tells time: handles are handed
    out like those of a chip with data, and hold none.
    """

    def __init__(
        self, name: str | Platform = "ascend910a", *, remember_times: bool = True, threads: int | None = None,
        engine: str = "fast", data: bool = True, keep_times: bool = True,
    ) -> None:  # fmt: skip
        """Make an empty chip of a platform, given by name or value.

        Raises:
            UnknownName: there is no such platform or engine.
        """
        if engine not in ENGINES:
            raise unknown("engine", engine, ENGINES)
        self.platform = platform(name) if isinstance(name, str) else name
        self.engine, self.streams = engine, Streams(int(self.platform.host_launch_cycles))
        store = store_in(TIMES_FOLDER) if keep_times and remember_times else None
        self.clockwork = Clockwork(self.platform, engine, remember_times, store)
        self.threads = threads if threads is not None else min(2, os.cpu_count() or 1)
        self.allocated_bytes, self.has_data = 0, data
        self._gm = np.zeros(FIRST_GM_BYTES if data else 0, dtype=np.uint8)
        self._memories: list[Memory] = []
        self._pool: ThreadPoolExecutor | None = None

    def allocate(self, nbytes: int, name: str = "tensor", align_bytes: int = ALIGN_BYTES) -> int:
        """Return the handle of `nbytes` of zeroed device memory, a multiple of `align_bytes`.

        Layers of a network that are alike are simulated once where each begins at a multiple of
        `l2_period_bytes`: their tensors then share the sets of L2 in the same way.

        Raises:
            OutOfSpace: the device memory is full.
        """
        start = -(-self.allocated_bytes // align_bytes) * align_bytes
        available = int(self.platform.gm_bytes) - start
        if nbytes > available:
            raise out_of_space(name, "GM", nbytes, max(0, available), "use a smaller batch")
        self.allocated_bytes = start + nbytes
        if self.has_data:
            self._grow(self.allocated_bytes)
        return start

    @property
    def l2_period_bytes(self) -> int:
        """The distance of addresses that belong to the same set of L2."""
        return max(l2_sets(self.platform) * int(self.platform.l2_line_bytes), ALIGN_BYTES)

    def _require_data(self, what: str) -> None:
        """Refuse what a chip without data cannot do."""
        if not self.has_data:
            raise DavinciError(
                f"{self}: {what} needs data\n"
                "  rule: a chip made with data=False tells time and holds no data\n"
                f'  next: make it with Chip("{self.platform.name}"), which holds them'
            )

    def _grow(self, nbytes: int) -> None:
        padded = nbytes + ALIGN_BYTES  # the last block of a tensor may be moved as a whole
        if padded > self._gm.size:
            grown = np.zeros(max(padded, 2 * self._gm.size), dtype=np.uint8)
            grown[: self._gm.size] = self._gm
            self._gm, self._memories = grown, []

    def write(self, handle: int, array: npt.NDArray[Any]) -> None:
        """Copy an array into device memory.

        Raises:
            DavinciError: the chip has no data.
        """
        self._require_data("write")
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._gm[handle : handle + data.size] = data

    def read(self, handle: int, shape: tuple[int, ...], dtype: DType) -> npt.NDArray[Any]:
        """Return a copy of `shape` elements in device memory.

        Raises:
            DavinciError: the chip has no data.
        """
        self._require_data("read")
        count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize_bytes
        return self._gm[handle : handle + count].copy().view(dtype.numpy).reshape(shape)

    def words(self, handle: int, count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return `count` numbers of device memory as they lie there, to be read or written in place.

        Raises:
            DavinciError: the chip has no data.
        """
        self._require_data("words")
        size = count * np.dtype(dtype).itemsize
        return self._gm[handle : handle + size].view(dtype)

    def run(self, task: Task) -> None:
        """Compute a task's data.

        Raises:
            IllegalInstruction: an operand leaves its memory space.
            DavinciError: the chip has no data.
        """
        self._require_data("run")
        code, blocks = task.code, task.block_dim
        threads = 1 if code.offsets[-1] < SMALL_TASK else min(self.threads, blocks)
        if threads == 1:
            self._execute(code, 0, blocks, self._memory(0))
            return
        self._pool = self._pool or ThreadPoolExecutor(self.threads)
        cuts = [blocks * part // threads for part in range(threads + 1)]
        memories = [self._memory(part) for part in range(threads)]
        _ = code.words  # put in order once, for all threads
        parts = [
            self._pool.submit(self._execute, code, cuts[part], cuts[part + 1], memories[part])
            for part in range(threads)
        ]
        for part in parts:
            part.result()

    def _memory(self, index: int) -> Memory:
        while len(self._memories) <= index:
            self._memories.append(new_memory(self.platform, self._gm))
        return self._memories[index]

    def _execute(self, code: Code, first: int, last: int, memory: Memory) -> None:
        begin, end = int(code.offsets[first]), int(code.offsets[last])
        wrong = execute(code.words, begin, end, memory)
        if wrong >= 0:
            block = int(np.searchsorted(code.offsets, wrong, side="right")) - 1
            record = code.words[wrong]
            matches = np.flatnonzero((code.programs[block].words == record).all(axis=1))
            raise out_of_bounds(code.programs[block], int(matches[0]))

    def copy(self, dst: int, src: int, nbytes: int) -> None:
        """Copy a range of device memory, as the chip's own copy engine does between tasks.

        Raises:
            DavinciError: the chip has no data.
        """
        self._require_data("copy")
        self._gm[dst : dst + nbytes] = self._gm[src : src + nbytes]

    def copy_cycles(self, nbytes: int) -> int:
        """Return the time of such a copy: the start of a task, then the bytes read and written."""
        return self.start_cycles + -(-2 * nbytes // int(self.platform.hbm_bytes_per_cycle))

    @property
    def start_cycles(self) -> int:
        """What launching a task on the cores costs before its first instruction."""
        return int(self.platform.task_start_cycles)

    @property
    def block_cycles(self) -> int:
        """What lies between the starts of two blocks of a task."""
        return int(self.platform.block_start_cycles)

    def cycles(self, task: Task) -> int:
        """Return the time of a task on the otherwise idle cores, its start included; L2 is left changed."""
        return self.start_cycles + self.time(task).cycles

    def time(self, task: Task) -> TaskTime:
        """Return what a task takes from its first instruction on; L2 is left as the task leaves it."""
        return self.clockwork.time(task)

    def time_of_group(self, tasks: Sequence[Task], after: Sequence[Sequence[int]]) -> GroupTime:
        """Return when tasks start and end that share the otherwise idle chip; L2 is left as they leave it.

        Task n is launched when those numbered `after[n]` have ended: nothing else orders them, so that they
        are what lies between two points at which all streams wait. Their starts are in the times.

        Raises:
            DavinciError: a task waits for itself or a later one.
        """
        return self.clockwork.time_of_group(self.group(tasks, after))

    def times(self, groups: Sequence[Group]) -> tuple[GroupTime, ...]:
        """Return the times of groups that run one after the other, as a step of a network does.

        L2 is left as they leave it. The whole sequence is remembered, beside each group of it.
        """
        return self.clockwork.times(groups)

    def group(self, tasks: Sequence[Task], after: Sequence[Sequence[int]] | None = None) -> Group:
        """Return tasks as they are launched together; without `after` each waits for the one before it."""
        chain: list[tuple[int, ...]] = [(number - 1,) if number else () for number in range(len(tasks))]
        order = tuple(chain) if after is None else tuple(tuple(sorted(set(earlier))) for earlier in after)
        return Group(tuple(tasks), order, self.start_cycles)

    def empty_l2(self) -> None:
        """Forget what L2 holds."""
        self.clockwork.empty()

    def stream(self) -> Stream:
        """Return a new stream: tasks launched into it run one after the other, beside other streams."""
        return self.streams.new()

    def synchronize(self) -> Trace:
        """Run all that was launched into streams since the last time, data and time, and return the trace.

        Tasks compute their data in the order of their launches, which the streams' events allow.
        """
        queued = self.streams.take()
        for task, _, _ in queued if self.has_data else ():
            self.run(task)
        launches = [
            Launch(task.programs, self.start_cycles, self.block_cycles, after, host_cycle)
            for task, after, host_cycle in queued
        ]
        return self.clockwork.simulate(launches)

    def microseconds(self, cycles: int) -> float:
        """Return cycles of this chip in microseconds."""
        return cycles / float(self.platform.clock_hz) * 1e6

    def trace(self, task: Task) -> Trace:
        """Simulate a task's time on all its cores; L2 is left as the task leaves it."""
        return self.clockwork.trace(task)

    def run_reference(self, task: Task) -> Trace:
        """Simulate a task with its data: every move takes effect when its simulated time ends.

        Raises:
            DavinciError: the chip has no data.
        """
        self._require_data("run_reference")
        launch = Launch(task.programs, block_cycles=self.block_cycles)
        return self.clockwork.simulate([launch], "reference", self._gm)

    def __str__(self) -> str:
        """Print the platform and what is allocated."""
        return f"Chip({self.platform.name}, {self.allocated_bytes} bytes allocated)"
