"""The cheapest formats of a whole graph: minimum cuts, one for each format that values may move to.

Groups of values choose a format each. Where the home of a value and the wish of a reader differ, the value is
converted, once per format. One move offers one format to all groups at once: which of them take it is a
minimum cut (an expansion move: Boykov, Veksler, Zabih, "Fast approximate energy minimization via graph cuts",
2001). With two formats, which is what matrices have, the first move finds the minimum of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from framework.graph_engine.data.storage import PLAIN

UNIT_BYTES = 4096
"""Costs are counted in these, so that the sums of a large network fit into the 32 bits of a flow."""
NEVER = 1 << 28
MOST = 1 << 21
"""What one conversion counts at most: 8 GiB."""

Choice = dict[str, str]
"""Group -> format."""


@dataclass(frozen=True)
class Demand:
    """A value: the party in whose format it comes to be, those that read it, and the bytes of a conversion.

    A party is a group or, where it cannot choose, a format.
    """

    home: str
    readers: tuple[str, ...]
    cost: Callable[[str, str], int]


@dataclass(frozen=True)
class Problem:
    """Which formats each group may have (ND always), what the values ask, and what some formats cost."""

    candidates: Mapping[str, Sequence[str]]
    demands: Sequence[Demand]
    prices: Mapping[str, int] = field(default_factory=dict)
    """Group -> what any format but ND costs it."""

    def total(self, choice: Choice) -> int:
        """Return the units of all conversions and prices."""
        priced = sum(_units(price) for group, price in self.prices.items() if choice[group] != PLAIN)
        return priced + sum(_paid(demand, choice) for demand in self.demands)


def choose(problem: Problem) -> Choice:
    """Return a format for every group, such that no move to one format makes the conversions cheaper.

    Where it costs the same, groups leave the plain format once, which is their neighbours' then.
    """
    choice = dict.fromkeys(problem.candidates, PLAIN)
    best, formats = problem.total(choice), sorted({f for each in problem.candidates.values() for f in each})
    improved, is_first = True, True
    while improved:
        improved = False
        for target in formats:
            moved = _moved(problem, choice, target)
            total = problem.total(moved)
            if total < best or (is_first and total == best and target != PLAIN):
                improved |= total < best
                choice, best = moved, total
        is_first = False
    return choice


def _units(nbytes: int) -> int:
    return min(-(-nbytes // UNIT_BYTES), MOST)


def _paid(demand: Demand, choice: Choice) -> int:
    home = choice.get(demand.home, demand.home)
    wanted = {choice.get(reader, reader) for reader in demand.readers} - {home}
    return sum(_units(demand.cost(home, target)) for target in wanted)


def _moved(problem: Problem, choice: Choice, target: str) -> Choice:
    """Return the cheapest choice in which each group stays as it is or takes the target."""
    cut = _Cut()
    for group, formats in problem.candidates.items():
        if target in formats and choice[group] != target:
            cut.free(group)
    for demand in problem.demands:
        _enter(cut, demand, choice, target)
    for group, price in problem.prices.items():
        if choice[group] == PLAIN != target:
            cut.pay(_units(price), stays=cut.STAY, moves=group)
        elif target == PLAIN != choice[group]:
            cut.pay(_units(price), stays=group, moves=cut.MOVE)
    return {**choice, **dict.fromkeys(cut.movers(), target)}


def _enter(cut: _Cut, demand: Demand, choice: Choice, target: str) -> None:
    """Enter what a value's conversions cost, by who moves.

    If its home stays, some reader that moves costs the conversion to the target. If its home moves, readers
    that stay in a format cost the conversion to that one; where they cost one either way, the home's move
    changes its price, which is left out if the move makes it cheaper: then the cut is only a bound.
    """
    home = choice.get(demand.home, demand.home)
    mover = cut.MOVE if home == target else cut.party(demand.home)
    by_format: dict[str, list[str]] = {}
    for reader in demand.readers:
        by_format.setdefault(choice.get(reader, reader), []).append(cut.party(reader))
    stayers = {form: parties for form, parties in by_format.items() if form != target}
    movers = [party for parties in stayers.values() for party in parties if party != cut.STAY]
    movers += [cut.MOVE] if target in by_format else []
    if home != target and movers:
        cut.pay_if_any_moves(_units(demand.cost(home, target)), mover, movers)
    for form, parties in stayers.items():
        before = 0 if form == home else _units(demand.cost(home, form))
        after = _units(demand.cost(target, form))
        if before:
            cut.pay_if_any_stays(before, parties, cut.MOVE)
        if after > before:
            cut.pay_if_any_stays(after - before, parties, mover)


class _Cut:
    """A network of flows: what is cut off from its source moves, what stays with it stays."""

    STAY, MOVE = "<stay>", "<move>"

    def __init__(self) -> None:
        self._number = {self.STAY: 0, self.MOVE: 1}
        self._count = 2
        self._edges: dict[tuple[int, int], int] = {}

    def free(self, group: str) -> None:
        """Let a group choose."""
        self._number[group] = self._new()

    def party(self, name: str) -> str:
        """Return a group that can choose by its name, any other party as one that stays."""
        return name if name in self._number else self.STAY

    def pay(self, cost: int, stays: str, moves: str) -> None:
        """Pay if one party stays and another moves."""
        self._edge(self._number[self.party(stays)], self._number[self.party(moves)], cost)

    def pay_if_any_moves(self, cost: int, stays: str, movers: Sequence[str]) -> None:
        """Pay once if one party stays and any of others moves."""
        between = self._new()
        self._edge(self._number[stays], between, cost)
        for each in movers:
            self._edge(between, self._number[each], NEVER)

    def pay_if_any_stays(self, cost: int, stayers: Sequence[str], moves: str) -> None:
        """Pay once if any of some parties stays and another moves."""
        between = self._new()
        self._edge(between, self._number[moves], cost)
        for each in stayers:
            self._edge(self._number[each], between, NEVER)

    def movers(self) -> Iterator[str]:
        """Yield the groups that move in a minimum cut; of several, in the one in which most do.

        So an operator between a product and an output computes in the product's format, which can be fused;
        groups that nothing asks stay.
        """
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        places = np.array(list(self._edges), dtype=np.int32).reshape(-1, 2).T
        room = np.array(list(self._edges.values()), dtype=np.int32)
        network = csr_array((room, (places[0], places[1])), shape=(self._count, self._count))
        left = network - maximum_flow(network, 0, 1).flow
        left.eliminate_zeros()
        staying = set(breadth_first_order(left, 0, return_predecessors=False).tolist())
        moving = set(places.ravel().tolist()) - staying
        return (name for name, number in self._number.items() if number in moving and name != self.MOVE)

    def _new(self) -> int:
        self._count += 1
        return self._count - 1

    def _edge(self, source: int, sink: int, room: int) -> None:
        if source != sink and room > 0:
            self._edges[source, sink] = min(self._edges.get((source, sink), 0) + room, NEVER)
