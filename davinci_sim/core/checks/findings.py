"""What a checker found, in words: both instructions, their pipes and lines, the bytes, the missing flag."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from davinci_sim.core.checks import rules
from davinci_sim.core.checks.rules import RULES, Rule
from davinci_sim.core.program import BY_OPCODE, Program
from davinci_sim.errors import DavinciError
from davinci_sim.isa import PIPE_NAMES
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.spaces import Space


@dataclass(frozen=True)
class Bytes:
    """A range of one memory space and the buffer or tensor that it belongs to."""

    space: str
    start: int
    end: int
    buffer: str = ""

    def __str__(self) -> str:
        """Print as `UB[64:96] of x (kernels/add.py:12)`."""
        owner = f" of {self.buffer}" if self.buffer else ""
        return f"{self.space}[{self.start}:{self.end}]{owner}"


@dataclass(frozen=True)
class Finding:
    """One broken rule at one pair of source lines.

    Attributes:
        kind: the checker: memcheck, racecheck, initcheck or synccheck.
        rule: the rule's short name.
        message: the whole story, one line per part.
        source: the lines of the kernel that take part, the earlier instruction first.
        records: (block, index in the block's program) of the same instructions.
        pipes: their pipes.
        bytes: what they touch, or None for a flag.
        flag: the flag that is missing or wrong, or an empty string.
        count: how often it happens at these lines.
    """

    kind: str
    rule: str
    message: str
    source: tuple[str, ...]
    records: tuple[tuple[int, int], ...]
    pipes: tuple[str, ...]
    bytes: Bytes | None = None
    flag: str = ""
    count: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def told(self) -> "Finding":
        """Return the finding with the number of times in its message."""
        if self.count == 1:
            return self
        head, _, last = self.message.rpartition("\n")
        return replace(self, message=f"{head}\n  {self.count} times at these lines\n{last}")

    def __str__(self) -> str:
        """Print the message."""
        return self.message


class HazardsFound(DavinciError):
    """A kernel in which the checkers found something."""

    def __init__(self, name: str, findings: Iterable[Finding]) -> None:
        """Tell every finding."""
        self.findings = tuple(findings)
        texts = "\n".join(finding.message for finding in self.findings)
        super().__init__(f"kernel {name}: {len(self.findings)} findings\n{texts}")


@dataclass(frozen=True)
class Party:
    """One instruction of a finding: record `index` of the program of `block`."""

    program: Program
    block: int
    index: int

    @property
    def source(self) -> str:
        """The kernel's line, or where in the program the instruction stands."""
        return self.program.source(self.index) or f"record {self.index}"

    @property
    def pipe(self) -> str:
        """The name of its pipe."""
        return PIPE_NAMES.get(int(self.program.words[self.index, 0]) >> 8 & 255, "?")

    @property
    def pair(self) -> int:
        """The pipes of a hand-off, as one number."""
        return int(self.program.words[self.index, 1]) & 0xFFFF

    @property
    def flag(self) -> str:
        """The flag that a hand-off names."""
        word = int(self.program.words[self.index, 1])
        names = [PIPE_NAMES.get(word >> shift & 255, "?") for shift in (0, 8)]
        return f"flag(src={names[0]}, dst={names[1]}, event_id={word >> 16 & 255})"

    def __str__(self) -> str:
        """Print as `MTE2 data_move (block 0, record 4, kernels/add.py:12)`."""
        name = BY_OPCODE[int(self.program.words[self.index, 0]) & 255].name
        line = self.program.source(self.index)
        return f"{self.pipe} {name} (block {self.block}, record {self.index}{', ' + line if line else ''})"


def bytes_of(low: int, high: int, buffer_at: Callable[[int], str]) -> Bytes:
    """Return a range of handles in words."""
    space, start = low >> SPACE_SHIFT, low & ADDRESS_MASK
    name = Space(space).name if space < len(Space) else f"space {space}"
    return Bytes(name, start, start + high - low, buffer_at(low))


def finding(
    rule_number: int, parties: list[Party], touched: Bytes | None, count: int, hint: str = ""
) -> Finding:
    """Put a finding into words."""
    rule = RULES[rule_number]
    lines = [f"{rule.checker}: {rule.name}", f"  rule: {rule.text}"]
    lines += [f"  {_role(rule_number, party is parties[-1])} {party}" for party in parties]
    if touched is not None:
        lines.append(f"  bytes: {touched}")
    flag = _flag(rule_number, parties)
    if rule.checker == rules.SYNCCHECK:
        lines.append(f"  flag: {flag}")
    lines.append(f"  next: {hint or _step(rule, rule_number, parties)}")
    return Finding(
        rule.checker, rule.name, "\n".join(lines), tuple(party.source for party in parties),
        tuple((party.block, party.index) for party in parties), tuple(party.pipe for party in parties),
        touched, flag, count,
    )  # fmt: skip


_ROLES = {
    rules.READ_AFTER_WRITE: ("written by", "read by"),
    rules.NO_BARRIER: ("written by", "read by"),
    rules.WRITE_AFTER_WRITE: ("written by", "and by"),
    rules.CORES_WRITE: ("written by", "and by"),
    rules.WRITE_AFTER_READ: ("read by", "overwritten by"),
    rules.CORES_READ: ("touched by", "and by"),
    rules.SET_TWICE: ("set by", "and again by"),
    rules.OVERLAP: ("", ""),
}


def _role(rule_number: int, is_last: bool) -> str:
    return _ROLES.get(rule_number, ("by", "by"))[is_last]


def _flag(rule_number: int, parties: list[Party]) -> str:
    """Name the flag that a finding is about: the missing one of a race, the wrong one of a hand-off."""
    rule = RULES[rule_number]
    if rule.checker == rules.SYNCCHECK:
        return parties[-1].flag
    if rule_number in (rules.READ_AFTER_WRITE, rules.WRITE_AFTER_WRITE, rules.WRITE_AFTER_READ):
        return f"flag(src={parties[0].pipe}, dst={parties[1].pipe})"
    return f"pipe_barrier({parties[-1].pipe})" if rule_number == rules.NO_BARRIER else ""


def _step(rule: Rule, rule_number: int, parties: list[Party]) -> str:
    if rule_number == rules.NO_BARRIER:
        return f"pipe_barrier({parties[1].pipe}) between {parties[0].source} and {parties[1].source}"
    if rule.checker == rules.RACECHECK and not rule.step:
        (first, second), pipes = parties, f"src={parties[0].pipe}, dst={parties[1].pipe}"
        return f"set_flag({pipes}) after {first.source} and wait_flag({pipes}) before {second.source}"
    return rule.step
