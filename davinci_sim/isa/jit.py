"""Say of functions of numbers how they are compiled to machine code; that is done once, and kept on disk.

- `jit`: what Python calls; `uncounted_jit`: the same for functions that make no arrays.
- `inner`: what only compiled code calls; it becomes part of its callers. `uncounted`, `inlined`: the same for
  functions that make no arrays, and for those that must not remain calls.
- `apart`: what only compiled code calls, by address. The caller's code does not contain it, so that a large
  function (or one with many callers) is compiled once, and again only when it changes itself.
- `emission_jit`: what Python calls to emit records. It and what is `apart` and makes no arrays is translated
  without Numba's analysis where it is simple enough (see `direct`).

A function marked so is compiled on first use, and Numba is imported then and not before: what can be said of
a kernel without running it is said at once.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

IS_COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in {"", "0"}
"""Numba's own switch: where it is off, everything is plain Python."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class How:
    """How a function is compiled.

    Attributes:
        counts: it may make arrays, and references to them are counted.
        has_way_in: Python may call it; leaving that out saves time.
        is_inlined: it becomes part of its callers' machine code.
        emits: it may be simple enough to be translated without Numba's analysis.
        kinds: of what is called by address, "int", "float" or "any" per argument after the first.
    """

    counts: bool = True
    has_way_in: bool = True
    is_inlined: bool = False
    emits: bool = False
    kinds: tuple[str, ...] | None = None


class Deferred:
    """A function that is compiled when it is first needed; `make` returns its Python, which may wait, too."""

    def __init__(self, module: str, qualname: str, make: Callable[[], Callable[..., Any]], how: How) -> None:
        self.__module__, self.__qualname__ = module, qualname
        self.__name__ = qualname.rpartition(".")[2]
        self.make, self.how = make, how

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run the machine code."""
        return self.dispatcher(*arguments, **named)

    def __repr__(self) -> str:
        """Print the function's name."""
        return f"<compiled {self.__module__}.{self.__qualname__}>"

    @cached_property
    def py_func(self) -> Any:
        """The function as plain Python."""
        return self.make()

    @cached_property
    def dispatcher(self) -> Any:
        """Numba's own idea of the function."""
        from davinci_sim.isa.compiler import dispatcher

        return dispatcher(self.py_func, self.how)

    @property
    def _numba_type_(self) -> Any:
        """What Numba takes the function for where compiled code calls it."""
        return self.dispatcher._numba_type_

    def compile(self, arguments: tuple[Any, ...]) -> None:
        """Compile for these types of arguments."""
        self.dispatcher.compile(arguments)


class DeferredApart(Deferred):
    """The same of what compiled code calls by address; called from Python it is plain Python.

    Attributes:
        annotations: of the arguments after the first, where the function is part of a language of kernels.
    """

    annotations: list[Any]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run the function as plain Python."""
        return self.py_func(*arguments, **named)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What all the arguments are taken as."""
        return ("any", *(self.how.kinds or ()))

    @property
    def interface(self) -> str:
        """What the machine code of callers depends on."""
        return f"{self.__module__}.{self.__qualname__} {self.kinds}"


KNOWN: dict[tuple[str, str], DeferredApart] = {}
"""Every function that can be called by address, by module and name."""


def _deferred(function: F, how: How) -> F:
    """Return what stands for a function of Python."""
    if not IS_COMPILED:
        return function
    made = Deferred(function.__module__, function.__qualname__, lambda: function, how)
    return cast(F, functools.update_wrapper(made, function))


def jit(function: F) -> F:
    """Compile `function` with Numba on first use and cache the machine code on disk.

    No fast maths and no parallel loops, so that results are the same bits everywhere; the lock of the
    interpreter is released, so that cores can be executed side by side.
    """
    return _deferred(function, How())


def inner(function: F) -> F:
    """Compile a function into the compiled code that calls it; leaving out Python's way in saves time."""
    return _deferred(function, How(has_way_in=False))


def uncounted_jit(function: F) -> F:
    """Compile what Python calls without counting references to arrays; the function may not make arrays."""
    return _deferred(function, How(counts=False))


def uncounted(function: F) -> F:
    """Compile like `inner`, without counting references to arrays, which costs more than a small loop does.

    The function may not make arrays, only use those of its caller.
    """
    return _deferred(function, How(counts=False, has_way_in=False))


def inlined(function: F) -> F:
    """Compile a function into each of its callers: for short ones that get many arrays, in hot loops."""
    return _deferred(function, How(counts=False, has_way_in=False, is_inlined=True))


def emission_jit(function: Callable[..., Any], make: Callable[[], Callable[..., Any]] | None = None) -> Any:
    """Compile what Python calls to emit records: the function, or what `make` makes of it on first use."""
    written = make or (lambda: function)
    how = How(counts=False, emits=True)
    return Deferred(function.__module__, function.__qualname__, written, how) if IS_COMPILED else written()


def apart(function: F, kinds: tuple[str, ...] = (), allocates: bool = True) -> F:
    """Compile a function that compiled code calls by address; one that `allocates` no arrays says so.

    `kinds` ("int", "float", "any") per argument after the first: numbers arrive as one type, whatever the
    caller has, so that there is one machine code per function and not one per combination of types.
    """
    plain: Any = getattr(function, "py_func", function)
    known = KNOWN.get((plain.__module__, plain.__qualname__))
    if known is not None and known.py_func is plain:
        return cast(F, known)
    return cast(F, made_apart(plain.__module__, plain.__qualname__, lambda: plain, kinds, allocates))


def made_apart(
    module: str, qualname: str, make: Callable[[], Callable[..., Any]], kinds: tuple[str, ...],
    allocates: bool = False,
) -> Any:  # fmt: skip
    """Return what stands for a function that is called by address, and that `make` writes on first use."""
    if not IS_COMPILED:
        return make()
    how = How(counts=allocates, has_way_in=False, emits=not allocates, kinds=kinds)
    KNOWN[module, qualname] = found = DeferredApart(module, qualname, make, how)
    return found


def compile_errors() -> tuple[type[Exception], ...]:
    """Return what a function raises on first use that cannot be compiled."""
    from numba.core.errors import NumbaError, UnsupportedBytecodeError

    return NumbaError, UnsupportedBytecodeError
