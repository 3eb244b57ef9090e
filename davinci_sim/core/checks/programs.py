"""Check the programs of one launch: every block by itself, and the blocks against each other in GM."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from davinci_sim.core.boxes import BATCH_ROWS, EVERY_PIPE, boxes_of
from davinci_sim.core.checks import batches, rules, shadow
from davinci_sim.core.checks.findings import Finding, Party, bytes_of, finding
from davinci_sim.core.checks.layout import Ranges, cells_of, instruction_tables, local_ranges, tensor_ranges
from davinci_sim.core.checks.sync import synchronise
from davinci_sim.core.local import space_bytes
from davinci_sim.core.program import Program
from davinci_sim.core.records import BOX_COLUMNS
from davinci_sim.platforms import Platform

Ints = npt.NDArray[np.int64]
FIRST_NOTES = 1 << 15


class TensorLike(Protocol):
    """An operand in GM: a name and `nbytes` from address `start`."""

    @property
    def name(self) -> str:
        """The operand's name."""

    @property
    def start(self) -> int:
        """Its first byte in GM."""

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""

    @property
    def padding_bytes(self) -> int:
        """How many bytes behind it may be read."""

    @property
    def is_output(self) -> bool:
        """Whether the kernel writes it."""


def check_programs(
    programs: Sequence[Program],
    platform: Platform,
    tensors: Sequence[TensorLike] = (),
    buffers: Sequence[Ints] = (),
    name_at: Callable[[int], str] = lambda location: "",
) -> list[Finding]:
    """Return what the four checkers find in the programs of one launch, one program per block.

    `tensors` are the operands in GM and `buffers[block]` the rows (space, start, nbytes, slots, location)
    of what a block allocated on chip; without them only the bounds of the spaces are known and GM is left
    out. `name_at(location)` names the buffer that was allocated at a source location.
    """
    return _Launch(programs, platform, tensors, buffers, name_at).check()


class _Launch:
    """The state of one check: shadow memory that all blocks share, and the orders of their records."""

    def __init__(
        self, programs: Sequence[Program], platform: Platform, tensors: Sequence[TensorLike],
        buffers: Sequence[Ints], name_at: Callable[[int], str],
    ) -> None:  # fmt: skip
        self.programs, self.platform, self.buffers = programs, platform, buffers
        self.name_at = functools.cache(name_at)  # it may read a file
        self.sizes = np.array(space_bytes(platform, 0), dtype=np.int64)
        self.cells, on_chip = cells_of(self.sizes)
        self.gm, cells = tensor_ranges(tensors, on_chip)
        self.shadow = shadow.new_shadow(cells, FIRST_NOTES)
        self.boxes = np.empty((BATCH_ROWS, BOX_COLUMNS), dtype=np.int64)
        self.orders: list[Ints] = []
        self.bases: list[int] = [0]
        self.findings: list[Finding] = []

    def check(self) -> list[Finding]:
        """Check block after block."""
        for block, program in enumerate(self.programs):
            order, unpaired = synchronise(program.words, int(self.platform.event_ids_per_pipe_pair))
            self.orders.append(order)
            self.bases.append(self.bases[-1] + len(order))
            known = self._known(block)
            self._sync_findings(block, unpaired)
            self._buffers_apart(known)
            for row in self._hazards(block, program.words[order], known):
                self._tell(block, row, known)
        return merged(self.findings)

    def _known(self, block: int) -> Ranges:
        """Return the ranges that a block may touch."""
        rows = self.buffers[block] if self.buffers else None
        return local_ranges(rows, self.sizes, self.cells, self.name_at).joined(self.gm)

    def _hazards(self, block: int, words: Ints, known: Ranges) -> Ints:
        """Return the rows that memcheck, racecheck and initcheck find in a block."""
        layout = batches.Layout(self.sizes, self.cells, known.table, *instruction_tables())
        clocks = shadow.new_clocks(len(words))
        found = np.zeros((rules.MOST_FOUND, rules.FOUND_COLUMNS), dtype=np.int64)
        record, count, base = 0, 0, self.bases[block]
        while record < len(words):
            reached, rows = boxes_of(words, record, len(words), EVERY_PIPE, self.boxes)
            row = 0
            while record < reached:
                record, row, count = batches.check_batch(
                    words, self.orders[block], record, reached, self.boxes, row, rows, base,
                    layout, self.shadow, clocks, found, count,
                )  # fmt: skip
                if record < reached:
                    self.shadow = shadow.grown(self.shadow)
        return found[:count]

    def _party(self, number: int) -> Party:
        """Return the instruction that is record `number` of all blocks, in their orders."""
        block = int(np.searchsorted(self.bases, number, side="right")) - 1
        index = int(self.orders[block][number - self.bases[block]])
        return Party(self.programs[block], block, index)

    def _tell(self, block: int, row: Ints, known: Ranges) -> None:
        """Put a row that shadow memory found into words."""
        numbers = [int(n) for n in row[[rules.FIRST, rules.SECOND]] if n != rules.NO_RECORD]
        rule = int(row[rules.RULE])
        touched = None
        if rule != rules.SET_TOO_EARLY:
            touched = bytes_of(int(row[rules.LOW]), int(row[rules.HIGH]), known.name_of)
        parties = [self._party(number) for number in numbers]
        self.findings.append(finding(rule, parties, touched, int(row[rules.COUNT])))

    def _sync_findings(self, block: int, rows: Ints) -> None:
        """Put the findings of synccheck into words."""
        program = self.programs[block]
        found = [(rule, Party(program, block, second), first) for rule, first, second, *_ in rows.tolist()]
        for rule, party, first in found:
            parties = [party] if first == party.index else [Party(program, block, first), party]
            partners = (other for number, other, _ in found if _are_partners(rule, party, number, other))
            hint = next((_hint(rule, other) for other in partners), "")
            self.findings.append(finding(rule, parties, None, 1, hint))

    def _buffers_apart(self, known: Ranges) -> None:
        """Tell which buffers of a block overlap."""
        rule = rules.RULES[rules.OVERLAP]
        for low, high, names in known.overlaps():
            touched = replace(bytes_of(low, high, known.name_of), buffer=" and ".join(names))
            text = (
                f"{rule.checker}: {rule.name}\n  rule: {rule.text}\n  bytes: {touched}\n  next: {rule.step}"
            )
            sources = tuple(name.rpartition("(")[2].rstrip(")") for name in names)
            self.findings.append(Finding(rule.checker, rule.name, text, sources, (), (), touched))


def _are_partners(rule: int, party: Party, other_rule: int, other: Party) -> bool:
    """Tell whether a wait without a set and a set without a wait are of one pair of pipes."""
    return {rule, other_rule} == {rules.NEVER_SET, rules.NEVER_WAITED} and party.pair == other.pair


def _hint(rule: int, partner: Party) -> str:
    """Say what belongs to a hand-off that is alone: one with another event id."""
    fate = (
        "is set, and nobody waits for it" if rule == rules.NEVER_SET else "is waited for, and nobody sets it"
    )
    return f"{partner.flag} {fate} ({partner.source}): use one event id for both"


def merged(findings: list[Finding]) -> list[Finding]:
    """Return the findings with those that different blocks have at the same lines counted as one."""
    first: dict[tuple[str, tuple[str, ...], str], Finding] = {}
    for each in findings:
        key = (each.rule, each.source, each.flag)
        known = first.get(key)
        first[key] = each if known is None else replace(known, count=known.count + each.count)
    return [each.told() for each in first.values()]
