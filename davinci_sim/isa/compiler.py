"""Compile functions with Numba, or without its analysis, and keep the machine code on disk.

`davinci_sim.isa.jit` says of each function how; nothing else imports this module, or Numba, before a function
is needed.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

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

import davinci_sim.isa.lowering  # noqa: F401 - tells Numba of functions that are one operation
from davinci_sim.isa import direct
from davinci_sim.isa.cache import DiskCache, Needed, digest_of
from davinci_sim.isa.jit import Deferred, How

# Numba's own functions have no types
Compiler: Any = compiler.Compiler
CPUDispatcher: Any = registry.CPUDispatcher
PassManager: Any = compiler_machinery.PassManager
Description: Any = funcdesc.PythonFunctionDescriptor
Environment: Any = vars(lowering)["Environment"]
Backend: Any = typed_passes.NoPythonBackend
LoweringPass: Any = compiler_machinery.LoweringPass
register_pass: Any = compiler_machinery.register_pass
normalize: Any = sigutils.normalize_signature
unliteral: Any = types.unliteral

_OPTIONS: dict[str, Any] = {"nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": None}
_KINDS = {"int": types.int64, "float": types.float64}

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
        made = super()._compile_bytecode()
        # what Numba knows of each variable is large, kept for good otherwise, and never asked for
        return made._replace(type_annotation=None)


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
        way_in = _way_in(described, state)
        text = body.replace(_PLACEHOLDER, described.llvm_func_name) + way_in
        direct.build(library, text, described.env_name, translator.repeats)
        environment = Environment.from_fndesc(described)
        if not (way_in or state.flags.no_cpython_wrapper):
            target.create_cpython_wrapper(library, described, environment, None, state.flags.release_gil)
        entry = target.get_executable(library, described, environment)
        target.insert_user_function(entry, described, [library])
        state.library, state.return_type, state.type_annotation = library, translator.result, None
        state["cr"] = compiler._LowerResult(described, None, cfunc=entry, env=environment)
        return bool(Backend().run_pass(state))


_PLACEHOLDER, _DIRECT = "this function", "direct"


def _way_in(described: Any, state: Any) -> str:
    """Return what Python calls, or nothing where that is left to Numba, or to nobody."""
    if state.flags.no_cpython_wrapper or described.restype is not direct.NONE:
        return ""
    names = described.llvm_cpython_wrapper_name, described.llvm_func_name
    try:
        return direct.WayIn().text(*names, described.argtypes)
    except direct.Untranslated:
        return ""


def symbol_and_signature(callee: Any, kinds: tuple[Any, ...]) -> tuple[str, Any, bool]:
    """Return symbol and signature of what translated code calls, and whether that is such code, too."""
    called = callee.dispatcher if isinstance(callee, Deferred) else None
    if not isinstance(called, Apart):
        raise direct.Untranslated(f"a call of {callee}")
    template = called.get_call_template(kinds, {})
    result = called.overloads[tuple(template[2])]
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


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Compile without the collector of garbage: it would go over all that Numba keeps every few functions."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Compiled(CPUDispatcher):  # type: ignore[misc]
    """A function compiled on first use for the types that it is called with."""

    _cache: Any

    def __init__(self, function: Callable[..., Any], how: How) -> None:
        quick = _DirectCompiler if how.emits else _QuickCompiler
        chosen = _Compiler if how.counts else quick
        super().__init__(function, targetoptions=_options(how), pipeline_class=chosen)

    def compile(self, signature: Any) -> Any:
        """Compile for a signature, or find the code on disk."""
        if self.overloads:
            known = self.overloads.get(tuple(normalize(signature)[0]))
            if known is not None:
                return known.entry_point
        if not isinstance(self._cache, DiskCache):  # not before: all that the function calls is known now
            self._cache = DiskCache(self.py_func, isinstance(self, Apart))
        with global_compiler_lock, _undisturbed(), _collecting():
            return super().compile(signature)

    def add_overload(self, result: Any) -> None:
        """Note what the code calls by address, before it is written to disk."""
        result.metadata.setdefault("needs", tuple(_callers[-1]))
        result.metadata["is_apart"] = isinstance(self, Apart)
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
    """A function that compiled code calls by address, compiled for one combination of types of arguments."""

    def __init__(self, function: Callable[..., Any], how: How) -> None:
        super().__init__(function, how)
        self.kinds = ("any", *(how.kinds or ()))

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


def _options(how: How) -> dict[str, Any]:
    """Return what Numba calls the ways of compiling a function."""
    options = {**_OPTIONS, "_nrt": how.counts}
    if how.is_inlined:
        options["forceinline"] = True
    if not how.has_way_in:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return options


def dispatcher(function: Callable[..., Any], how: How) -> Compiled:
    """Return what compiles a function, and finds its machine code on disk."""
    return Compiled(function, how) if how.kinds is None else Apart(function, how)
