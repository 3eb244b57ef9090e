"""Compile functions of numbers to machine code once, and keep the result on disk.

- `jit`: what Python calls; `uncounted_jit`: the same for functions that make no arrays.
- `inner`: what only compiled code calls; it becomes part of its callers. `uncounted`, `inlined`: the same for
  functions that make no arrays, and for those that must not remain calls.
- `apart`: what only compiled code calls, by address. The caller's code does not contain it, so that a large
  function (or one with many callers) is compiled once, and again only when it changes itself.
- `emission_jit`: what Python calls to emit records. It and what is `apart` and makes no arrays is translated
  without Numba's analysis where it is simple enough (see `direct`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numba
from numba.core import (
    compiler,
    compiler_machinery,
    funcdesc,
    lowering,
    registry,
    sigutils,
    typed_passes,
    types,
    untyped_passes,
)
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError

from davinci_sim.isa import direct
from davinci_sim.isa.cache import KNOWN, DiskCache, Needed, digest_of

# Numba's own functions have no types
Compiler: Any = compiler.Compiler
CPUDispatcher: Any = registry.CPUDispatcher
PassManager: Any = compiler_machinery.PassManager
Description: Any = funcdesc.PythonFunctionDescriptor
Environment: Any = vars(lowering)["Environment"]
Backend: Any = typed_passes.NoPythonBackend
LoweringPass: Any = compiler_machinery.LoweringPass
register_pass: Any = compiler_machinery.register_pass
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


@register_pass(mutates_CFG=False, analysis_only=False)
class _Directly(LoweringPass):  # type: ignore[misc]
    """Translate a function without Numba's own analysis."""

    _name = "directly"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Make the machine code, and what Numba wants to know of it."""
        function, target, state.cr = state.func_id.func, state.targetctx, None
        try:
            translator = direct.Translator(function, tuple(state.args), symbol_and_signature)
            body = translator.text(_PLACEHOLDER)
        except (NumbaError, TypeError, ValueError, LookupError, AttributeError):
            return False  # Numba compiles it, or says what is wrong with it
        names = list(direct.names_of(function))
        described = Description(
            True, function.__module__, state.func_id.func_qualname, state.func_id.unique_name, "", None,
            translator.result, None, names, None, mangler=target.mangler, argtypes=tuple(state.args),
            abi_tags=[state.flags.get_mangle_string(), _DIRECT], uid=state.func_id.unique_id,
        )  # fmt: skip
        library = target.codegen().create_library(state.func_id.func_qualname)
        library.enable_object_caching()
        direct.build(library, body.replace(_PLACEHOLDER, described.llvm_func_name), described.env_name)
        environment = Environment.from_fndesc(described)
        if not state.flags.no_cpython_wrapper:
            target.create_cpython_wrapper(library, described, environment, None, state.flags.release_gil)
        entry = target.get_executable(library, described, environment)
        target.insert_user_function(entry, described, [library])
        state.library, state.return_type, state.type_annotation = library, translator.result, None
        state["cr"] = compiler._LowerResult(described, None, cfunc=entry, env=environment)
        return bool(Backend().run_pass(state))


_PLACEHOLDER, _DIRECT = "this function", "direct"


def symbol_and_signature(callee: Any, kinds: tuple[Any, ...]) -> tuple[str, Any, bool]:
    """Return symbol and signature of what translated code calls, and whether that is such code, too."""
    if not isinstance(callee, Apart):
        raise direct.Untranslated(f"a call of {callee}")
    template = callee.get_call_template(kinds, {})
    result = callee.overloads[tuple(template[2])]
    return str(result.fndesc.llvm_func_name), result.signature, _DIRECT in result.fndesc.abi_tags


def _passes(name: str, passes: tuple[Any, ...]) -> Any:
    manager = PassManager(name)
    for each in passes:
        manager.add_pass(each, each.__name__)
    manager.finalize()
    return manager


class _QuickCompiler(_Compiler):
    """The same with few passes; a function that needs the others is compiled with all of them."""

    def define_pipelines(self) -> list[Any]:
        """Return the short list of passes, then the whole."""
        return [_passes("emission", _EMISSION_PASSES), *super().define_pipelines()]


class _DirectCompiler(_QuickCompiler):
    """The same without Numba's analysis, where a function is simple enough."""

    def define_pipelines(self) -> list[Any]:
        """Return the direct way, then the others."""
        return [_passes("direct", (_Directly,)), *super().define_pipelines()]


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

    def __init__(self, function: Callable[..., Any], options: dict[str, Any], chosen: Any = None) -> None:
        chosen = chosen or (_Compiler if options.get("_nrt", True) else _QuickCompiler)
        super().__init__(function, targetoptions=options, pipeline_class=chosen)

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
        super().__init__(function, options, _Compiler if options["_nrt"] else _DirectCompiler)
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


def emission_jit(function: F) -> F:
    """Compile what Python calls to emit records: the same, and quicker where the function is simple."""
    options = {**_OPTIONS, "_nrt": False}
    return function if config.DISABLE_JIT else cast(F, Compiled(function, options, _DirectCompiler))


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
