"""Random programs: Python source with conditions, loops, functions and recursion, nested in each other."""

from __future__ import annotations

import linecache
import textwrap
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

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

    def block(self, depth: int, in_loop: bool, in_function: bool = False) -> str:
        """Return some statements."""
        count = self.draw(st.integers(1, 3))
        return "\n".join(self.statement(depth, in_loop, in_function) for _ in range(count))

    def statement(self, depth: int, in_loop: bool, in_function: bool) -> str:
        """Return one statement, with others inside of it down to a depth."""
        plain: list[Callable[[], str]] = [self.assignment, self.assignment, self.counting]
        if in_loop or depth < 3:
            plain.append(lambda: self.leaving(in_loop, in_function))
        nested: list[Callable[[], str]] = [
            lambda: self.condition(depth, in_loop, in_function),
            lambda: self.counted(depth, in_function),
            lambda: self.repeated(depth, in_function),
            lambda: self.function(depth),
            self.recursion,
            self.chosen_function,
            self.composed_functions,
            self.structure,
        ]
        written: str = self.draw(st.sampled_from(plain + (nested if depth else [])))()
        return written

    def assignment(self) -> str:
        """Assign one or two floats."""
        name, value = self.pick(FLOATS), self.pick(VALUES)
        forms = ("{0} = {1}", "{0} += {1}", "{0} = ops.sin({1} + {0})", "a, c = {1}, a * 0.5")
        return self.pick(forms).format(name, value)

    def counting(self) -> str:
        """Assign the integer."""
        return f"k = {self.pick(INTEGERS)}"

    def leaving(self, in_loop: bool, in_function: bool) -> str:
        """Leave under a condition."""
        result = "return a * b + k" if in_function else "return a, b, c, k"
        ways = ("break", "continue", result) if in_loop else (result,)
        return f"if {self.pick(CONDITIONS)}:\n    {self.pick(ways)}"

    def condition(self, depth: int, in_loop: bool, in_function: bool) -> str:
        """Write an `if`."""
        text = f"if {self.pick(CONDITIONS)}:\n{indented(self.block(depth - 1, in_loop, in_function))}"
        if self.draw(st.booleans()):
            text += (
                f"\nelif {self.pick(CONDITIONS)}:\n{indented(self.block(depth - 1, in_loop, in_function))}"
            )
        if self.draw(st.booleans()):
            text += f"\nelse:\n{indented(self.block(depth - 1, in_loop, in_function))}"
        return text

    def counted(self, depth: int, in_function: bool) -> str:
        """Write a `for`."""
        name = self.fresh("i")
        over = self.pick(OVER)
        body = f"k = k + {name}\n{self.block(depth - 1, True, in_function)}"
        return f"for {name} in {over}:\n{indented(body)}{self.otherwise(depth, in_function)}"

    def repeated(self, depth: int, in_function: bool) -> str:
        """Write a `while` of at most four turns."""
        name = self.fresh("w")
        body = f"{name} += 1\n{self.block(depth - 1, True, in_function)}"
        also = self.draw(st.sampled_from(["", f" and {self.pick(CONDITIONS)}"]))
        test = f"{name} < 4{also}"
        return f"{name} = 0\nwhile {test}:\n{indented(body)}{self.otherwise(depth, in_function)}"

    def otherwise(self, depth: int, in_function: bool) -> str:
        """Write the `else` of a loop, or nothing."""
        if self.draw(st.integers(0, 3)):
            return ""
        return f"\nelse:\n{indented(self.assignment())}"

    def function(self, depth: int) -> str:
        """Write a function that sees names around it, and a call of it."""
        name = self.fresh("f")
        body = f"c = a * 0.5 + b * 0.1\nk = {self.pick(('1', 'n', 'p'))}\n"
        body += f"{self.block(depth - 1, False, True)}\nreturn a - c * b"
        default = self.pick(("2", "n"))
        value = self.pick(("a", "b * 0.5"))
        head = f"def {name}(a, b, p={default}):\n{indented(body)}"
        return f"{head}\nc = ops.sin({name}({value}, c))"

    def recursion(self) -> str:
        """Write a function that calls itself, and a call of it."""
        name = self.fresh("r")
        test, value = self.pick(CONDITIONS), self.pick(("c * 0.5 + b", "ops.sin(c)", "c - a"))
        body = "if m <= 0:\n    return c\n"
        body += f"if {test}:\n    return {name}({value}, m - 1) * 0.5\n"
        body += f"return {name}(c * 0.7, m - {self.pick(('1', '2'))}) + a"
        return (
            f"def {name}(c, m):\n{indented(body)}\nb = ops.sin({name}(b, {self.pick(('3', 'n', 'n + 1'))}))"
        )

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


def indented(text: str) -> str:
    """Return a block one level further in."""
    return textwrap.indent(text, "    ")


@st.composite
def sources(draw: Any, depth: int = 3) -> str:
    """The source of a function `program(a, b, n)` of two scalars and an int."""
    writer = Writer(draw)
    body = "\n".join(writer.block(depth, False) for _ in range(draw(st.integers(1, 2))))
    return HEAD + indented(body) + "\n    return a, b, c, k\n"


COUNT = iter(range(1_000_000_000))


def made(source: str, around: dict[str, Any]) -> Any:
    """Return the function of a source, which can be read back as that of a file can."""
    file = f"<program {next(COUNT)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names = dict(around)
    exec(compile(source, file, "exec"), names)
    return names["program"]
