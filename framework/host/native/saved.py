"""Stacks in machine code: their names in the source, and how a loop pushes on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from framework.host.native.kinds import Kind
from framework.host.writer import Code


@dataclass(frozen=True)
class Stack:
    """The names of a stack's arrays, and of the range that it is: see `kinds`."""

    arrays: tuple[str, ...]
    start: str
    stop: str


Value: TypeAlias = str | Stack


def names(value: Value) -> tuple[str, ...]:
    """Return the names of all parts of a value."""
    return (value,) if isinstance(value, str) else (*value.arrays, value.start, value.stop)


def room(kind: Kind, at: int, count: str) -> str:
    """Return the source of a new array of a stack: scalars at place 0, ranges above."""
    if at == 0:
        return f"np.empty({count}, np.{'bool_' if kind.dtype == 'bool' else kind.dtype})"
    return f"np.empty(({count}, 2), np.int64)"


class Saved:
    """What a loop saves of one value: arrays that grow, or have room for a known number of turns."""

    def __init__(self, code: Code, kind: Kind, turns: str | None) -> None:
        """Write empty arrays for a stack of this kind."""
        self.code, self.kind, self.grows = code, kind, turns is None
        self.arrays = [code.fresh("g") for _ in range(kind.depth)]
        self.used = [code.fresh("m") for _ in self.arrays[:-1]]
        for name in self.used:
            code.write(f"{name} = 0")
        for at, array in enumerate(self.arrays):
            is_top = at == kind.depth - 1
            code.write(f"{array} = {room(kind, at, turns if turns and is_top else '16')}")

    def stack(self, turns: str) -> Stack:
        """Return all that was saved."""
        return Stack(tuple(self.arrays), "0", turns)

    def save(self, value: Value, turn: str) -> None:
        """Write that a value is saved at the place of a turn."""
        if isinstance(value, str):
            self._make_room(0, turn)
            self.code.write(f"{self.arrays[0]}[{turn}] = {value}")
            return
        top = len(self.arrays) - 1
        self._enter(top, turn, value, (value.start, value.stop))

    def _enter(self, level: int, place: str, source: Stack, part: tuple[str, str]) -> None:
        """Write a copy of a part of the source one level below, and the range of the copy at a place."""
        below, array = self.used[level - 1], self.arrays[level]
        start = self.code.fresh("m")
        self.code.write(f"{start} = {below}")
        self._copy(level - 1, source, part)
        self._make_room(level, place)
        self.code.write(f"{array}[{place}, 0] = {start}")
        self.code.write(f"{array}[{place}, 1] = {below}")

    def _copy(self, level: int, source: Stack, part: tuple[str, str]) -> None:
        """Write a copy of a part of the source's array of a level to the end of ours."""
        array, used, (start, stop) = self.arrays[level], self.used[level], part
        if level == 0:
            self.code.write(f"{array} = extended({array}, {used}, {source.arrays[0]}, {start}, {stop})")
            self.code.write(f"{used} += {stop} - {start}")
            return
        at = self.code.fresh()
        with self.code.block(f"for {at} in range({start}, {stop}):"):
            inner = (f"{source.arrays[level]}[{at}, 0]", f"{source.arrays[level]}[{at}, 1]")
            self._enter(level, used, source, inner)
            self.code.write(f"{used} += 1")

    def _make_room(self, level: int, place: str) -> None:
        """Write that an array grows if it has no such place; the top one may have all from the start."""
        if level == len(self.arrays) - 1 and not self.grows:
            return
        array = self.arrays[level]
        longer = "grown" if level == 0 else "grown_ranges"
        self.code.write(f"if {place} == {array}.shape[0]: {array} = {longer}({array})")
