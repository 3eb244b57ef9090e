"""Machine code on disk, kept for as long as nothing changes that it was compiled from.

Numba renews a cached function when the file changes that it stands in: too often, since a comment is enough,
and too seldom, since a change of what the function calls is not seen. Here a function's code is kept under a
digest of its byte code, of the constants that it reads and of the functions that are compiled into it. What
it calls by address (see `apart`) is named in the entry, and the entry is used if that is still the same.
"""

import enum
import getpass
import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numba
import numpy as np
from llvmlite import binding
from numba.core import caching, environment
from numba.core.errors import NumbaError
from numba.core.runtime import nrt

from davinci_sim.isa.jit import KNOWN

CompileResultCacheImpl: Any = caching.CompileResultCacheImpl
Environment: Any = vars(environment)["Environment"]
lookup_environment: Any = environment.lookup_environment
FunctionCache: Any = caching.FunctionCache
IndexDataCacheFile: Any = caching.IndexDataCacheFile
initialize_runtime: Any = nrt.rtsys.initialize  # Numba's own functions have no types

_ISA = Path(__file__).parent


def _translator() -> str:
    """Digest the sources of what makes and keeps machine code: another translator leaves old code alone."""
    sources = [
        _ISA / "cache.py",
        _ISA / "compiler.py",
        _ISA / "jit.py",
        _ISA / "lowering.py",
        *sorted((_ISA / "direct").glob("*.py")),
    ]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


def _cache_folder() -> Path:
    """Return where machine code is kept: in the user's cache, or where the environment says.

    Where that cannot be written, a folder for temporary files takes its place, so that a read-only home
    costs a compilation after every restart of the machine, and nothing else.
    """
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("DAVINCI_CACHE")
    base = Path(root) if root else Path.home() / ".cache" / "davinci-kit"
    try:
        base.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(base, os.W_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        base = Path(tempfile.gettempdir()) / f"davinci-kit-{getpass.getuser()}"
    return base / f"numba-{numba.__version__}-{_translator()}"


CACHE_FOLDER = str(_cache_folder())
"""Where machine code is kept."""
vars(numba.config)["CACHE_DIR"] = CACHE_FOLDER


@cache
def digest_of(function: Callable[..., Any], into_calls: bool = False) -> str:
    """Digest what a function's machine code depends on; `into_calls`: what it calls by address, too."""
    digest, seen = hashlib.sha256(), set[int]()
    waiting = [function]
    while waiting:
        called = waiting.pop()
        plain = getattr(called, "py_func", called)
        if id(plain) in seen:
            continue
        seen.add(id(plain))
        for text, part in _facts(plain, into_calls):
            digest.update(text.encode())
            waiting += [] if part is None else [part]
    return digest.hexdigest()[:16]


def _facts(function: Any, into_calls: bool) -> Iterator[tuple[str, Any]]:
    """Yield what the code of a function is made of: texts, and further functions that are part of it."""
    yield f"{function.__module__}.{function.__qualname__} {function.__defaults__}", None
    for code in _codes(function.__code__):
        names = (code.co_names, code.co_varnames, code.co_freevars)
        yield f"{code.co_code.hex()} {names} {[c for c in code.co_consts if not _is_code(c)]}", None
        for name in code.co_names:
            if name in function.__globals__:
                yield from _fact(name, function.__globals__[name], code.co_names, into_calls)
    for cell in function.__closure__ or ():
        yield from _fact("cell", cell.cell_contents, (), into_calls)
    for name, kind in function.__annotations__.items():  # machine code knows the fields of a named tuple
        for each in _named_tuples(kind):
            yield f"{name} {each.__module__}.{each.__qualname__} {each._fields}", None


def _named_tuples(kind: Any) -> Iterator[Any]:
    """Yield a class of named tuples and those of its fields."""
    if hasattr(kind, "_fields"):
        yield kind
        for inner in vars(kind).get("__annotations__", {}).values():
            yield from _named_tuples(inner)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if _is_code(constant):
            yield from _codes(constant)


def _is_code(value: object) -> bool:
    return isinstance(value, CodeType)


def _fact(name: str, value: Any, names: tuple[str, ...], into_calls: bool) -> Iterator[tuple[str, Any]]:
    """Yield what a global name stands for, as far as compiled code can depend on it."""
    if isinstance(value, ModuleType):
        is_ours = "numba" not in value.__name__ and "numpy" not in value.__name__
        for attribute in names if is_ours else ():
            if attribute in vars(value):
                yield from _fact(f"{name}.{attribute}", vars(value)[attribute], names, into_calls)
    elif hasattr(value, "interface") and not into_calls:
        yield f"{name} {value.interface}", None
    elif hasattr(value, "py_func"):
        yield f"{name} {getattr(value, 'interface', '')}", value
    elif isinstance(value, np.ndarray):
        yield f"{name} {value.dtype} {value.shape} {value.tobytes().hex()}", None
    elif isinstance(value, int | float | str | bytes | tuple | enum.Enum):
        yield f"{name} {value!r}", None
    else:
        yield f"{name} {getattr(value, '__qualname__', type(value))} {getattr(value, '_fields', '')}", None


Needed = tuple[str, str, tuple[Any, ...], str]
"""A function called by address: module, name, types of the arguments, symbol."""


def _result_of(needed: Needed) -> str:
    """Return the type of a function's result: a tuple that it passes on may have got other fields."""
    module, name, arguments, _ = needed
    found = KNOWN[module, name].dispatcher.overloads[arguments].signature.return_type
    return f"{found} {_fields_of(found)}"


def _fields_of(numba_type: Any) -> list[Any]:
    """Return the names of the fields of a named tuple, and of those that it holds: its text has none."""
    own = list(getattr(getattr(numba_type, "instance_class", None), "_fields", ()))
    return own + [inner for each in getattr(numba_type, "types", ()) if (inner := _fields_of(each))]


def _was_stale(numba_type: Any) -> bool:
    """Tell whether a type that was read has fields that its class of named tuples has no more.

    It then has those of the class: Numba has one object per type, and compiles with this one next.
    """
    fields = getattr(getattr(numba_type, "instance_class", None), "_fields", None)
    is_stale = fields is not None and tuple(numba_type.fields) != fields
    if is_stale:
        numba_type.fields = fields
    inner = [_was_stale(each) for each in getattr(numba_type, "types", ())]
    return is_stale or any(inner)


def _is_there(needed: Needed, result: str) -> bool:
    """Bring a function that machine code calls by address into memory; tell whether it is the one meant."""
    module, name, arguments, symbol = needed
    if (module, name) not in KNOWN:
        try:
            importlib.import_module(module)
        except ImportError:
            return False
    known = KNOWN.get((module, name))
    try:
        return (
            known is not None
            and known.dispatcher.symbol_for(arguments) == symbol
            and _result_of(needed) == result
        )
    except NumbaError:  # it has changed, and no longer takes what it was called with
        return False


class _Place:
    """Tell Numba where the code of a function is kept and when it is out of date."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self.function = function
        self._py_file = file

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Place":
        """Return the place of a function."""
        return cls(function, file)

    def get_cache_path(self) -> str:
        """Return the folder."""
        return CACHE_FOLDER

    def ensure_cache_path(self) -> None:
        """Make the folder."""
        Path(CACHE_FOLDER).mkdir(parents=True, exist_ok=True)

    def get_source_stamp(self) -> str:
        """Return nothing: the digest is part of the file's name."""
        return ""

    def get_disambiguator(self) -> str:
        """Return the digest of the function, so that two branches of a work tree keep their code apart."""
        return digest_of(self.function)


@cache
def _nothing_to_link() -> bytes:
    """Return an empty LLVM module."""
    return bytes(binding.parse_assembly("").as_bitcode())


def _environment(module: str, constants: list[Any], name: str) -> Any:
    """Return what the code of a function that was compiled in asks for where it raises an error.

    Of the module nothing but its name is needed. Those that Numba comes with take long to import.
    """
    found = lookup_environment(name)
    if found is None:
        found = Environment({"__name__": module})
        found.consts[:] = constants
        found.env_name = name
        Environment._memo[name] = found
    return found


class _Entry(CompileResultCacheImpl):  # type: ignore[misc]
    """Write and read machine code with the list of what it calls by address."""

    _locator_classes = (_Place,)

    def reduce(self, result: Any) -> Any:
        """Return what is written: to what is called by address nobody links, so that it holds one code."""
        needs = result.metadata["needs"]
        library, *parts, environments = super().reduce(result)
        if result.metadata["is_apart"]:
            name, kind, (machine_code, _) = library
            library = (name, kind, (machine_code, _nothing_to_link()))
        inner = [(each.globals["__name__"], list(each.consts), each.env_name) for each in environments]
        return [(each, _result_of(each)) for each in needs], (library, *parts), inner

    def rebuild(self, target: Any, entry: Any) -> Any:
        """Return what was read, or nothing if a function that it calls has changed."""
        needs, reduced, inner = entry
        if any([_was_stale(kind) for (_, _, arguments, _), _ in needs for kind in arguments]):
            return None
        if not all(_is_there(*each) for each in needs):
            return None
        environments = tuple(_environment(*each) for each in inner)
        result = super().rebuild(target, (*reduced, environments))
        return result._replace(metadata={"needs": [each for each, _ in needs]})


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's files of a function; those that name a type which is gone hold nothing."""

    def _load_index(self) -> Any:
        try:
            index = super()._load_index()
        except (AttributeError, ImportError):
            return {}
        return {} if any([_was_stale(kind) for key in index for kind in key[0]]) else index

    def _load_data(self, name: str) -> Any:
        try:
            return super()._load_data(name)
        except (AttributeError, ImportError) as error:
            raise FileNotFoundError(name) from error  # which Numba takes for code that is not there


class DiskCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of a function, with our idea of what is out of date."""

    _impl_class = _Entry

    def __init__(self, function: Callable[..., Any], is_apart: bool) -> None:
        """Keep the code of a function; what is called by address lies apart from code to be linked."""
        super().__init__(function)
        name = f"{self._impl.filename_base}{'.apart' if is_apart else ''}"
        self._cache_file = _Files(self._cache_path, name, self._impl.locator.get_source_stamp())

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Find code on disk; what only compiling needs (Numba's tables, SciPy) is not imported for it."""
        initialize_runtime(target)
        return self._load_overload(signature, target)

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        """Return what entries are found by: Numba's key, and the fields of the named tuples that it names."""
        fields = [_fields_of(each) for each in getattr(signature, "args", signature)]
        return (*super()._index_key(signature, codegen), repr(fields))
