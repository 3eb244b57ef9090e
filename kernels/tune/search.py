"""Find the tiling with the fewest cycles.

Candidates come from the kernel's tiling space. A closed bound and the instructions of single cores discard
those that cannot win; the rest are simulated, the most promising first. The default tiling is one of them,
so that what is found is never worse.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from davinci_sim.chip import Chip
from davinci_sim.errors import BadTiling
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.tune.bound import core_bound, cube_bound
from kernels.tune.journal import Journal
from kernels.tune.tuned import Tuned, digest_of, fingerprint

Told = Callable[[int, int, int], None]
"""Called with the candidates that are settled, all candidates, and the fewest cycles so far."""


def tune(
    kernel: Kernel, shape: Shape, platform: Platform, jobs: int = 1, journal: Journal | None = None,
    told: Told = lambda settled, all_, cycles: None,
) -> Tuned:  # fmt: skip
    """Search the tilings of a kernel for a shape; the result does not depend on `jobs`.

    A `journal` keeps what was simulated, so that a search that was interrupted goes on where it was.

    Raises:
        BadTiling: no tiling fits the chip.
    """
    search = _Search(kernel, shape, platform, journal or Journal(None), told)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for worker in [pool.submit(search.work) for _ in range(jobs)]:
                worker.result()
        finally:
            search.is_stopped = True
    best, default = search.candidates[search.best], search.candidates[0]
    return Tuned(
        kernel.name, str(shape), platform.name, best, search.cycles[search.best], default, search.cycles[0],
        len(search.candidates), digest_of(kernel, shape, platform, default, best),
    )  # fmt: skip


def candidates(kernel: Kernel, shape: Shape, platform: Platform) -> list[Tiling]:
    """Return all tilings that are tried, the one without a search first."""
    cores = int(platform.ai_cores)
    tried = [kernel.untuned(shape, platform), *kernel.tiling_type.candidates(shape, platform)]
    return [tiling for tiling in dict.fromkeys(tried) if 1 <= tiling.blocks(shape, platform) <= cores]


class _Search:
    """Candidates, the cycles of those that were simulated, and which is the best so far."""

    def __init__(
        self, kernel: Kernel, shape: Shape, platform: Platform, journal: Journal, told: Told
    ) -> None:
        self.kernel, self.shape, self.platform = kernel, shape, platform
        self.journal, self.told, self.lock = journal, told, Lock()
        self.candidates = candidates(kernel, shape, platform)
        self.is_stopped, self.settled, self.best = False, 0, 0
        self.cycles = {0: self._simulated(self.candidates[0])}
        self._settle()
        self.waiting = self._promising()

    def work(self) -> None:
        """Simulate one candidate after the other until none is left that could win."""
        while True:
            with self.lock:
                number = None if self.is_stopped else next(self.waiting, None)
            if number is None:
                return
            cycles = self._simulated(self.candidates[number])
            with self.lock:
                self.cycles[number] = cycles
                self.best = min(self.cycles, key=lambda each: (self.cycles[each], each))
                self._settle()

    def _promising(self) -> Iterator[int]:
        """Yield candidates by their least times, while they can be better than the best."""
        numbers = range(1, len(self.candidates))
        bounds = {number: bound for number in numbers if (bound := self._bound(number))}
        for number in sorted(bounds, key=lambda each: (bounds[each], each)):
            if self._may_win(number, bounds[number]):
                yield number
            else:
                self._settle()

    def _bound(self, number: int) -> int:
        """Return the least cycles of a candidate, or 0 for one that is out."""
        tiling = self.candidates[number]
        if self._may_win(number, cube_bound(self.kernel, self.shape, self.platform, tiling)):
            try:
                return core_bound(self.kernel, self.shape, self.platform, tiling)
            except BadTiling:  # its buffers do not fit: no error, but no candidate either
                pass
        self._settle()
        return 0

    def _may_win(self, number: int, bound: int) -> bool:
        """Tell whether a candidate that takes `bound` cycles would be the best; of equals the first is."""
        return (bound, number) < (self.cycles[self.best], self.best)

    def _simulated(self, tiling: Tiling) -> int:
        """Return the cycles of a tiling on an idle chip with an empty L2."""
        with self.lock:  # emission keeps one state for all
            key = fingerprint(self.kernel, self.shape, self.platform, tiling)
            known = self.journal.cycles(key)
            if known is not None:
                return known
            handles = self.kernel.handles(self.shape)
            task = self.kernel.emitted(self.shape, handles, self.platform, tiling)
        cycles = Chip(self.platform).trace(task).cycles
        self.journal.note(key, cycles)
        return cycles

    def _settle(self) -> None:
        self.settled += 1
        self.told(self.settled, len(self.candidates), self.cycles[self.best])
