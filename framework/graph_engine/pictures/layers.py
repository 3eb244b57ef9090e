"""Which layer of the network each node belongs to, by the names of the variables that the layers hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from framework.graph_engine.data.graph import VARIABLE
from framework.graph_engine.pictures.links import BACKWARD, FORWARD, UPDATE, Links

Path = tuple[str, ...]
"""The name of a layer, part by part; it is empty where none is known."""
RUNS = 24
"""The runs of nodes that stand for layers where a network names none."""
FEWEST = 4
"""Layers of which a picture shows more than it hides."""


def layers(links: Links, most: int) -> list[Path]:
    """Return the layer of each node, with as long names as keep the layers to `most`."""
    held = [_holder(links.read(at, VARIABLE)) for at in range(len(links.parts))]
    for length in range(max(map(len, held), default=0), 0, -1):
        found = _Layers(links, [path[:length] for path in held]).found
        if FEWEST <= len(set(found)) <= most:
            return found
    return _Layers(links, list(_runs(links))).found


def _holder(variables: Sequence[str]) -> Path:
    """Return the layer that holds the first of some variables.

    >>> _holder(["blocks.0.conv.weight", "moments.blocks.0.conv.weight"])
    ('blocks', '0', 'conv')
    """
    return tuple(variables[0].split(".")[:-1]) if variables else ()


def _runs(links: Links) -> Iterator[Path]:
    """Yield for each node the run of neighbours in the order of execution that it is in."""
    count = links.parts.count(FORWARD)
    length = max(1, -(-count // RUNS))
    for at, part in enumerate(links.parts):
        first = at // length * length
        yield (f"nodes {first} to {min(first + length, count) - 1}",) if part == FORWARD else ()


class _Layers:
    """What is found of the layers, from those of nodes that read variables."""

    def __init__(self, links: Links, held: Sequence[Path]) -> None:
        self.links, self.held = links, held
        self.found: list[Path] = [()] * len(held)
        self._go_forward()
        for at in reversed(range(len(held))):
            if links.is_prepared[at]:
                self.found[at] = next((self.found[reader] for reader in links.readers[at]), held[at])
        self._renew()
        self._go_backward()

    def _numbers(self, part: int) -> list[int]:
        is_prepared = self.links.is_prepared
        return [at for at, each in enumerate(self.links.parts) if each == part and not is_prepared[at]]

    def _go_forward(self) -> None:
        """Begin a layer where its first variable is read; what reads none belongs to the layer before it.

        A variable of a layer that is over, such as an embedding that is read at the end again, begins none.
        """
        prepared = self._of_prepared()
        numbers = self._numbers(FORWARD)
        wanted = [self.held[at] or self._first(prepared, self.links.makers[at]) for at in numbers]
        current = next((path for path in wanted if path), ())
        begun = {current}
        for at, path in zip(numbers, wanted, strict=True):
            if path and path not in begun:
                current = path
                begun.add(path)
            self.found[at] = current

    def _of_prepared(self) -> list[Path]:
        """Return the layers of what prepares weights: those of the variables."""
        found: list[Path] = []
        for at, path in enumerate(self.held):
            own = path or self._first(found, self.links.makers[at])
            found.append(own if self.links.is_prepared[at] else ())
        return found

    def _renew(self) -> None:
        """Give what renews a variable its layer, and with it all that leads there and nowhere else."""
        known = set(self.found)
        for at in reversed(range(len(self.held))):
            part, readers = self.links.parts[at], self.links.readers[at]
            if part == FORWARD or (self.links.is_prepared[at] and self.found[at]):
                continue
            led = {self.found[each] for each in readers if self.links.parts[each] == UPDATE} - {()}
            if part == UPDATE and self.held[at] in known - {()}:
                self.found[at] = self.held[at]
            elif len(led) == 1:
                (self.found[at],) = led

    def _go_backward(self) -> None:
        """Give a gradient the layer of the weights that it reads, or of the newest value, or of its maker."""
        for at in self._numbers(BACKWARD):
            makers = self.links.makers[at]
            weights = [each for each in makers if self.links.is_prepared[each]]
            kept = [each for each in makers if self.links.parts[each] == FORWARD and each not in weights]
            before = [each for each in makers if self.links.parts[each] == BACKWARD]
            for group in (weights, kept[-1:], before):
                self.found[at] = self.found[at] or self._first(self.found, group)

    @staticmethod
    def _first(paths: Sequence[Path], numbers: Sequence[int]) -> Path:
        return next((paths[each] for each in numbers if paths[each]), ())
