"""Generated loops over records: execute their data, count their cycles, find the bytes they touch.

One case per declared instruction, written from the table of declarations and compiled once. `execute` is
the compiled path for data; the SimPy reference calls it record by record when a simulated move ends.
Instructions that few kernels need have loops of their own, compiled when a program has one of them: each
loop stops at a record that belongs to the other one.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.records import is_rare as is_rare_one
from davinci_sim.errors import InternalError
from davinci_sim.isa import INSTRUCTIONS, Instruction
from davinci_sim.isa.instruction import NO_VARIANT
from davinci_sim.isa.jit import inlined, jit, uncounted_jit
from davinci_sim.isa.machine import Costs, Memory, Transfer
from davinci_sim.isa.region import is_inside

Words = npt.NDArray[np.int64]


def _name(function: Callable[..., Any], scope: dict[str, Any]) -> str:
    """Put a function in scope under a name of its own; the same function always gets the same name."""
    for name, known in scope.items():
        if known is function:
            return name
    name = f"f{len(scope)}_{function.__name__}"
    scope[name] = function
    return name


_ODD = tuple(0x9E3779B97F4A7C15 * (2 * word + 1) % (1 << 63) | 1 for word in range(8))
TWINS = 1 << 10
"""Records that are remembered while cycles are counted: a power of two."""
_TWIN = (
    "twin = twin_of(words, r, twins)",
    "if 0 <= twin < r:",
    "    cycles[r] = cycles[twin]",
    "    continue",
)


@inlined
def twin_of(words: Words, r: int, twins: Words) -> int:
    """Return an earlier record of the same words (a kernel's loops issue the same ones again), or -1.

    Each is remembered until another falls on its place; a record that asks twice is its own twin.
    """
    key = words[r, 0] * _ODD[0]
    for word in range(1, 8):  # products that do not wait for each other
        key += words[r, word] * _ODD[word]
    place = (key >> 40) & (TWINS - 1)
    twin = twins[place]
    twins[place] = r
    if twin >= 0:
        for word in range(8):
            if words[twin, word] != words[r, word]:
                return -1
    return int(twin)


def _families(parts: tuple[str, ...], is_rare: bool) -> list[list[Instruction]]:
    """Group the instructions that share their operands and functions, so that each is compiled once."""
    groups: dict[tuple[Any, ...], list[Instruction]] = {}
    for declared in [one for one in INSTRUCTIONS.values() if is_rare_one(one) == is_rare]:
        key = (declared.record, *(getattr(declared, part) for part in parts))
        groups.setdefault(key, []).append(declared)
    return list(groups.values())


def _loop(
    head: str, body: Callable[[Instruction, dict[str, Any]], list[str]], parts: tuple[str, ...],
    is_rare: bool, before: tuple[str, ...] = (), compiler: Callable[[Any], Any] = jit,
) -> Any:  # fmt: skip
    """Compile a loop over records with one case per family; at another's record r it returns -2 - r.

    The lines `before` come first in the body of the loop.
    """
    scope: dict[str, Any] = {
        "is_inside": is_inside, "VARIANTS": VARIANTS, "twin_of": twin_of, "__name__": __name__
    }  # fmt: skip
    lines = [f"def {head}:", "    for r in range(first, last):"]
    lines += [f"        {line}" for line in (*before, "op = words[r, 0] & 255")]
    word = "if"
    for family in _families(parts, is_rare):
        test = " or ".join(f"op == {declared.opcode}" for declared in family)
        lines += [f"        {word} {test}:", f"            i = {_name(family[0].decode, scope)}(words, r)"]
        lines += [f"            {line}" for line in body(family[0], scope)]
        word = "elif"
    lines += ["        else:", "            return -2 - r", "    return -1"]
    exec(compile("\n".join(lines) + "\n", __file__, "exec"), scope)
    return compiler(scope[head.split("(", maxsplit=1)[0]])


def _execution(declared: Instruction, scope: dict[str, Any]) -> list[str]:
    """Write one case of the executor: check that the operands stay inside, then let the data move."""
    if not declared.operands:
        return ["pass"]
    variant = "" if declared.variant == NO_VARIANT else ", VARIANTS[op]"
    boxes = _name(declared.accesses, scope)
    plain = getattr(declared.accesses, "py_func", declared.accesses)
    takes_variant = len(inspect.signature(plain).parameters) > 1
    return [
        f"for box in {boxes}(i{variant if takes_variant else ''}):",
        "    if not is_inside(box, memory.size):",
        "        return r",
        f"{_name(declared.execute, scope)}(i, memory{variant})",
    ]


def _timing(declared: Instruction, scope: dict[str, Any]) -> list[str]:
    """Write one case of the count of cycles."""
    return [f"cycles[r] = {_name(declared.cycles, scope)}(i, costs)"]


def _transfer_source() -> tuple[str, dict[str, Any]]:
    """Write the function that tells what one record takes through the memory that all cores share."""
    scope: dict[str, Any] = {"Transfer": Transfer, "__name__": __name__}
    lines = ["def transfer_of(words, r, costs):", "    op = words[r, 0] & 255"]
    for declared in INSTRUCTIONS.values():
        if declared.transfer is not None:
            call = f"{_name(declared.transfer, scope)}({_name(declared.decode, scope)}(words, r), costs)"
            lines += [f"    if op == {declared.opcode}:", f"        return {call}"]
    return "\n".join([*lines, "    return Transfer(0, 0, 0, 0, 0, 0)"]) + "\n", scope


def _compile_transfer() -> Any:
    source, scope = _transfer_source()
    exec(compile(source, __file__, "exec"), scope)
    return uncounted_jit(scope["transfer_of"])


VARIANTS = np.array([NO_VARIANT, *(declared.variant for declared in INSTRUCTIONS.values())], dtype=np.int64)
EXECUTE = tuple(
    _loop(f"execute_{name}(words, first, last, memory)", _execution, ("accesses", "execute"), is_rare)
    for name, is_rare in (("records", False), ("rare_records", True))
)
COUNT = tuple(
    _loop(
        f"{name}(words, first, last, costs, cycles, twins)",
        _timing,
        ("cycles",),
        is_rare,
        _TWIN,
        uncounted_jit,
    )
    for name, is_rare in (("count_cycles", False), ("count_rare_cycles", True))
)
transfer_of = _compile_transfer()
"""Compiled: (words, record, costs) -> Transfer."""
HAS_TRANSFER = np.array([False, *(d.transfer is not None for d in INSTRUCTIONS.values())])
"""By opcode: may an instruction go through the memory that all cores share?"""


def _through(loops: tuple[Any, ...], words: Words, first: int, last: int, *others: Any) -> int:
    """Run records through the loops that know them; return what the last loop says, -1 if all is well."""
    at, turn, refused = first, 0, 0
    while True:
        stopped = int(loops[turn](words, at, last, *others))
        if stopped >= -1:
            return stopped
        refused = refused + 1 if at == -2 - stopped else 0
        if refused > 1:
            raise InternalError(f"record {at} has an operation code that no instruction has")
        at, turn = -2 - stopped, 1 - turn


def execute(words: Words, first: int, last: int, memory: Memory) -> int:
    """Execute the data of records first..last in order; return the index of one out of bounds, or -1."""
    return _through(EXECUTE, words, first, last, memory)


def count_cycles(words: Words, costs: Costs) -> npt.NDArray[np.int32]:
    """Return, per record, the cycles for which it holds its unit; of a GM transfer the least it can."""
    cycles = np.zeros(len(words), dtype=np.int32)
    twins = np.full(TWINS, -1, dtype=np.int64)
    _through(COUNT, words, 0, len(words), costs, cycles, twins)
    return cycles
