"""Compile functions of numbers to machine code once, and keep the result on disk.

- `jit`: what Python calls; `uncounted_jit`: the same for functions that make no arrays.
- `inner`: what only compiled code calls; it becomes part of its callers. `uncounted`, `inlined`: the same for
  functions that make no arrays, and for those that must not remain calls.
- `apart`: what only compiled code calls, by address. The caller's code does not contain it, so that a large
  function (or one with many callers) is compiled once, and again only when it changes itself.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numba
from numba.core import compiler, compiler_machinery, registry, sigutils, typed_passes, types, untyped_passes
from numba.core.compiler_lock import global_compiler_lock

from davinci_sim.isa.cache import KNOWN, DiskCache, Needed, digest_of

# Numba's own functions have no types
Compiler: Any = compiler.Compiler
CPUDispatcher: Any = registry.CPUDispatcher
PassManager: Any = compiler_machinery.PassManager
config: Any = numba.config
normalize: Any = sigutils.normalize_signature
unliteral: Any = types.unliteral

_OPTIONS: dict[str, Any] = {"nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": None}
_NO_WAY_IN: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_KINDS = {"int": types.int64, "float": types.float64}

F = TypeVar("F", bound=Callable[..., Any])


_EMISSION_PASSES = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    untyped_passes.GenericRewrites,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.NoPythonSupportedFeatureValidation,
    typed_passes.IRLegalization,
    typed_passes.AnnotateTypes,
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)
"""What of Numba's passes a function of integers, loops and calls needs."""


class _Compiler(Compiler):  # type: ignore[misc]
    """Numba's compiler; symbols are made from what a function says, and are the same in every process."""

    def _compile_bytecode(self) -> Any:
        identity = self.state.func_id
        identity.unique_id = int(digest_of(identity.func), 16)
        identity.unique_name = f"{identity.func_qualname}${identity.unique_id}"
        return super()._compile_bytecode()


class _QuickCompiler(_Compiler):
    """The same with few passes; a function that needs the others is compiled with all of them."""

    def define_pipelines(self) -> list[Any]:
        """Return the short list of passes, then the whole."""
        quick = PassManager("emission")
        for each in _EMISSION_PASSES:
            quick.add_pass(each, each.__name__)
        quick.finalize()
        return [quick, *super().define_pipelines()]


_callers: list[dict[Needed, None]] = []
"""For each function that is being compiled, what it calls by address."""


@contextmanager
def _collecting() -> Iterator[None]:
    _callers.append({})
    try:
        yield
    finally:
        _callers.pop()


class Compiled(CPUDispatcher):  # type: ignore[misc]
    """A function compiled on first use for the types that it is called with."""

    _cache: Any

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        compiler = _Compiler if options.get("_nrt", True) else _QuickCompiler
        super().__init__(function, targetoptions=options, pipeline_class=compiler)

    def compile(self, signature: Any) -> Any:
        """Compile for a signature, or find the code on disk."""
        if self.overloads:
            known = self.overloads.get(tuple(normalize(signature)[0]))
            if known is not None:
                return known.entry_point
        if not isinstance(self._cache, DiskCache):  # not before: all that the function calls is known now
            self._cache = DiskCache(self.py_func)
        with global_compiler_lock, _collecting():
            return super().compile(signature)

    def add_overload(self, result: Any) -> None:
        """Note what the code calls by address, before it is written to disk."""
        result.metadata.setdefault("needs", tuple(_callers[-1]))
        super().add_overload(result)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile for the types of a call; the caller's code will hold this code and call what it calls."""
        template = super().get_call_template(args, kws)
        self.tell_caller(self.overloads[tuple(template[2])].metadata["needs"])
        return template

    def tell_caller(self, needs: Iterable[Needed]) -> None:
        """Note for the function that is being compiled what its code calls by address."""
        if _callers:
            _callers[-1].update(dict.fromkeys(needs))


class Apart(Compiled):
    """A function that compiled code calls by address; called from Python it is plain Python.

    `kinds` ("int", "float", "any") per argument after the first: numbers arrive as one type, whatever the
    caller has, so that there is one machine code per function and not one per combination of types.
    """

    def __init__(self, function: Callable[..., Any], kinds: tuple[str, ...], options: dict[str, Any]) -> None:
        super().__init__(function, options)
        self.kinds = ("any", *kinds)
        self.interface = f"{function.__module__}.{function.__qualname__} {self.kinds}"
        KNOWN[function.__module__, function.__qualname__] = self

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run the function as plain Python."""
        return self.py_func(*arguments, **named)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile for the types of a call, numbers made plain."""
        _, args = self._compiler.fold_argument_types(args, kws)
        kinds = (*self.kinds, *["any"] * len(args))
        plain = tuple(_KINDS.get(kind, unliteral(a)) for kind, a in zip(kinds, args, strict=False))
        template = CPUDispatcher.get_call_template(self, plain, {})
        name = (self.py_func.__module__, self.py_func.__qualname__)
        self.tell_caller([(*name, plain, self.symbol_for(plain))])
        return template

    def compile(self, signature: Any) -> Any:
        """Compile for a signature, and let callers have the address alone."""
        args, _ = normalize(signature)
        is_new = tuple(args) not in self.overloads
        entry = super().compile(signature)
        if is_new:
            result = self.overloads[tuple(args)]
            self.targetctx.remove_user_function(result.entry_point)
            self.targetctx.insert_user_function(result.entry_point, result.fndesc)
        return entry

    def symbol_for(self, arguments: tuple[Any, ...]) -> str:
        """Return the name of the machine code for these types of arguments, compiled if need be."""
        self.compile(arguments)
        return str(self.overloads[arguments].fndesc.mangled_name)


def jit(function: F) -> F:
    """Compile `function` with Numba on first use and cache the machine code on disk.

    No fast maths and no parallel loops, so that results are the same bits everywhere; the lock of the
    interpreter is released, so that cores can be executed side by side.
    """
    return function if config.DISABLE_JIT else cast(F, Compiled(function, _OPTIONS))


def inner(function: F) -> F:
    """Compile a function into the compiled code that calls it; leaving out Python's way in saves time."""
    return function if config.DISABLE_JIT else cast(F, Compiled(function, {**_OPTIONS, **_NO_WAY_IN}))


def uncounted_jit(function: F) -> F:
    """Compile what Python calls without counting references to arrays; the function may not make arrays."""
    return function if config.DISABLE_JIT else cast(F, Compiled(function, {**_OPTIONS, "_nrt": False}))


def uncounted(function: F) -> F:
    """Compile like `inner`, without counting references to arrays, which costs more than a small loop does.

    The function may not make arrays, only use those of its caller.
    """
    options = {**_OPTIONS, **_NO_WAY_IN, "_nrt": False}
    return function if config.DISABLE_JIT else cast(F, Compiled(function, options))


def inlined(function: F) -> F:
    """Compile a function into each of its callers: for short ones that get many arrays, in hot loops."""
    options = {**_OPTIONS, **_NO_WAY_IN, "forceinline": True, "_nrt": False}
    return function if config.DISABLE_JIT else cast(F, Compiled(function, options))


def apart(function: F, kinds: tuple[str, ...] = (), allocates: bool = True) -> F:
    """Compile a function that compiled code calls by address; one that `allocates` no arrays says so."""
    known = KNOWN.get((function.__module__, function.__qualname__))
    if config.DISABLE_JIT or (known is not None and known.py_func is function):
        return function if known is None else cast(F, known)
    return cast(F, Apart(function, kinds, {**_OPTIONS, **_NO_WAY_IN, "_nrt": allocates}))
