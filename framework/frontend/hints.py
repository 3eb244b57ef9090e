"""What to write instead of Python that is not compiled: node class -> (its name, advice)."""

STATEMENT_HINTS: dict[str, tuple[str, str]] = {
    "With": ("`with`", "enter the context outside the compiled function"),
    "Try": ("`try`", "handle errors outside the compiled function"),
    "Match": ("`match`", "if and elif"),
    "Import": ("`import`", "import at the top of the file"),
    "ImportFrom": ("`import`", "import at the top of the file"),
    "Global": ("`global`", "return the value"),
    "Nonlocal": ("`nonlocal`", "return the value"),
    "ClassDef": ("`class`", "define the class at the top of the file"),
    "AsyncFunctionDef": ("`async`", "a plain function"),
    "AsyncFor": ("`async`", "a plain `for`"),
    "AsyncWith": ("`async`", "enter the context outside the compiled function"),
}

EXPRESSION_HINTS: dict[str, tuple[str, str]] = {
    "Set": ("a set", "a tuple"),
    "Yield": ("`yield`", "return a tuple"),
    "YieldFrom": ("`yield from`", "return a tuple"),
    "Await": ("`await`", "a plain function"),
}
