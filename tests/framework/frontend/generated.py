"""Random programs: Python source with conditions, loops, functions and recursion, nested in each other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.framework.frontend.nestings import CONSTRUCTS, indented, nestings

HEAD = """
def program(a, b, n):
    k = 0
    c = a * 0.5
"""
FLOATS = ("a", "b", "c")
CONDITIONS = (
    "a > 0.1", "b < c", "n > 2", "k % 3 == 1", "a * b > -0.2 and k < 4", "not c > 0.4 or n == 1",
    "0 < k < 5", "k > 100", "n % 2 == 0",
)  # fmt: skip
VALUES = (
    "ops.sin(a) + b * 0.5", "a * b - c", "ops.tanh(c) + k * 0.1", "b - 0.25", "a / (b * b + 1.0)",
    "ops.cos(a + k)", "c * 0.5 if b > 0.2 else a", "(a, b, c)[k % 3] * 0.5", "min(a, b) + max(c, 0.1)",
    "c", "a * 0.9 ** 2",
)  # fmt: skip
OVER = ("range(3)", "range(n)", "range(k % 4)", "range(n, 0, -1)", "(1, 3, 5)", "reversed(range(3))")
INTEGERS = ("k + 1", "k * 2 % 7", "(k + n) // 2", "n - k if k < n else k", "abs(k - 3)")


class Place(NamedTuple):
    """Where statements stand: what may leave there, how deep blocks may go on, and what must stand inside."""

    depth: int
    spine: tuple[str, ...] = ()
    in_loop: bool = False
    in_function: bool = False

    def inside(self, **changes: Any) -> Place:
        """Return the place of a block inside of the first statement of the spine, or of one beside it."""
        return self._replace(depth=self.depth - 1, spine=self.spine[1:], **changes)


class Writer:
    """Writes one program; `names` numbers what has to be told apart."""

    def __init__(self, draw: Any) -> None:
        """Take the choices from Hypothesis."""
        self.draw = draw
        self.names = 0

    def pick(self, options: tuple[str, ...]) -> str:
        """Choose one."""
        return str(self.draw(st.sampled_from(options)))

    def fresh(self, prefix: str) -> str:
        """Return a name that is not taken."""
        self.names += 1
        return f"{prefix}{self.names}"

    def block(self, place: Place) -> str:
        """Return some statements; one of them is the next of the spine, if there is one."""
        beside = place._replace(spine=())
        count = self.draw(st.integers(0 if place.spine else 1, 2))
        written = [self.statement(beside) for _ in range(count)]
        if place.spine:
            written.insert(self.draw(st.integers(0, count)), self.nested(place.spine[0], place))
        return "\n".join(written)

    def statement(self, place: Place) -> str:
        """Return one statement, with others inside of it down to a depth."""
        plain: list[Callable[[], str]] = [self.assignment, self.assignment, self.counting]
        if place.in_loop or place.in_function:
            plain.append(lambda: self.leaving(place))
        further: list[Callable[[], str]] = [
            *(functools.partial(self.nested, kind, place) for kind in CONSTRUCTS),
            self.chosen_function,
            self.composed_functions,
            self.structure,
        ]
        written: str = self.draw(st.sampled_from(plain + (further if place.depth else [])))()
        return written

    def nested(self, kind: str, place: Place) -> str:
        """Write a construct, or a way to leave, with what must stand inside of it."""
        writers = {
            "if": self.condition, "while": self.repeated, "for": self.counted, "closure": self.function,
            "recursion": self.recursion,
        }  # fmt: skip
        if kind in writers:
            return writers[kind](place)
        return self.assignment() if kind == "assign" else self.leaving(place, kind)

    def assignment(self) -> str:
        """Assign one or two floats."""
        name, value = self.pick(FLOATS), self.pick(VALUES)
        forms = ("{0} = {1}", "{0} += {1}", "{0} = ops.sin({1} + {0})", "a, c = {1}, a * 0.5")
        return self.pick(forms).format(name, value)

    def counting(self) -> str:
        """Assign the integer."""
        return f"k = {self.pick(INTEGERS)}"

    def leaving(self, place: Place, way: str = "") -> str:
        """Leave under a condition."""
        way = way or self.pick(("break", "continue", "return") if place.in_loop else ("return",))
        if way == "return":
            way = "return a * b + k" if place.in_function else "return a, b, c, k"
        return f"if {self.pick(CONDITIONS)}:\n    {way}"

    def condition(self, place: Place) -> str:
        """Write an `if`."""
        text = f"if {self.pick(CONDITIONS)}:\n{indented(self.block(place.inside()))}"
        beside = place._replace(depth=place.depth - 1, spine=())
        if self.draw(st.booleans()):
            text += f"\nelif {self.pick(CONDITIONS)}:\n{indented(self.block(beside))}"
        if self.draw(st.booleans()):
            text += f"\nelse:\n{indented(self.block(beside))}"
        return text

    def counted(self, place: Place) -> str:
        """Write a `for`."""
        name = self.fresh("i")
        over = self.pick(OVER)
        body = f"k = k + {name}\n{self.block(place.inside(in_loop=True))}"
        return f"for {name} in {over}:\n{indented(body)}{self.otherwise()}"

    def repeated(self, place: Place) -> str:
        """Write a `while` of at most four turns."""
        name = self.fresh("w")
        body = f"{name} += 1\n{self.block(place.inside(in_loop=True))}"
        also = self.draw(st.sampled_from(["", f" and ({self.pick(CONDITIONS)})"]))
        test = f"{name} < 4{also}"
        return f"{name} = 0\nwhile {test}:\n{indented(body)}{self.otherwise()}"

    def otherwise(self) -> str:
        """Write the `else` of a loop, or nothing."""
        if self.draw(st.integers(0, 3)):
            return ""
        return f"\nelse:\n{indented(self.assignment())}"

    def function(self, place: Place) -> str:
        """Write a function that sees names around it, and a call of it."""
        name = self.fresh("f")
        body = f"c = a * 0.5 + b * 0.1\nk = {self.pick(('1', 'n', 'p'))}\n"
        body += f"{self.block(place.inside(in_loop=False, in_function=True))}\nreturn a - c * b"
        default = self.pick(("2", "n"))
        value = self.pick(("a", "b * 0.5"))
        head = f"def {name}(a, b, p={default}):\n{indented(body)}"
        return f"{head}\nc = ops.sin({name}({value}, c))"

    def recursion(self, place: Place) -> str:
        """Write a function that calls itself, and a call of it."""
        name = self.fresh("r")
        test, value = self.pick(CONDITIONS), self.pick(("c * 0.5 + b", "ops.sin(c)", "c - a"))
        body = f"c = a * 0.5 - b\nk = {self.pick(('m', 'n'))}\nif m <= 0:\n    return c\n"
        body += f"{self.block(place.inside(in_loop=False, in_function=True))}\n"
        body += f"if {test}:\n    return {name}({value}, b, m - 1) * 0.5\n"
        body += f"return ops.sin({name}(c * 0.7, a, m - {self.pick(('1', '2'))})) + a"
        call = f"{name}(b, a, {self.pick(('2', '3', 'n'))})"
        return f"def {name}(a, b, m):\n{indented(body)}\nb = ops.sin({call})"

    def chosen_function(self) -> str:
        """Write a variable that holds one of three functions, and calls of it."""
        name = self.fresh("g")
        others = f"lambda y: y * a + k\n{name} = {name} if {self.pick(CONDITIONS)} else lambda y: y - b"
        text = f"{name} = ops.sin if {self.pick(CONDITIONS)} else {others}"
        return f"{text}\nb = ops.tanh({name}(b))\na = {name}(c * 0.5)"

    def composed_functions(self) -> str:
        """Write a loop that builds a function from the one before, and a call of it."""
        name, turn = self.fresh("g"), self.fresh("i")
        over, test = self.pick(OVER), self.pick(CONDITIONS)
        update = f"{name} = lambda y, g={name}, i={turn}: ops.sin(g(y)) * 0.5 + i * a"
        if self.draw(st.booleans()):
            update = f"if {test}:\n{indented(update)}\nk += 1"
        return f"{name} = lambda y: y + b\nfor {turn} in {over}:\n{indented(update)}\nc = ops.sin({name}(c))"

    def structure(self) -> str:
        """Write a loop over a structure."""
        name, turn = self.fresh("s"), self.fresh("i")
        body = (
            f'{name} = ({name}[1]["x"] * 0.5, {{"x": {name}[0] + {turn}, "y": [{name}[1]["y"][0] + 1, a]}})'
        )
        if self.draw(st.booleans()):
            body += f"\nif {self.pick(CONDITIONS)}:\n    {self.pick(('break', 'continue'))}\nk += 1"
        text = f'{name} = (a, {{"x": b, "y": [k, c]}})\nfor {turn} in {self.pick(OVER)}:\n{indented(body)}'
        return f'{text}\na, c, k = {name}[0], {name}[1]["x"] * 0.1, {name}[1]["y"][0]'


@st.composite
def sources(draw: Any, outside: tuple[str, ...] = (), depth: int = 3) -> str:
    """The source of a function `program(a, b, n)` of two scalars and an int.

    It is written around one of all nestings of a depth that begin with the constructs `outside`.
    """
    around = [each for each in nestings((depth,)) if each[0][: len(outside)] == outside]
    path, leaf = draw(st.sampled_from(around))
    return HEAD + indented(Writer(draw).block(Place(depth, (*path, leaf)))) + "\n    return a, b, c, k\n"
