"""Steps that nobody has timed yet are timed ahead, several at a time, in processes of their own.

The steps lie on disk then, and with them the times of their tasks; who stops early goes on from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from davinci_sim.chip.kept import Store
from davinci_sim.platforms import Platform
from experiments.claims.plan import Ask
from experiments.claims.steps import Steps

STEP_BYTES = 1 << 30
"""What the process that compiles and times a large step may take; half of that was measured."""
Told = Callable[[int, int], None]
"""Called with how many steps are timed, and of how many."""


def time_ahead(steps: Steps, asks: Sequence[Ask], told: Told, jobs: int = 0) -> None:
    """Time the steps that are not remembered, as many at a time as there are cores, or `jobs`.

    One alone, or one at a time, is left to who asks for it.
    """
    waiting = [ask for ask in asks if not steps.knows(*ask)]
    workers = min(jobs or most_jobs(), len(waiting))
    if workers < 2 or not steps.store.is_writable:
        return
    told(0, len(waiting))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running = [pool.submit(_time, steps.platform, steps.engine, steps.store, ask) for ask in waiting]
        try:
            for number, done in enumerate(as_completed(running), 1):
                done.result()
                told(number, len(waiting))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def most_jobs() -> int:
    """Return how many steps are timed at once: one for a core, as far as the memory goes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory // STEP_BYTES))


def _time(platform: Platform, engine: str, store: Store, ask: Ask) -> None:
    Steps(platform, engine, store=store).timed(*ask)
