"""Compile kernels ahead of their first use, on all cores of the host, with a progress bar.

Numba compiles one function at a time. The first start of the kit needs the executor and some twenty kernels;
`ensure` shares them out to processes, which leave machine code in the cache on disk. What is there already
costs a look at a file name.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import queue
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any, get_type_hints

import numba
import numpy as np
from numba import types

import davinci_sim
import kernels
import kernels.lang
import kernels.pieces
from davinci_sim.chip.chip import Chip
from davinci_sim.chip.engine.loop import run
from davinci_sim.chip.engine.renaming import outcome, rename, replay
from davinci_sim.chip.task import Code, Task, Tensor
from davinci_sim.core.barriers import with_barriers
from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import COUNT, EXECUTE, count_cycles, execute
from davinci_sim.core.local import new_memory
from davinci_sim.core.order import legal_order
from davinci_sim.core.program import Program, parse
from davinci_sim.core.records import is_rare
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.cache import CACHE_FOLDER, digest_of
from davinci_sim.isa.jit import KNOWN
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.state import CoreState, new_core_state
from davinci_sim.platforms import platform
from kernels.lang import packed
from kernels.lang.kernel import Kernel

EXECUTOR, ENGINE = "the executor", "the engine and the language"
RARE, TOOLS = "what few kernels need", "the checkers and the ledger"
_PARTS: dict[str, tuple[Any, ...]] = {
    EXECUTOR: EXECUTE[:1],
    ENGINE: (*COUNT[:1], legal_order, with_barriers, run, rename, outcome, replay),
    RARE: (*EXECUTE[1:], *COUNT[1:], with_barriers),
}
"""What the caches of these hold."""
_SHARED = (kernels.lang, kernels.pieces)
"""What kernels call: compiled once, before the first of them."""
WORTH_PROCESSES = 3
"""From so many functions on, starting processes is quicker than compiling one after the other."""
MAX_WORKERS = 4
_NOTHING = np.empty((0, 8), dtype=np.int64)
_NUMBERS: dict[Any, types.Type] = {
    "int": types.int64, int: types.int64, "float": types.float64, float: types.float64
}  # fmt: skip
_FLAGS = """
PIPE_MTE2 set_flag src=5 dst=2 event_id=0 dtype=int32
PIPE_V wait_flag src=5 dst=2 event_id=0 dtype=int32
"""


def ensure(names: Iterable[str]) -> None:
    """Compile the executor, the engine, the language and kernels by name, if the cache on disk lacks them.

    Names that are no kernel of the kit are left to be compiled when they are used.
    """
    known = (name for name in names if name in (RARE, TOOLS) or kernels.is_known(name))
    wanted = list(dict.fromkeys([EXECUTOR, ENGINE, *known]))
    missing = [name for name in wanted if not _is_ready(name)]
    workers = min(MAX_WORKERS, os.cpu_count() or 1, len(missing))
    if len(missing) >= WORTH_PROCESSES and workers > 1:
        _compile_in_processes(missing, workers)


def everything() -> list[str]:
    """Return the names of all that can be compiled.

    What takes a single process longest stands in the middle: what it shares with others is there by then,
    and nobody waits for it at the end.
    """
    names = list(kernels.load())
    return [*names[: len(names) // 2], RARE, TOOLS, *names[len(names) // 2 :]]


def compile_one(name: str) -> None:
    """Compile one kernel or one of the parts that kernels share, and note that it is in the cache."""
    parts = {EXECUTOR: _compile_executor, ENGINE: _compile_engine, RARE: _compile_rare, TOOLS: _compile_tools}
    if name in parts:
        parts[name]()
    else:
        _compile_kernel(kernels.find(name))
    marker = _marker(name)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _compile_executor() -> None:
    """Execute a program without records: the types are all that counts."""
    execute(_NOTHING, 0, 0, new_memory(platform("ascend910a"), np.zeros(1, dtype=np.uint8)))


def _compile_rare() -> None:
    """Put barriers before a record that few kernels have, count its cycles, and execute it on nothing."""
    words, chip = np.zeros((1, 8), dtype=np.int64), platform("ascend910a")
    rare = next(each for each in INSTRUCTIONS.values() if is_rare(each))
    words[0, 0] = rare.opcode | Pipe.V << 8
    with_barriers(words)
    count_cycles(words, costs_of(chip))
    execute(words, 0, 1, new_memory(chip, np.zeros(1, dtype=np.uint8)))


def _compile_tools() -> None:
    """Check a small launch, and charge its cycles to their causes."""
    from davinci_sim.chip.engine.l2 import new_l2
    from davinci_sim.chip.launch import Launch
    from davinci_sim.chip.simulate import simulate_launches
    from davinci_sim.trace.ledger import ledger
    from kernels.check import check
    from kernels.samples import shapes

    kernel, chip = kernels.find("add"), platform("ascend910a")
    shape = next(shapes(kernel))
    check(kernel, shape, chip)
    task = kernel.emitted(shape, kernel.handles(shape), chip)
    launches = [Launch(task.programs)]
    ledger(launches, chip, simulate_launches(launches, chip, "fast", new_l2(chip)))


def _compile_engine() -> None:
    """Compile the language; put barriers into a program of two flags, simulate it and remember its time."""
    _compile_language()
    program = parse(_FLAGS)
    legal_order(Program(with_barriers(program.words)))
    task = Task.of("flags", ("flags",), Code((program,)), tensors=(Tensor("x", 0, 1),))
    chip = Chip("ascend910a", keep_times=False, data=False)
    for _ in ("simulated", "remembered"):
        chip.time(task)


def _compile_language() -> None:
    """Compile what kernels share: the emitters, and functions of numbers and of named tuples of numbers."""
    for package in _SHARED:
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    emitters = {
        each.emitter: [_NUMBERS[kind] for kind in each.emitter.kinds[1:]] for each in INSTRUCTIONS.values()
    }
    functions = {
        each: [_annotated(kind) for kind in each.annotations]
        for each in KNOWN.values()
        if each.__module__.rpartition(".")[0] in {package.__name__ for package in _SHARED}
    }
    for function, kinds in (emitters | functions).items():
        if None not in kinds:
            function.compile((_core_type(), *kinds))


def _annotated(annotation: Any) -> types.Type | None:
    """Return the type of a parameter where its annotation tells: a number, or a named tuple of numbers."""
    if annotation in _NUMBERS:
        return _NUMBERS[annotation]
    kinds = (
        [_annotated(kind) for kind in get_type_hints(annotation).values()]
        if _is_named(annotation)
        else [None]
    )
    if None in kinds:
        return None
    made: types.Type = types.BaseTuple.from_types(kinds, annotation)  # type: ignore[no-untyped-call]
    return made


def _is_named(annotation: Any) -> bool:
    """Tell whether an annotation is a class of named tuples."""
    return isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields")


def _core_type() -> types.Type:
    return _type_of(new_core_state(1, [0] * 9, 1))


def _compile_kernel(kernel: Kernel) -> None:
    """Compile a kernel for the one set of types that it is ever called with."""
    shape, tiling = (_tuple_type(cls.names()) for cls in (kernel.shape_type, kernel.tiling_type))
    addresses = kernel.emit.py_func.__code__.co_argcount - len(CoreState._fields) - 1
    kernel.emit.compile((_core_type(), *[types.int64] * addresses, shape, tiling))


def _tuple_type(names: tuple[str, ...]) -> types.Type:
    return _type_of(packed.named(names)(*[0] * len(names)))


def _type_of(value: Any) -> types.Type:
    found: types.Type = numba.typeof(value)  # type: ignore[no-untyped-call]
    return found


def _is_ready(name: str) -> bool:
    """Tell whether a function is in the cache: at once if no source was touched since that was last asked."""
    quick = Path(CACHE_FOLDER) / "ready" / f"{name.replace(' ', '-')}-{_state_of_sources()}"
    if quick.exists():
        return True
    is_ready = _marker(name).exists()
    if is_ready:
        quick.touch()
    return is_ready


@cache
def _state_of_sources() -> str:
    """Digest names, sizes and times of the files that machine code is made from."""
    seen = []
    for folder in (davinci_sim.__path__[0], kernels.__path__[0]):
        for path in sorted(Path(folder).rglob("*.py")):
            status = path.stat()
            seen.append((str(path), status.st_mtime_ns, status.st_size))
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def _marker(name: str) -> Path:
    """Return the file that says that a function is in the cache; it changes with what the function calls."""
    digests = (digest_of(function, into_calls=True) for function in _functions(name))
    return Path(CACHE_FOLDER) / "ready" / "-".join([name.replace(" ", "-"), *digests])


def _functions(name: str) -> tuple[Any, ...]:
    """Return the functions that call all others of a name, by address or not."""
    if name == TOOLS:
        from davinci_sim.core.boxes import boxes_of
        from davinci_sim.core.checks.batches import check_batch
        from davinci_sim.trace.ledger.charge import charge_block

        return boxes_of, check_batch, charge_block
    return _PARTS.get(name) or (kernels.find(name).emit,)


def _compile_in_processes(names: list[str], workers: int) -> None:
    """Hand the names out to worker processes; a worker that fails leaves its part to the first use."""
    from rich.console import Console
    from rich.progress import Progress

    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in names:
        waiting.put(name)
    with Progress(console=Console(file=sys.stderr)) as progress:
        bar = progress.add_task("compiling kernels (once; kept on disk)", total=len(names))
        job = (waiting, lambda: progress.advance(bar))
        threads = [Thread(target=_serve, args=job) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _serve(waiting: queue.SimpleQueue[str], done: Callable[[], None]) -> None:
    """Feed one worker process until nothing is left."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "kernels.compiled"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as worker:
        while worker.stdin is not None and worker.stdout is not None and not waiting.empty():
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                break
            worker.stdin.write(name + "\n")
            worker.stdin.flush()
            if not worker.stdout.readline():
                break
            done()


def main() -> None:
    """Compile the names that arrive on standard input, one a line; answer each with a line."""
    for line in sys.stdin:
        compile_one(line.strip())
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "all":
        ensure(everything())
    else:
        main()
