"""Element-wise expressions as integers: what a fused kernel computes is a part of its shape.

An expression has sources (x0, x1 ...), steps that each give one value, and results (y0, y1 ...), which are
values of steps. `assemble` finds a place in UB for every value, by linear scan: a value takes the place of
one that is not read any more, be it a source, a result that is still to come, or another value.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import DTYPE_NAMES
from kernels.pieces.broadcast import COLUMN, NUMBER, ROW, SAME
from kernels.rules import item_bytes

MOST_SOURCES, MOST_RESULTS, MOST_STEPS, MOST_SPARE = 6, 3, 12, 6
FIRST_RESULT, FIRST_SPARE, CONSTANT = MOST_SOURCES, MOST_SOURCES + MOST_RESULTS, 15
"""Places: sources, results, spare arrays; the last number stands for the constant of a step."""

BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
UNARY = ("exp", "log", "reciprocal", "rsqrt", "sqrt", "abs", "relu", "neg", "square", "logical_not")
"""In the order of `kernels.lang.flat`, `kernels.pieces.sides` and `kernels.elementwise`."""
FIRST_BINARY, FIRST_COMPARISON, FIRST_UNARY, CAST, RELU_GRAD, SELECT = 1, 8, 16, 32, 33, 34
CODES: Mapping[str, int] = {
    **{name: FIRST_BINARY + code for code, name in enumerate(BINARY)},
    **{name: FIRST_COMPARISON + code for code, name in enumerate(COMPARISONS)},
    **{name: FIRST_UNARY + code for code, name in enumerate(UNARY)},
    "cast": CAST, "relu_grad": RELU_GRAD, "select": SELECT,
}  # fmt: skip
"""Steps by the names of the kernels that compute one of them alone."""
NAMES = {code: name for name, code in CODES.items()}
PATTERNS = {SAME: "", NUMBER: "[1]", ROW: "[row]", COLUMN: "[column]"}
CODE_BITS, TYPE_BITS, PLACE_BITS = 6, 2, 4
FROM_AT, TO_AT = CODE_BITS + TYPE_BITS, CODE_BITS + 2 * TYPE_BITS
A_AT = TO_AT + PLACE_BITS
B_AT, C_AT, CONSTANT_AT = A_AT + PLACE_BITS, A_AT + 2 * PLACE_BITS, A_AT + 3 * PLACE_BITS
"""Where the fields of a step begin: its arguments' type, places of the value and of up to three arguments,
the constant's bits. The operation comes first, then the type; a step is never 0."""

Argument = str | float


@dataclass(frozen=True)
class Source:
    """An array that an expression reads: its element type, and how it is broadcast."""

    dtype: int
    pattern: int = SAME


@dataclass(frozen=True)
class Step:
    """One operation: the name of its kernel, arguments (names, or a number), the type of its value."""

    op: str
    arguments: tuple[Argument, ...]
    dtype: int


@dataclass(frozen=True)
class Expression:
    """What a fused kernel computes; the value of step i is called ti, and `results` lists some of them."""

    sources: tuple[Source, ...]
    steps: tuple[Step, ...]
    results: tuple[str, ...]

    def type_of(self, name: str) -> int:
        """Return the element type of a source or a value."""
        number = int(name[1:])
        return self.sources[number].dtype if name[0] == "x" else self.steps[number].dtype

    def last_use(self, name: str) -> int:
        """Return the last step that reads a value; results are kept to the end, unread ones die at once."""
        if name in self.results:
            return len(self.steps)
        return max((i for i, step in enumerate(self.steps) if name in step.arguments), default=-1)

    def __str__(self) -> str:
        """Print as `x0 fp16, x1 fp16[1]: t0 = mul(x0, x1); y0 = relu(t0)`."""
        called = {f"t{i}": f"t{i}" for i in range(len(self.steps))}
        called |= {name: f"y{i}" for i, name in enumerate(self.results)}
        sources = (f"x{i} {DTYPE_NAMES[s.dtype]}{PATTERNS[s.pattern]}" for i, s in enumerate(self.sources))
        lines = (f"{called[f't{i}']} = {_call(step, called)}" for i, step in enumerate(self.steps))
        return f"{', '.join(sources)}: {'; '.join(lines)}"


def _call(step: Step, called: Mapping[str, str]) -> str:
    """Print the right-hand side of a step."""
    given = [called.get(a, a) if isinstance(a, str) else str(np.float32(a)) for a in step.arguments]
    return f"{step.op}({', '.join(given + [DTYPE_NAMES[step.dtype]] * (step.op == 'cast'))})"


class TooLong(BadShape):
    """An expression that has more of something than a fused kernel takes."""


@lru_cache(maxsize=4096)
def assemble(expression: Expression) -> dict[str, int]:
    """Return an expression as the fields of a fused kernel's shape.

    Raises:
        TooLong: it has more sources, steps, results or living values than there is room for.
    """
    kinds = (("sources", MOST_SOURCES), ("steps", MOST_STEPS), ("results", MOST_RESULTS))
    for name, most in kinds:
        require_room(name, len(getattr(expression, name)), most)
    scan = _Scan(expression)
    steps = {f"s{i}": scan.step(i, step) for i, step in enumerate(expression.steps)}
    sources = sum((s.dtype | s.pattern << 2) << 4 * i for i, s in enumerate(expression.sources))
    results = sum(expression.type_of(name) << 2 * i for i, name in enumerate(expression.results))
    spare = sum((size > 2) << i for i, size in enumerate(scan.spare))
    return {
        "sources": len(expression.sources) | sources << 3,
        "results": len(expression.results) | results << 2,
        "spare": len(scan.spare) | spare << 3,
        **steps,
    }


def require_room(what: str, needed: int, most: int) -> None:
    """Raise TooLong if there are more of something than there may be."""
    if needed > most:
        raise TooLong(
            f"kernel fused: {needed} {what}\n  rule: an expression has at most {most}\n"
            "  next: cut it into two"
        )


class _Scan:
    """Places of the values of an expression, handed out from the first step to the last."""

    def __init__(self, expression: Expression) -> None:
        self.expression = expression
        self.at = {f"x{i}": i for i in range(len(expression.sources))}
        self.at[""] = 0
        self.busy = {i: expression.last_use(f"x{i}") for i in range(len(expression.sources))}
        """Place -> the last step that needs what lies there."""
        self.spare: list[int] = []
        """Bytes of an element of each spare array."""
        for i, source in enumerate(expression.sources):
            if source.pattern != SAME:
                self.busy[i] = len(expression.steps)

    def step(self, number: int, step: Step) -> int:
        """Return a step as an integer, its value placed."""
        names = [each if isinstance(each, str) else "" for each in step.arguments]
        places = [self.at[name] if name else CONSTANT for name in names]
        source = next((self.expression.type_of(name) for name in names if name), step.dtype)
        home = self._home(number, step, places)
        self.at[f"t{number}"] = home
        self.busy[home] = max(number, self.expression.last_use(f"t{number}"))
        fields = CODES[step.op] | step.dtype << CODE_BITS | source << FROM_AT | home << TO_AT
        for at, place in zip((A_AT, B_AT, C_AT), places, strict=False):
            fields |= place << at
        constant = next((each for each in step.arguments if not isinstance(each, str)), 0.0)
        return fields | bits_of(constant) << CONSTANT_AT

    def _home(self, number: int, step: Step, places: list[int]) -> int:
        """Return where the value of a step goes: a result's own place, or the first that is free."""
        name = f"t{number}"
        if name in self.expression.results:
            return FIRST_RESULT + self.expression.results.index(name)
        size, last = item_bytes(step.dtype), self.expression.last_use(name)
        for place in self._places():
            if self._bytes(place) >= size and self._is_free(place, number, last, step, places):
                return place
        self.spare.append(max([size, *(item_bytes(each.dtype) for each in self.expression.steps)]))
        require_room("spare arrays", len(self.spare), MOST_SPARE)
        return FIRST_SPARE + len(self.spare) - 1

    def _places(self) -> list[int]:
        """Return the places that there are, those that cost nothing first."""
        sources, results = len(self.expression.sources), len(self.expression.results)
        spare = range(FIRST_SPARE, FIRST_SPARE + len(self.spare))
        return [*range(FIRST_RESULT, FIRST_RESULT + results), *range(sources), *spare]

    def _bytes(self, place: int) -> int:
        if place >= FIRST_SPARE:
            return self.spare[place - FIRST_SPARE]
        if place >= FIRST_RESULT:
            return item_bytes(self.expression.type_of(self.expression.results[place - FIRST_RESULT]))
        return item_bytes(self.expression.sources[place].dtype)

    def _is_free(self, place: int, number: int, last: int, step: Step, places: list[int]) -> bool:
        """Tell whether a value that is read up to the step `last` may lie in a place."""
        if place in range(FIRST_RESULT, FIRST_SPARE):
            result = self.expression.results[place - FIRST_RESULT]
            made = int(result[1:])
            if last > made or (last == made and not in_place(self.expression.steps[made], f"t{number}")):
                return False
        until = self.busy.get(place, -1)
        shares = place in places
        return until < number or (until == number and shares and in_place(step, self._lies(place)))

    def _lies(self, place: int) -> str:
        """Return the newest value that lies in a place."""
        return next(name for name, at in reversed(self.at.items()) if at == place and name)


def in_place(step: Step, argument: str) -> bool:
    """Tell whether a step may write its value over an argument.

    Casts change the length of what they write, and where a chip has no division a quotient is written in two
    steps, of which the second reads the dividend.
    """
    return step.op != "cast" and not (step.op == "div" and step.arguments[0] == argument)


def bits_of(number: float) -> int:
    """Return the bits of a number in fp32.

    >>> hex(bits_of(1.0))
    '0x3f800000'
    """
    return int(struct.unpack("<I", struct.pack("<f", number))[0])


def number_of(bits: int) -> float:
    """Return the number of fp32 that has these bits."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def field(step: int, at: int, bits: int = PLACE_BITS) -> int:
    """Return a field of a step."""
    return step >> at & (1 << bits) - 1


ARITY: Mapping[str, int] = {
    **dict.fromkeys((*BINARY, *COMPARISONS, "relu_grad"), 2),
    **dict.fromkeys((*UNARY, "cast"), 1),
    "select": 3,
}
"""Arguments of each operation."""


@lru_cache(maxsize=4096)
def disassemble(sources: int, results: int, steps: tuple[int, ...]) -> Expression:
    """Return the expression that integers stand for.

    Raises:
        BadShape: they stand for none.
    """
    given = [sources >> 3 + 4 * i & 15 for i in range(sources & 7)]
    read = tuple(Source(code & 3, code >> 2) for code in given)
    lies = {i: f"x{i}" for i in range(len(read))}
    found = []
    for number, step in enumerate(steps):
        op = NAMES.get(field(step, 0, CODE_BITS), "")
        places = [field(step, at) for at in (A_AT, B_AT, C_AT)[: ARITY.get(op, 0)]]
        if not op or any(place not in lies and place != CONSTANT for place in places):
            raise BadShape(
                f"kernel fused: s{number}={step}\n  rule: steps are what `assemble` makes of them\n"
                "  next: use the fields of `kernels.tiling.expression.assemble`"
            )
        constant = number_of(step >> CONSTANT_AT & 0xFFFFFFFF)
        arguments = tuple(constant if place == CONSTANT else lies[place] for place in places)
        found.append(Step(op, arguments, field(step, CODE_BITS, TYPE_BITS)))
        lies[field(step, TO_AT)] = f"t{number}"
    made = tuple(lies.get(FIRST_RESULT + i, "") for i in range(results & 3))
    return Expression(read, tuple(found), made)
