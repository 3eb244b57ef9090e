"""Python's whole grammar: each kind of syntax node is compiled, or refused with what to write instead.

A new version of Python with a new kind of node fails here until it is said what becomes of it.
"""

from __future__ import annotations

import ast
import importlib.util

import numpy as np
import pytest

from framework import Tensor, grad, jit
from framework.frontend.source import CompileError

X = Tensor(np.array([1.0, -2.0, 3.0]))

COMPILED = {
    "FunctionDef": "def g(y):\n    return y * 2\nreturn g(x)",
    "Return": "return x",
    "Delete": "y = x\ndel y\nreturn x",
    "Assign": "y = z = x * 2\nreturn y + z",
    "AugAssign": "x += 1\nreturn x",
    "AnnAssign": "y: object = x * 2\nreturn y",
    "For": "for i in range(3):\n    x = x + i\nreturn x",
    "While": "while x[0] < 9:\n    x = x * 2\nreturn x",
    "If": "if x[0] > 0:\n    x = -x\nreturn x",
    "Raise": "if x[0] > 7:\n    raise ValueError('large')\nreturn x",
    "Assert": "assert x[0] < 7\nreturn x",
    "Expr": "'text'\nreturn x",
    "Pass": "pass\nreturn x",
    "Break": "for i in range(3):\n    if x[0] > i:\n        break\n    x = x * 2\nreturn x",
    "Continue": "for i in range(3):\n    if x[0] > i:\n        continue\n    x = x * 2\nreturn x",
    "BoolOp": "return x * 2 if x[0] > 0 and x[1] > 0 else x",
    "NamedExpr": "return (y := x * 2) + y",
    "BinOp": "return x + x",
    "UnaryOp": "return -x",
    "Lambda": "return (lambda y: y * 2)(x)",
    "IfExp": "return x if x[0] > 0 else -x",
    "Dict": "return {'a': x, **{'b': x * 2}}['b']",
    "ListComp": "return [x * i for i in range(3)][2]",
    "SetComp": "return x * len({i // 2 for i in range(4)})",
    "DictComp": "return {i: x * i for i in range(3)}[2]",
    "GeneratorExp": "return sum(x * i for i in range(3))",
    "Compare": "return x if 0 < x[0] < 2 else -x",
    "Call": "return max(x[0], x[1], *[x[2]], **{})",
    "FormattedValue": "assert x[0] < 7, f'{x[0]:.2f}'\nreturn x",
    "JoinedStr": "assert x[0] < 7, f'x is {x}'\nreturn x",
    "Constant": "return x * 2.0",
    "Attribute": "return x * x.shape[0]",
    "Subscript": "return x[0]",
    "Starred": "a, *b = x * 2, x, x\nreturn a + b[1]",
    "Name": "return x",
    "List": "return [x, x * 2][1]",
    "Tuple": "return (x, x * 2)[1]",
    "Slice": "return x[1:]",
    "Load": "return x",
    "Store": "y = x\nreturn y",
    "Del": "y = x\ndel y\nreturn x",
    "And": "return x if x[0] > 0 and x[1] > 0 else -x",
    "Or": "return x if x[0] > 0 or x[1] > 0 else -x",
    "Add": "return x + 2",
    "Sub": "return x - 2",
    "Mult": "return x * 2",
    "MatMult": "return x @ x",
    "Div": "return x / 2",
    "Mod": "return x % 2",
    "Pow": "return x ** 2",
    "LShift": "return x * (1 << 2)",
    "RShift": "return x * (8 >> 2)",
    "BitOr": "return x * (1 | 2)",
    "BitXor": "return x * (1 ^ 2)",
    "BitAnd": "return x * (3 & 2)",
    "FloorDiv": "return x // 2",
    "Invert": "return x * ~2",
    "Not": "return x if not x[0] > 0 else -x",
    "UAdd": "return +x",
    "USub": "return -x",
    "Eq": "return x if x[0] == 1 else -x",
    "NotEq": "return x if x[0] != 1 else -x",
    "Lt": "return x if x[0] < 1 else -x",
    "LtE": "return x if x[0] <= 1 else -x",
    "Gt": "return x if x[0] > 1 else -x",
    "GtE": "return x if x[0] >= 1 else -x",
    "Is": "return x if x is None else -x",
    "IsNot": "return x if x is not None else -x",
    "In": "return x if 2 in (1, 2) else -x",
    "NotIn": "return x if 2 not in (1, 2) else -x",
    "comprehension": "return [x * i for i in range(4) if i > 2][0]",
    "arguments": "def g(a, /, b, *c, d=2, **e):\n    return a + b * d\nreturn g(x, b=x)",
    "arg": "return (lambda y: y)(x)",
    "keyword": "return (lambda y: y)(y=x)",
}

TRY = ("`try`", "test with `if` what may go wrong, or handle errors outside the compiled function")
MATCH = ("`match`", "if and elif")
IMPORT = ("`import`", "import at the top of the file")
WITH = ("`with`", "enter the context outside the compiled function")
ASYNC = ("`async def`", "a plain function, def")
MATCHING = "match x:\n    case {}:\n        return x\nreturn x"
ASYNCHRONOUS = "async def g():\n    {}\nreturn x"

REFUSED = {
    "AsyncFunctionDef": (ASYNCHRONOUS.format("pass"), *ASYNC),
    "ClassDef": ("class A:\n    pass\nreturn x", "`class`", "define the class at the top of the file"),
    "AsyncFor": (ASYNCHRONOUS.format("async for i in x: pass"), *ASYNC),
    "AsyncWith": (ASYNCHRONOUS.format("async with x: pass"), *ASYNC),
    "Await": (ASYNCHRONOUS.format("await x"), *ASYNC),
    "With": ("with x:\n    pass\nreturn x", *WITH),
    "withitem": ("with x as y:\n    pass\nreturn x", *WITH),
    "Try": ("try:\n    pass\nfinally:\n    pass\nreturn x", *TRY),
    "ExceptHandler": ("try:\n    pass\nexcept ValueError:\n    pass\nreturn x", *TRY),
    "TryStar": ("try:\n    pass\nexcept* ValueError:\n    pass\nreturn x", *TRY),
    "Import": ("import math\nreturn x", *IMPORT),
    "ImportFrom": ("from math import pi\nreturn x", *IMPORT),
    "alias": ("import math as m\nreturn x", *IMPORT),
    "Global": ("global y\nreturn x", "`global`", "return the value"),
    "Nonlocal": (
        "y = x\ndef g():\n    nonlocal y\n    y = x\ng()\nreturn x", "`nonlocal`", "return the value",
    ),
    "Set": ("y = {1, 2}\nreturn x", "a set", "a tuple"),
    "Yield": ("yield x", "`yield`", "return a tuple, or let the caller pass a function"),
    "YieldFrom": ("yield from x", "`yield from`", "return a tuple, or let the caller pass a function"),
    "Match": (MATCHING.format("_"), *MATCH),
    "match_case": (MATCHING.format("y if True"), *MATCH),
    "MatchValue": (MATCHING.format("1"), *MATCH),
    "MatchSingleton": (MATCHING.format("None"), *MATCH),
    "MatchSequence": (MATCHING.format("[a, b]"), *MATCH),
    "MatchMapping": (MATCHING.format("{'a': b}"), *MATCH),
    "MatchClass": (MATCHING.format("int()"), *MATCH),
    "MatchStar": (MATCHING.format("[*a]"), *MATCH),
    "MatchAs": (MATCHING.format("1 as a"), *MATCH),
    "MatchOr": (MATCHING.format("1 | 2"), *MATCH),
    "TypeAlias": ("type A = int\nreturn x", "`type`", "define the type at the top of the file"),
    "TemplateStr": ("y = t'{x}'\nreturn x", "a template string", "an f-string in assert or raise"),
    "Interpolation": ("y = t'{x}'\nreturn x", "a template string", "an f-string in assert or raise"),
}  # fmt: skip

OUTSIDE = {"Module", "Interactive", "Expression", "FunctionType", "TypeIgnore"}
"""Nodes around programs, or of types in comments."""
ANNOTATIONS = {"TypeVar", "ParamSpec", "TypeVarTuple"}
"""Nodes of the parameters of generic functions, which mean nothing to compiled code."""
OLD = {
    "Num", "Str", "Bytes", "NameConstant", "Ellipsis", "Index", "ExtSlice", "Suite", "AugLoad", "AugStore",
    "Param",
}  # fmt: skip
"""Nodes of earlier versions, which no parser makes any more."""


def kinds() -> list[str]:
    """Return the names of all kinds of nodes that there are."""
    found = [each for each in vars(ast).values() if isinstance(each, type) and issubclass(each, ast.AST)]
    abstract = {base for each in found for base in each.__bases__} - {ast.Constant}
    return sorted({each.__name__ for each in found if each not in abstract})


def function_of(tmp_path, source):
    """Return the function f(x) with a body, from a file, and the file."""
    body = "\n".join(f"    {line}" for line in source.splitlines())
    file = tmp_path / "program.py"
    file.write_text(f"def f(x):\n{body}\n")
    spec = importlib.util.spec_from_file_location(f"program_{abs(hash(source))}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.f, file


def test_every_kind_of_node_is_compiled_or_refused():
    """None is forgotten, none stands twice."""
    known = {*COMPILED, *REFUSED, *OUTSIDE, *ANNOTATIONS, *OLD}
    assert set(kinds()) <= known
    assert not set(COMPILED) & set(REFUSED)


@pytest.mark.parametrize("kind", sorted(set(COMPILED) & set(kinds())))
def test_compiled_syntax_means_what_it_means_in_python(tmp_path, kind):
    """The program has a node of the kind; its value is that of Python."""
    f, file = function_of(tmp_path, COMPILED[kind])
    tree = ast.parse(file.read_text())
    assert any(type(node).__name__ == kind for node in ast.walk(tree))
    np.testing.assert_allclose(jit(f)(X).numpy(), np.asarray(f(X)))


@pytest.mark.parametrize("way", [jit, grad], ids=["jit", "grad"])
@pytest.mark.parametrize("kind", sorted(set(REFUSED) & set(kinds())))
def test_other_syntax_is_refused_by_one_message(tmp_path, kind, way):
    """What it is, file and line, the source with a caret, and what to write instead."""
    source, what, instead = REFUSED[kind]
    f, file = function_of(tmp_path, source)
    with pytest.raises(CompileError) as caught:
        way(f)(X)
    head, place, line, caret, advice = str(caught.value).splitlines()
    assert (head, advice) == (f"{what} is not supported in compiled code", f"  instead: {instead}")
    name, number = place.rsplit(":", maxsplit=1)
    text = file.read_text().splitlines()[int(number) - 1].strip()
    assert (name.strip(), line.strip()) == (str(file), text)
    column = caret.index("^") - 4
    assert what.startswith("a ") or what.strip("`").split()[0] in text[column:]
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_coroutine_or_generator_is_refused_as_the_whole_function(tmp_path):
    """As it is inside of one."""
    _, file = function_of(tmp_path, "pass")
    file.write_text("async def f(x):\n    return x\n")
    spec = importlib.util.spec_from_file_location("coroutine", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(CompileError) as caught:
        jit(module.f)(X)
    assert str(caught.value) == (
        f"`async def` is not supported in compiled code\n  {file}:1\n    async def f(x):\n    ^\n"
        "  instead: a plain function, def"
    )
