"""What a fusion is: which nodes it looks for, under which name it is switched, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from framework.graph_engine.data.graph import AICORE, Node
from framework.graph_engine.service.fusion.draft import Change, Draft

OPERATOR = "operator "
"""Begins what nodes are called that are not one launch on the cores."""
Maker = Callable[[Draft, tuple[Node, ...]], Change | None]
"""Returns what becomes of matched nodes, or None where a condition does not hold."""


@dataclass(frozen=True)
class Pattern:
    """A chain of nodes that may become one, each reading the first result of the one before.

    A node is called by its kernel if one launch on the cores is all that it is, else by its operator, after a
    word that says so. A link of the chain may name several, with bars between them. With `private` what
    passes between them is read nowhere else, and only once.
    """

    name: str
    about: str
    before: str
    after: str
    chain: tuple[str, ...]
    change: Maker
    private: bool = True

    def matches(self, draft: Draft) -> Iterator[Change]:
        """Yield the changes that this pattern would make, in order of execution."""
        for node in list(draft.nodes.values()):
            if called(node) in self.chain[0].split("|"):
                found = self._matched(draft, (node,))
                if found is not None:
                    yield found

    def _matched(self, draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
        """Return the change for a chain that begins with these nodes."""
        if len(nodes) == len(self.chain):
            return None if draft.closes_a_cycle(nodes) else self.change(draft, nodes)
        passed = nodes[-1].outputs[0]
        if self.private and not draft.is_private(passed):
            return None
        for reader in draft.readers(passed):
            is_once = reader.inputs.count(passed) == 1 or not self.private
            if is_once and called(reader) in self.chain[len(nodes)].split("|"):
                found = self._matched(draft, (*nodes, reader))
                if found is not None:
                    return found
        return None

    def text(self) -> str:
        """Print the name, the reason, and the graph before and after."""
        return f"{self.name}: {self.about}\n  before  {self.before}\n  after   {self.after}"


def called(node: Node) -> str:
    """Return the name by which patterns call a node."""
    if node.engine == AICORE and len(node.launches) == 1:
        return node.launches[0].kernel
    return f"{OPERATOR}{node.op}"
