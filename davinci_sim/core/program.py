"""A Program: the instruction records of one core, as data that prints, parses and hashes."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from davinci_sim.errors import DavinciError, IllegalInstruction, unknown
from davinci_sim.isa import INSTRUCTIONS, PIPE_NAMES, Instruction
from davinci_sim.isa.fields import DTYPE_NAMES, ImmediateField, MaskField, Operand
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.spaces import Space

RECORD_DTYPE = np.dtype(
    [
        ("op", "u1"),
        ("pipe", "u1"),
        ("dtype", "u1"),
        ("reserved", "u1"),
        ("location", "<u4"),
        ("payload", "<i8", 7),
    ]
)
"""64 bytes a record; each instruction reads the payload in its own way (`Instruction.values`)."""

BY_OPCODE = {declared.opcode: declared for declared in INSTRUCTIONS.values()}
_LINE = re.compile(r"PIPE_(\w+)\s+(\w+)\s*(.*?)\s*(?:#\s*(.*))?$")


class Sources(Mapping[int, str]):
    """Where records came from, by location; found when somebody looks."""

    def __init__(self, find: Callable[[], dict[int, str]]) -> None:
        """Hold what finds the places."""
        self._find = find

    @cached_property
    def _places(self) -> dict[int, str]:
        return self._find()

    def __getitem__(self, location: int) -> str:
        """Return the place of a location as `file:line`."""
        return self._places[location]

    def __iter__(self) -> Iterator[int]:
        """Go over the locations."""
        return iter(self._places)

    def __len__(self) -> int:
        """Count the locations."""
        return len(self._places)


@dataclass(frozen=True)
class Program:
    """The records of one core in program order: `words[n, 8]` int64, and where they came from."""

    words: npt.NDArray[np.int64]
    sources: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the records."""
        return len(self.words)

    @property
    def records(self) -> npt.NDArray[np.void]:
        """The same bytes as a structured array."""
        return np.ascontiguousarray(self.words).view(RECORD_DTYPE).reshape(-1)

    def digest(self) -> str:
        """Return the SHA-256 of what the core does; source lines do not count."""
        import hashlib

        plain = self.words.copy()
        plain[:, 0] &= 0xFFFFFFFF
        return hashlib.sha256(plain.tobytes()).hexdigest()

    def source(self, index: int) -> str:
        """Return the source line of record `index` as `file:line`, or an empty string."""
        return self.sources.get(int(self.words[index, 0]) >> 32 & 0xFFFFFFFF, "")

    def line(self, index: int) -> str:
        """Print record `index`."""
        declared = BY_OPCODE[int(self.words[index, 0]) & 255]
        pipe = PIPE_NAMES[int(self.words[index, 0]) >> 8 & 255]
        values = declared.values(self.words[index])
        source = self.source(index)
        text = f"PIPE_{pipe:<5}{declared.name:<12} {' '.join(_printed(declared, values))}"
        return f"{text}  # {source}" if source else text

    def text(self) -> str:
        """Print the whole program, one record a line; `parse` reads it back."""
        return "\n".join(self.line(index) for index in range(len(self))) + "\n"


def parse(text: str) -> Program:
    """Read a printed program back to equal records; operands that have a default may be left out.

    Raises:
        DavinciError: a line is no instruction, or an operand is no number.
    """
    rows: list[list[int]] = []
    sources: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.match(line.strip())
        if match is None:
            raise DavinciError(
                f"program text, line {number}: {line.strip()!r} is no `PIPE_x name key=value ...`"
            )
        pipe, name, operands, source = match.groups()
        if name not in INSTRUCTIONS:
            raise unknown("instruction", name, INSTRUCTIONS)
        location = number if source else 0
        if source:
            location = next((key for key, value in sources.items() if value == source), number)
            sources[location] = source
        try:
            values = dict(pair.split("=", 1) for pair in operands.split())
            rows.append(_encoded(INSTRUCTIONS[name], pipe, values, location))
        except (KeyError, ValueError, OverflowError, StopIteration) as error:
            raise DavinciError(
                f"program text, line {number}: {line.strip()}\n"
                f"  rule: {name} is printed as {_form(INSTRUCTIONS[name])}\n  found: {error!r}"
            ) from None
    return Program(np.array(rows, dtype=np.int64).reshape(-1, 8), sources)


def out_of_bounds(program: Program, record: int) -> IllegalInstruction:
    """Build the error for an instruction that leaves its memory space."""
    return IllegalInstruction(
        f"{program.line(record)}\n  rule: every operand must stay inside its memory space\n"
        "  next: check the sizes, strides and the buffer that the operand belongs to"
    )


def _form(declared: Instruction) -> str:
    """Return how an instruction is printed, with the names of its operands only."""
    return " ".join(["PIPE_x", declared.name, *(f"{item.name}=..." for item in declared.fields), "dtype=..."])


def handle_text(handle: int) -> str:
    """Print a handle as `SPACE+0xaddress`."""
    return f"{Space(handle >> SPACE_SHIFT).name}+{handle & ADDRESS_MASK:#x}"


def _printed(declared: Instruction, values: dict[str, int | float]) -> list[str]:
    parts = []
    for item in declared.fields:
        if isinstance(item, MaskField):
            lo, hi = int(values[f"{item.name}_lo"]), int(values[f"{item.name}_hi"])
            parts.append(f"{item.name}={hi & (2**64 - 1):016x}{lo & (2**64 - 1):016x}")
        elif isinstance(item, Operand):
            parts.append(f"{item.name}={handle_text(int(values[item.name]))}")
        else:
            parts.append(f"{item.name}={values[item.name]}")
    return [*parts, f"dtype={DTYPE_NAMES[int(values['dtype'])]}"]


def _encoded(declared: Instruction, pipe: str, values: dict[str, str], location: int) -> list[int]:
    payload = bytearray(56)
    for item, offset in zip(declared.fields, declared.offsets, strict=True):
        if item.default is None or isinstance(item, MaskField):  # a mask is printed as its bits
            text = values[item.name]
        else:
            text = values.get(item.name, str(item.default))
        if isinstance(item, MaskField):
            payload[offset : offset + 16] = int(text, 16).to_bytes(16, "little")
        elif isinstance(item, Operand):
            space, address = text.split("+")
            handle = int(Space[space]) << SPACE_SHIFT | int(address, 16)
            payload[offset : offset + 8] = handle.to_bytes(8, "little")
        elif isinstance(item, ImmediateField):
            payload[offset : offset + 4] = np.float32(text).tobytes()
        else:
            payload[offset : offset + item.width_bytes] = int(text).to_bytes(item.width_bytes, "little")
    code = next(key for key, value in PIPE_NAMES.items() if value == pipe)
    head = declared.opcode | code << 8 | DTYPE_NAMES.index(values["dtype"]) << 16 | location << 32
    return [head, *np.frombuffer(bytes(payload), dtype=np.int64).tolist()]
