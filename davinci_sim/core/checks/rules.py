"""The rules that the checkers hold programs to: one number, one sentence and one next step each."""

from dataclasses import dataclass

MEMCHECK, RACECHECK, INITCHECK, SYNCCHECK = "memcheck", "racecheck", "initcheck", "synccheck"
CHECKERS = (MEMCHECK, RACECHECK, INITCHECK, SYNCCHECK)

(
    OUTSIDE_SPACE, OUTSIDE_BUFFER, MISALIGNED, OVERLAP, WRITES_INPUT,
    READ_AFTER_WRITE, WRITE_AFTER_WRITE, WRITE_AFTER_READ, NO_BARRIER, CORES_WRITE, CORES_READ,
    UNWRITTEN, UNWRITTEN_GM,
    SET_TWICE, SET_TOO_EARLY, NEVER_WAITED, NEVER_SET, DEADLOCK, EVENT_RANGE,
) = range(1, 20)  # fmt: skip

MOST_FOUND = 256
"""Findings that are kept per block; equal rules at equal source lines count as one."""
FOUND_COLUMNS = 9
RULE, FIRST, SECOND, FIRST_PLACE, SECOND_PLACE, LOW, HIGH, COUNT, LATEST = range(FOUND_COLUMNS)
"""Columns: rule, two records, their source lines, handles from and to, how often, the latest record."""
NO_RECORD = -1


@dataclass(frozen=True)
class Rule:
    """Which checker a rule belongs to, its name in reports, the rule itself and the next step."""

    checker: str
    name: str
    text: str
    step: str


RULES = {
    OUTSIDE_SPACE: Rule(
        MEMCHECK, "outside-space", "every byte must lie inside its memory space",
        "check the handle, the sizes and the strides",
    ),
    OUTSIDE_BUFFER: Rule(
        MEMCHECK, "outside-buffer", "every byte of an operand must lie inside one buffer, slot or tensor",
        "check lengths and strides against what was allocated",
    ),
    MISALIGNED: Rule(
        MEMCHECK, "misaligned", "an operand must begin at a multiple of its alignment",
        "round the offset to the alignment",
    ),
    OVERLAP: Rule(
        MEMCHECK, "overlap", "two buffers or tensors must not share bytes",
        "allocate each with its own start",
    ),
    WRITES_INPUT: Rule(
        MEMCHECK, "writes-input", "a kernel must write its outputs only",
        "declare the operand with output(...), or write to another one",
    ),
    READ_AFTER_WRITE: Rule(
        RACECHECK, "read-after-write", "a pipe must wait for what another pipe writes before it reads it",
        "",
    ),
    WRITE_AFTER_WRITE: Rule(
        RACECHECK, "write-after-write", "two pipes must not write the same bytes unordered", "",
    ),
    WRITE_AFTER_READ: Rule(
        RACECHECK, "write-after-read", "a pipe must wait until another has read before it overwrites", "",
    ),
    NO_BARRIER: Rule(
        RACECHECK, "no-barrier", "within a pipe a read needs a pipe_barrier behind the write",
        "",
    ),
    CORES_WRITE: Rule(
        RACECHECK, "cores-write", "two blocks of one launch must not write the same bytes of GM",
        "give each block its own range, or add atomically",
    ),
    CORES_READ: Rule(
        RACECHECK, "cores-read", "a block must not read what another block of the same launch writes",
        "split the work into two launches",
    ),
    UNWRITTEN: Rule(
        INITCHECK, "unwritten", "on-chip bytes must be written before they are read",
        "fill the buffer first, or read fewer bytes",
    ),
    UNWRITTEN_GM: Rule(
        INITCHECK, "unwritten-gm", "bytes of an output must be written before they are read",
        "write the output first, or declare the operand as an input",
    ),
    SET_TWICE: Rule(
        SYNCCHECK, "set-twice", "a flag must be waited for before it is set again",
        "wait for it in the destination pipe, or use another event id",
    ),
    SET_TOO_EARLY: Rule(
        SYNCCHECK, "set-unordered", "a flag must be known to be taken before it is set again",
        "let the source pipe wait for a flag that is set behind the wait",
    ),
    NEVER_WAITED: Rule(
        SYNCCHECK, "never-waited", "set_flag and wait_flag must balance",
        "add the wait_flag, or close the queue at the end of the kernel",
    ),
    NEVER_SET: Rule(
        SYNCCHECK, "never-set", "every wait_flag needs one set_flag of the same pipes and event id",
        "add the set_flag, or use the event id of the one that is set",
    ),
    DEADLOCK: Rule(
        SYNCCHECK, "deadlock", "the set_flag of a wait must not stand behind another wait for this pipe",
        "move the set_flag before the wait_flag",
    ),
    EVENT_RANGE: Rule(
        SYNCCHECK, "event-range", "an event id must be one that the platform has",
        "use fewer events between these pipes",
    ),
}  # fmt: skip
