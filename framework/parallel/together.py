"""`together`: one program on several ranks, which meet in its collectives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import Any

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework.parallel.communicator import Communicator


def together(
    function: Callable[..., Any] | Sequence[Callable[..., Any]], ranks: int, *arguments: Sequence[Any]
) -> list[Any]:
    """Run a function on several ranks, and return the result of each, in their order.

    Rank r gets the item r of every argument, and the context of who calls. With one function per rank each
    can have a chip of its own:
    `together([jit(f, device=Chip("ascend910a")) for _ in range(2)], 2, [x, y])`. Results are the same bits at
    every call, since ranks take turns and sums are made in their order.

    Raises:
        CollectiveError: ranks do not meet, since they come to different collectives, or some have ended.
        DavinciError: there are not as many functions, or arguments, as ranks. What a rank raises ends all of
            them, and is raised here.

    >>> import numpy as np
    >>> from framework import Tensor, ops
    >>> together(lambda x: ops.all_reduce(x, 2), 2, [Tensor([1.0, 2.0]), Tensor([10.0, 20.0])])
    [Tensor([11., 22.], float32), Tensor([11., 22.], float32)]
    """
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise DavinciError(f"together: ranks is {ranks!r}, it must be a whole number, 1 or more")
    functions = [function] * ranks if callable(function) else list(function)
    for what, given in (("functions", functions), *(("items of an argument", each) for each in arguments)):
        if len(given) != ranks:
            raise ShapeMismatch(
                f"together: {len(given)} {what} for {ranks} ranks\n"
                f"  next: give one for each rank, [x] * {ranks} for the same one"
            )
    results: list[Any] = [None] * ranks

    def program(rank: int) -> None:
        results[rank] = functions[rank](*(each[rank] for each in arguments))

    company = Communicator(ranks)
    threads = [
        Thread(target=copy_context().run, args=(company.take_part, rank, partial(program, rank)), daemon=True)
        for rank in range(ranks)
    ]
    for thread in threads:
        thread.start()
    company.start()
    for thread in threads:
        thread.join()
    if company.failure is not None:
        raise company.failure
    return results
