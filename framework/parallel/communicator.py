"""The communicator: where the ranks of a program meet, and who runs meanwhile.

Ranks take turns: one runs until it has come to a meeting, or ends, then the next one does. So nothing that
they share is used by two at once, equal programs give equal results whatever the machine does, and a meeting
to which somebody will never come is found at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Semaphore
from typing import Any, NamedTuple

import numpy as np

from davinci_sim.errors import DavinciError

Array = np.ndarray[Any, Any]


class CollectiveError(DavinciError):
    """A meeting that cannot take place: who should be there is not, or wants something else."""


class Left(BaseException):
    """Ends a rank whose company has failed; no mistake of its own, and not to be caught."""


class _Offer(NamedTuple):
    """What a rank brings to a meeting: the operator as printed, and its data."""

    what: str
    array: Array


class Communicator:
    """The ranks of one run: whose turn it is, what they have brought, and the first failure."""

    def __init__(self, ranks: int) -> None:
        """Let nobody run yet."""
        self.ranks = ranks
        self.failure: BaseException | None = None
        self._turns = [Semaphore(0) for _ in range(ranks)]
        self._offers: dict[int, _Offer] = {}
        self._met: dict[int, tuple[Array, ...]] = {}
        self._ended: set[int] = set()

    def start(self) -> None:
        """Give the first rank its turn."""
        self._turns[0].release()

    def take_part(self, rank: int, program: Callable[[], None]) -> None:
        """Run a rank, in a thread and a context of its own: from its first turn to its end."""
        _HERE.set((self, rank))
        self._turns[rank].acquire()
        try:
            if self.failure is None:
                program()
        except Left:
            pass
        except BaseException as failure:  # whatever it is, it ends all, and goes to who started them
            failure.add_note(f"on rank {rank} of {self.ranks}")
            self.failure = self.failure or failure
        self._end(rank)

    def exchange(self, rank: int, what: str, array: Array) -> tuple[Array, ...]:
        """Return what all ranks have brought to this meeting, in their order.

        Raises:
            CollectiveError: others came for something else, or will never come.
        """
        if self.failure is not None:
            raise Left
        self._offers[rank] = _Offer(what, np.array(array))  # whoever goes on first may change its own
        if len(self._offers) == self.ranks:
            self._meet()
        else:
            self._wait(rank)
        return self._met.pop(rank)

    def _meet(self) -> None:
        offers = [self._offers[rank] for rank in range(self.ranks)]
        if len({offer.what for offer in offers}) > 1:
            raise CollectiveError(
                "ranks meet in different collectives\n"
                + "".join(f"  rank {rank}: {offer.what}\n" for rank, offer in enumerate(offers))
                + "  rule: all ranks come to the same ones, in the same order, with the same shapes\n"
                "  next: let what depends on the data of a rank not decide which collectives it comes to"
            )
        self._offers.clear()
        self._met = dict.fromkeys(range(self.ranks), tuple(offer.array for offer in offers))

    def _wait(self, rank: int) -> None:
        """Let others run until this rank can."""
        following = self._following(rank)
        if following is None:
            raise self._missed()
        self._turns[following].release()
        self._turns[rank].acquire()
        if self.failure is not None:
            raise Left

    def _end(self, rank: int) -> None:
        """Let others run for good."""
        self._ended.add(rank)
        if self.failure is None and self._offers and self._following(rank) is None:
            self.failure = self._missed()
        following = self._following(rank)
        if following is not None:
            self._turns[following].release()

    def _following(self, rank: int) -> int | None:
        """Return the next rank that can run: one that has not ended and waits for no one, or has to leave."""
        others = ((rank + step) % self.ranks for step in range(1, self.ranks))
        left = (other for other in others if other not in self._ended)
        return next((other for other in left if self.failure is not None or other not in self._offers), None)

    def _missed(self) -> CollectiveError:
        """Return the error for a meeting to which some ranks have come, and others will not."""
        waiting = [f"  rank {rank} waits in {offer.what}\n" for rank, offer in sorted(self._offers.items())]
        ended = " and ".join(map(str, sorted(self._ended)))
        return CollectiveError(
            "a collective waits for ranks that have ended\n" + "".join(waiting) + f"  ended: {ended}\n"
            "  rule: all ranks come to the same collectives, in the same order\n"
            "  next: let what depends on the data of a rank not decide which collectives it comes to"
        )


_HERE: ContextVar[tuple[Communicator, int] | None] = ContextVar("rank", default=None)
"""Where this thread takes part, and as which rank."""
_NAME: ContextVar[str] = ContextVar("name", default="")


def rank() -> int:
    """Return which of the ranks of `together` this is; 0 for a program that runs alone."""
    here = _HERE.get()
    return 0 if here is None else here[1]


@contextmanager
def called(name: str) -> Iterator[None]:
    """Let the collectives of this context meet only those of the same name.

    What is compiled may come to them in another order than it was written in; then equal ones are told apart.
    """
    token = _NAME.set(name)
    try:
        yield
    finally:
        _NAME.reset(token)


def exchange(what: str, ranks: int, array: Array) -> tuple[Array, ...]:
    """Return what each of `ranks` ranks has brought to a collective, which is printed as `what`.

    Raises:
        CollectiveError: this program does not run on so many ranks, or they do not meet.
    """
    if ranks == 1:
        return (array,)
    here = _HERE.get()
    if here is None:
        raise CollectiveError(
            f"{what} is of {ranks} ranks, and this program runs alone\n"
            f"  next: run it on all of them, framework.parallel.together(f, {ranks}, ...)"
        )
    company, own = here
    if company.ranks != ranks:
        raise CollectiveError(
            f"{what} is of {ranks} ranks, and {company.ranks} run together\n"
            f"  rule: all ranks take part\n  next: ask for {company.ranks}, or run it together on {ranks}"
        )
    return company.exchange(own, f"{what}{_NAME.get()}", array)
