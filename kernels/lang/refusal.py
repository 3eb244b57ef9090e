"""Why a kernel was refused while it emitted: what the emitters noted, as an error with the user's line."""

import ast
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from davinci_sim.core.program import BY_OPCODE, handle_text
from davinci_sim.errors import BadTiling, DavinciError, IllegalInstruction
from davinci_sim.isa import PIPE_NAMES, Instruction
from davinci_sim.isa import state as st
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.memory.spaces import Space
from kernels.lang import rewrite

NEXT = "\n  next: "


def refusal(case: str, state: npt.NDArray[np.int64]) -> DavinciError:
    """Return the error for what went wrong first; `case` names the kernel, its shape and its tiling."""
    kind, what, location = (int(state[i]) for i in (st.ERROR_KIND, st.ERROR_WHAT, st.ERROR_LOCATION))
    needed, available = int(state[st.ERROR_NEEDED]), int(state[st.ERROR_AVAILABLE])
    place = f"  {rewrite.source_text(location)}: {rewrite.source_line(location)}"
    if kind == st.NO_SPACE:
        line = rewrite.source_line(location)
        buffer = f"buffer {line.split('=')[0].strip()}" if "=" in line else "a buffer"
        return BadTiling(
            f"{case}: {buffer}@{Space(what).name} needs {needed} bytes, "
            f"{max(0, available)} are available\n{place}\n  next: use smaller tiles or fewer slots"
        )
    if kind == st.NO_EVENT_ID:
        pair = f"{PIPE_NAMES[what >> 4]} to {PIPE_NAMES[what & 15]}"
        return BadTiling(
            f"{case}: {needed} event ids from {pair} are wanted, {available} are left\n{place}\n"
            "  next: use fewer slots or fewer queues between these pipes"
        )
    if kind == st.TOO_MANY_QUEUES:
        return BadTiling(f"{case}: at most {st.MAX_QUEUES} queues fit\n{place}{NEXT}use fewer queues")
    if kind == st.TOO_MANY_BUFFERS:
        return BadTiling(
            f"{case}: at most {st.MAX_BUFFERS} buffers can be allocated\n{place}{NEXT}use fewer buffers"
        )
    return _illegal(state, place, location)


def _illegal(state: npt.NDArray[np.int64], place: str, location: int = 0) -> IllegalInstruction:
    """Name the instruction, its operands, the rule that one of them breaks, and the line."""
    declared = BY_OPCODE[int(state[st.ERROR_NEEDED])]
    wrong = int(state[st.ERROR_WHAT])
    shown = []
    values: dict[str, int] = {}
    for slot, (name, _, is_float) in enumerate(declared.parameters):
        raw = int(state[st.ERROR_VALUES + slot])
        values[name] = raw
        shown.append(f"{name}={_argument(declared, name, raw, is_float)}")
    broken = ""
    if wrong <= len(declared.fields):
        item = declared.fields[wrong - 1]
        value = handle_text(values[item.name]) if item in declared.operands else values[item.name]
        rule, broken = f"{item.name} = {value} {item.rule}", item.name
    elif wrong == len(declared.fields) + 1:
        code, broken = values["dtype"], "dtype"
        given = DTYPE_NAMES[code] if 0 <= code < len(DTYPE_NAMES) else str(code)
        rule = f"dtype {given} must be one of {', '.join(DTYPE_NAMES[d] for d in declared.dtypes)}"
    elif wrong > len(declared.fields) + 2:
        text = declared.refusals[wrong - len(declared.fields) - 3][1]
        rule = text.format(event_ids=int(state[st.EVENT_IDS]))
    else:
        legal = ", ".join(f"{Space(a).name}->{Space(b).name}" for a, b in declared.routes)
        rule = f"the move must go one of the ways {legal}"
    marked = place + _carets(place, location, declared, broken)
    step = f"docs/reference/instructions.md tells what {declared.name} takes"
    return IllegalInstruction(f"{declared.name}({', '.join(shown)})\n  rule: {rule}\n{marked}{NEXT}{step}")


def _carets(place: str, location: int, declared: Instruction, argument: str) -> str:
    """Return a line that marks an argument of an instruction, where the kernel itself calls it."""
    text, line = rewrite.source_line(location), location & 0xFFFF
    tree = rewrite.file_tree(location)
    calls = [node for node in ast.walk(tree) if _is_call(node, declared.name, line)]
    if len(calls) != 1 or not text:
        return ""
    names = [name for name, _, _ in declared.parameters]
    given = dict(zip(names, calls[0].args[1:], strict=False))
    given |= {keyword.arg: keyword.value for keyword in calls[0].keywords if keyword.arg}
    value = given.get(argument)
    if value is None or value.lineno != line or value.end_lineno != line:
        return ""
    before = len(place) - len(text) + value.col_offset - rewrite.indent_of(location)
    return "\n" + " " * before + "^" * (int(value.end_col_offset or 0) - value.col_offset)


def _is_call(node: ast.AST, name: str, line: int) -> TypeGuard[ast.Call]:
    """Tell whether a node is a call of a function by its name in a line."""
    is_named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    return is_named and getattr(node, "lineno", 0) == line


def _argument(declared: Instruction, name: str, raw: int, is_float: bool) -> object:
    """Return an argument of an instruction as an error shows it."""
    if any(operand.name == name for operand in declared.operands):
        return handle_text(raw)
    if name == "dtype" and 0 <= raw < len(DTYPE_NAMES):
        return DTYPE_NAMES[raw]
    return np.int32(raw).view(np.float32) if is_float else raw
