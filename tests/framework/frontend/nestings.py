"""All nestings of if, while, for, closure and recursion up to three deep, with each way to leave inside.

A nesting is a path from the outside to the inside and a leaf; `source` writes it as Python in which all tests
and numbers of turns depend on the arguments. `x` is what statements change, `y` what functions close over.
"""

from __future__ import annotations

import ast
import itertools
import textwrap

from tests.framework.frontend.programs import made

LOOPS, FUNCTIONS = ("while", "for"), ("closure", "recursion")
CONSTRUCTS = ("if", *LOOPS, *FUNCTIONS)
LEAVES = ("assign", "break", "continue", "return")
TESTS = ("x > 0.4", "x * y < 0.3", "n == 1 or x > y")  # by depth
INPUTS = (
    (0.32, 0.8, 3), (1.3, -0.5, 2), (-0.65, 1.1, 1), (0.5, 0.1, 0), (0.1, 0.35, 4), (-1.2, -0.4, 3),
    (0.9, 0.7, 1), (0.8, 0.95, 2), (0.6, -0.3, 3), (0.45, 0.6, 2), (0.5, -0.4, 1),
)  # fmt: skip
"""x, y and n with which every statement of every nesting runs, and every one that may be passed by is.

None of them comes closer than 4e-5 to where a condition changes."""

TEXTS = {
    "if": """
if {test}:
    {body}
else:
    x = ops.sin(x) - 0.2 * y
""",
    "while": """
w{depth} = 0
while w{depth} < n and x * x < 9.0:
    w{depth} += 1
    {body}
    x = x * 0.7 + y * 0.5
""",
    "for": """
for i{depth} in range(n):
    {body}
    x = x * 0.7 + ops.cos(y) * i{depth}
""",
    "closure": """
k{depth} = x * y
def f{depth}(x):
    {body}
    return x + k{depth} * 0.3
x = ops.sin(f{depth}(x * 0.9)) * 1.5
""",
    "recursion": """
def r{depth}(x, m):
    if m == 0:
        return x * y
    {body}
    return ops.sin(r{depth}(x * 0.8, m - 1)) + 0.2 * x
x = r{depth}(x + 0.1, n)
""",
    "assign": "x = x * 1.1 + ops.tanh(y)",
    "break": "x = x - y\nbreak",
    "continue": "x = x * 0.6 - 0.3\ncontinue",
    "return": "return x * 0.5 + y",
}


def is_legal(path, leaf):
    """Tell whether Python allows a leaf: `break` and `continue` need a loop in the same function."""
    if leaf not in ("break", "continue"):
        return True
    around = [construct for construct in path if construct != "if"]
    return bool(around) and around[-1] in LOOPS


def nestings(depths=(1, 2, 3)):
    """Return every legal (path, leaf) of some depths."""
    paths = [path for depth in depths for path in itertools.product(CONSTRUCTS, repeat=depth)]
    return [(path, leaf) for path in paths for leaf in LEAVES if is_legal(path, leaf)]


def block(path, leaf, depth=0):
    """Return the statements of a nesting from some depth inwards; who leaves does so under a condition."""
    if depth < len(path):
        body = indented(block(path, leaf, depth + 1)).lstrip()
        return TEXTS[path[depth]].strip().format(test=TESTS[depth], depth=depth, body=body)
    if leaf == "assign" or path[-1] == "if":
        return TEXTS[leaf]
    return f"if x + y > 0.7:\n{indented(TEXTS[leaf])}"


def indented(text):
    """Return a block one level further in."""
    return textwrap.indent(text, "    ")


def source(path, leaf):
    """Return the source of a nesting as `program(x, y, n)`."""
    return f"def program(x, y, n):\n{indented(block(path, leaf))}\n    return x * x + y\n"


def program(path, leaf, ops):
    """Return a nesting as a function that takes its sines from `ops`."""
    return made(source(path, leaf), {"ops": ops})


def name(path, leaf):
    """Return how tests call a nesting."""
    return "-".join((*path, leaf))


def paths_of(node, path=()):
    """Yield the constructs around each statement and function of a syntax tree, itself the last."""
    for child in ast.iter_child_nodes(node):
        inner = path + kinds_of(child)
        yield inner
        yield from paths_of(child, inner)


def kinds_of(node):
    """Return the construct that a node is as a path; a function that calls itself is a recursion."""
    if isinstance(node, ast.FunctionDef) and node.name != "program":
        calls = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
        return ("recursion",) if node.name in calls else ("closure",)
    return (KINDS[type(node)],) if type(node) in KINDS else ()


KINDS = {
    ast.If: "if", ast.While: "while", ast.For: "for", ast.Lambda: "closure",
    ast.Break: "break", ast.Continue: "continue", ast.Return: "return",
}  # fmt: skip
