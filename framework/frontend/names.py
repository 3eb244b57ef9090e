"""What a piece of source assigns and reads: told from its syntax, once per node."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

from framework.frontend.source import Function

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
IN_PLACE = ("append", "extend", "insert", "update")
"""Methods that change a list or a dict: a statement `xs.append(x)` is an assignment to xs."""


def walk_here(node: ast.AST) -> Iterator[ast.AST]:
    """Go over a node and all below it but what nested functions hold, and the targets of comprehensions."""
    yield node
    if isinstance(node, SCOPES):
        return
    inside = ast.iter_child_nodes(node) if not isinstance(node, ast.comprehension) else (node.iter, *node.ifs)
    for child in inside:
        yield from walk_here(child)


@lru_cache(maxsize=4096)
def assigned_by(statement: ast.stmt) -> frozenset[str]:
    """Return the names that a statement may assign, those of nested functions left out."""
    found: set[str] = set()
    for node in walk_here(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            found.update(base_name(node))
        elif is_in_place(node):
            found.update(base_name(node.value.func))  # type: ignore[attr-defined]
    return frozenset(found)


def assigned(statements: Sequence[ast.stmt]) -> set[str]:
    """Return the names that statements may assign."""
    return set().union(*(assigned_by(each) for each in statements))


def is_in_place(node: ast.AST) -> bool:
    """Tell whether a statement changes a list or dict by calling a method, such as `xs.append(x)`."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in IN_PLACE
    )


def base_name(node: ast.expr) -> list[str]:
    """Return the x of `x`, `x[i]`, `x.a[i].b`; nothing when another expression stands there."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return [node.id] if isinstance(node, ast.Name) else []


def names_in(target: ast.expr) -> set[str]:
    """Return the names of an assignment's target."""
    return {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}


@lru_cache(maxsize=4096)
def reads(node: ast.AST) -> Counter[str]:
    """Return how often each name is read in a node, nested functions included."""
    found = Counter(
        each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
    )
    found.update(
        each.target.id
        for each in ast.walk(node)
        if isinstance(each, ast.AugAssign) and isinstance(each.target, ast.Name)
    )
    return found


@lru_cache(maxsize=4096)
def read_in_functions(node: ast.AST) -> frozenset[str]:
    """Return the names that functions nested in a node read: they see what is assigned later, too."""
    inner = [each for each in ast.walk(node) if isinstance(each, SCOPES) and each is not node]
    return frozenset(name for each in inner for name in reads(each))


@lru_cache(maxsize=4096)
def free_names(node: Function) -> frozenset[str]:
    """Return the names that a function reads and does not assign: those of the functions around it."""
    spec = node.args
    own = {each.arg for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)}
    own |= {each.arg for each in (spec.vararg, spec.kwarg) if each is not None}
    body = node.body if isinstance(node, ast.FunctionDef) else []
    loaded = set().union(*(reads(each) for each in body)) if body else set(reads(node.body))  # type: ignore[arg-type]
    if "super" in loaded:
        loaded.add("__class__")
    return frozenset(loaded - own - own_names(node))


@lru_cache(maxsize=4096)
def own_names(node: Function) -> frozenset[str]:
    """Return the names that the body of a function binds: they are its own from its start."""
    body = node.body if isinstance(node, ast.FunctionDef) else []
    inside = [each for statement in body for each in walk_here(statement)]
    bound = {each.id for each in inside if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load)}
    return frozenset(bound | {each.name for each in inside if isinstance(each, ast.FunctionDef)})


def assignment_of(node: Function, name: str) -> ast.AST | None:
    """Return the first place in a function that assigns a name."""
    stores = [each for each in ast.walk(node) if isinstance(each, ast.Name) and each.id == name]
    found = [each for each in stores if isinstance(each.ctx, ast.Store)]
    return min(found, key=lambda each: (each.lineno, each.col_offset), default=None)


def holds(statement: ast.stmt, kind: type[ast.stmt]) -> bool:
    """Tell whether a break or continue of the loop around, or a return, stands in a statement."""
    if isinstance(statement, kind):
        return True
    if isinstance(statement, SCOPES):
        return False
    is_loop = isinstance(statement, (ast.For, ast.While)) and kind is not ast.Return
    inner = statement.orelse if is_loop else ast.iter_child_nodes(statement)  # type: ignore[attr-defined]
    return any(isinstance(each, ast.stmt) and holds(each, kind) for each in inner)


def exposed(statements: Sequence[ast.stmt], given: set[str] | frozenset[str] = frozenset()) -> set[str]:
    """Return the names that may be read before these statements have assigned them."""
    return _exposed(statements, set(given))


def _exposed(statements: Sequence[ast.stmt], defined: set[str]) -> set[str]:
    found: set[str] = set()
    for each in statements:
        if isinstance(each, ast.If):
            then, orelse = set(defined), set(defined)
            found |= set(reads(each.test)) - defined
            found |= _exposed(each.body, then) | _exposed(each.orelse, orelse)
            defined |= then & orelse
        elif isinstance(each, (ast.For, ast.While)):
            inside = set(defined)
            found |= set(reads(each.iter if isinstance(each, ast.For) else each.test)) - defined
            if isinstance(each, ast.For):
                inside |= names_in(each.target)
            found |= _exposed(each.body, inside) | _exposed(each.orelse, set(defined))
        else:
            found |= set(reads(each)) - defined
            defined |= assigned_by(each)
    return found
