"""What to write instead of Python that is not compiled: node class -> (its name, advice)."""

STATEMENT_HINTS: dict[str, tuple[str, str]] = {
    "With": ("`with`", "enter the context outside the compiled function"),
    "Try": ("`try`", "test with `if` what may go wrong, or handle errors outside the compiled function"),
    "TryStar": ("`try`", "test with `if` what may go wrong, or handle errors outside the compiled function"),
    "Match": ("`match`", "if and elif"),
    "Import": ("`import`", "import at the top of the file"),
    "ImportFrom": ("`import`", "import at the top of the file"),
    "Global": ("`global`", "return the value"),
    "Nonlocal": ("`nonlocal`", "return the value"),
    "ClassDef": ("`class`", "define the class at the top of the file"),
    "TypeAlias": ("`type`", "define the type at the top of the file"),
    "AsyncFunctionDef": ("`async def`", "a plain function, def"),
    "AsyncFor": ("`async for`", "a plain `for`"),
    "AsyncWith": ("`async with`", "enter the context outside the compiled function"),
}

EXPRESSION_HINTS: dict[str, tuple[str, str]] = {
    "Set": ("a set", "a tuple"),
    "Yield": ("`yield`", "return a tuple, or let the caller pass a function"),
    "YieldFrom": ("`yield from`", "return a tuple, or let the caller pass a function"),
    "Await": ("`await`", "a plain call"),
    "TemplateStr": ("a template string", "an f-string in assert or raise"),
}

STATEMENTS = "assignments, if, while, for, def, return, assert and raise"
EXPRESSIONS = "arithmetic, comparisons, calls, tuples, lists, dicts, indices and attributes"
"""What to write instead of a statement, or an expression, that nothing better is known for."""
