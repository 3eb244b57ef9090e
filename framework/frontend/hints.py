"""What to write instead of Python that is not compiled: node class -> (its name, advice)."""

_STRAIGHT = "compiled code is straight-line for now"

STATEMENT_HINTS: dict[str, tuple[str, str]] = {
    "If": (
        "`if`",
        "ops.select for values of tensors, or choose in __init__ or outside the compiled function",
    ),
    "For": ("`for`", f"write the steps out, or use nn.SequentialCell for layers; {_STRAIGHT}"),
    "While": ("`while`", f"write the steps out, or loop outside the compiled function; {_STRAIGHT}"),
    "With": ("`with`", "enter the context outside the compiled function"),
    "Try": ("`try`", "handle errors outside the compiled function"),
    "Raise": ("`raise`", "check arguments outside the compiled function"),
    "Assert": ("`assert`", "check arguments outside the compiled function"),
    "Match": ("`match`", "choose outside the compiled function"),
    "Import": ("`import`", "import at the top of the file"),
    "ImportFrom": ("`import`", "import at the top of the file"),
    "Global": ("`global`", "return the value"),
    "Nonlocal": ("`nonlocal`", "return the value"),
    "Delete": ("`del`", "leave it out; values that nothing uses are dropped"),
    "ClassDef": ("`class`", "define the class at the top of the file"),
    "AsyncFunctionDef": ("`async`", "a plain function"),
    "Break": ("`break`", f"write the steps out; {_STRAIGHT}"),
    "Continue": ("`continue`", f"write the steps out; {_STRAIGHT}"),
}

EXPRESSION_HINTS: dict[str, tuple[str, str]] = {
    "IfExp": ("a conditional expression", "ops.select(condition, x, y) for values of tensors"),
    "BoolOp": ("`and` / `or`", "ops.select, or decide outside the compiled function"),
    "ListComp": ("a comprehension", f"write the elements out; {_STRAIGHT}"),
    "SetComp": ("a comprehension", f"write the elements out; {_STRAIGHT}"),
    "DictComp": ("a comprehension", f"write the elements out; {_STRAIGHT}"),
    "GeneratorExp": ("a generator", f"write the elements out; {_STRAIGHT}"),
    "Dict": ("a dict", "a tuple"),
    "Set": ("a set", "a tuple"),
    "JoinedStr": ("an f-string", "build the text outside the compiled function"),
    "NamedExpr": ("`:=`", "an assignment on a line of its own"),
    "Yield": ("`yield`", "return a tuple"),
    "YieldFrom": ("`yield from`", "return a tuple"),
    "Await": ("`await`", "a plain function"),
}
