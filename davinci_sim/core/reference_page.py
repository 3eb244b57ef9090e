"""The reference page of the instruction set, written from the declarations and the platforms.

`python -m davinci_sim.core.reference_page` renews docs/reference/instructions.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles
from davinci_sim.core.program import handle_text
from davinci_sim.isa import INSTRUCTIONS, PIPE_NAMES, Instruction, Pipe
from davinci_sim.isa import state as st
from davinci_sim.isa.fields import DTYPE_NAMES, Field, ImmediateField, MaskField, Operand
from davinci_sim.isa.machine import Costs
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import Platform, platform, platform_names

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "instructions.md"
COMMAND = "python -m davinci_sim.core.reference_page"

UNITS = {
    "Cube": "M",
    "Vector unit": "V",
    "Moves and loads": "MTE1, MTE2, MTE3 and V",
    "Hand-offs": "the pipe that sets, waits or is held",
}
EXAMPLES = {
    "m": 64, "k": 64, "n": 64, "accumulate": 1, "nburst": 1, "burst_len": 64, "repeat": 8, "fm_h": 16,
    "fm_w": 16, "pad_left": 1, "pad_right": 1, "pad_top": 1, "pad_bottom": 1, "filter_h": 3, "filter_w": 3,
    "jump": 1, "along_m": 1, "src": int(Pipe.MTE2), "dst": int(Pipe.V), "barred": int(Pipe.V), "value": 1.0,
}  # fmt: skip
"""What examples give to operands without a default; others get the least that is legal."""

INTRODUCTION = f"""# Instructions

Written by `{COMMAND}` from the declarations in `davinci_sim/isa` and the
figures in `davinci_sim/platforms`: change those, not this page.

Cycles are those for which an instruction holds its unit: the next one of the same pipe starts no earlier.
Its result is there later by the drain of its pipe, and no earlier than the result of the instruction before
it. A move from or to GM takes at least what is printed here; the memory that all cores share may make it
longer. An element type that a chip's cube does not take is marked with a dash. Addresses in examples are such
that no two operands meet in a bank.

A `handle` is a memory space and a byte address, printed as `UB+0x100`.
"""


def page() -> str:
    """Return the whole page."""
    chips = [platform(name) for name in platform_names()]
    parts = [INTRODUCTION, _drains(chips)]
    for unit, pipes in UNITS.items():
        members = [declared for declared in INSTRUCTIONS.values() if _unit(declared) == unit]
        parts += [f"## {unit}\n", f"Pipe: {pipes}.\n", _overview(members)]
        parts += [_section(declared, chips) for declared in members]
    return "\n".join(parts).rstrip() + "\n"


def _unit(declared: Instruction) -> str:
    """Return the unit under which an instruction is listed."""
    if declared.pipe_field:
        return "Hand-offs"
    if declared.pipe is Pipe.M:
        return "Cube"
    moves = declared.routes or declared.pipe is not Pipe.V
    return "Moves and loads" if moves or _leaves_ub(declared) else "Vector unit"


def _leaves_ub(declared: Instruction) -> bool:
    """Tell whether an operand lives elsewhere than in UB: a move through the vector unit."""
    return any(operand.spaces != (Space.UB,) for operand in declared.operands)


def _table(head: list[str], body: list[list[str]]) -> str:
    """Return a Markdown table."""
    rows = [head, ["---"] * len(head), *body]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"
    )


def _drains(chips: list[Platform]) -> str:
    """Return the cycles from the end of a unit's work to its result, by pipe and chip."""
    costs = [costs_of(chip) for chip in chips]
    pipes = [pipe for pipe in Pipe if any(int(cost.drain_cycles[pipe]) for cost in costs)]
    body = [[pipe.name, *(str(int(cost.drain_cycles[pipe])) for cost in costs)] for pipe in pipes]
    return _table(["drain, cycles", *(chip.name for chip in chips)], body)


def _overview(members: list[Instruction]) -> str:
    """Return the table of a unit: names, what they do, element types."""
    body = [
        [f"[`{declared.name}`](#{declared.name})", declared.doc.splitlines()[0], _types(declared)]
        for declared in members
    ]
    return _table(["instruction", "does", "element types"], body)


def _types(declared: Instruction) -> str:
    """Return the element types of an instruction; hand-offs have none."""
    return "" if declared.pipe_field else ", ".join(DTYPE_NAMES[code] for code in declared.dtypes)


def _section(declared: Instruction, chips: list[Platform]) -> str:
    """Return everything about one instruction."""
    operands = [_operand(field) for field in declared.fields]
    parts = [f"### {declared.name}\n", declared.doc + "\n", _pipes(declared)]
    parts.append(_table(["operand", "is", "where or from", "to", "default"], operands))
    if declared.refusals:
        limit = {"event_ids": "the platform's number"}
        parts += [
            "Rules between operands:\n",
            *(f"- {rule.format(**limit)}" for _, rule in declared.refusals),
            "",
        ]
    parts += [f"Example: `{_call(declared)}`\n", _cycles(declared, chips)]
    return "\n".join(parts)


def _pipes(declared: Instruction) -> str:
    """Return the line that says in which queue an instruction waits."""
    if declared.routes:
        ways = "; ".join(_way(route, pipe) for route, pipe in declared.routes.items())
        return f"Pipes: {ways}.\n"
    return f"Pipe: {declared.pipe.name if declared.pipe else f'that in `{declared.pipe_field}`'}.\n"


def _way(route: tuple[int, int], pipe: Pipe) -> str:
    """Return one way between spaces and its pipe."""
    start, end = (Space(space).name for space in route)
    return f"{start} {pipe.name}" if start == end and pipe is not Pipe.V else f"{start} to {end} {pipe.name}"


def _operand(field: Field) -> list[str]:
    """Return the row of one operand."""
    default = "" if field.default is None else f"{field.default:g}"
    if isinstance(field, Operand):
        places = ", ".join(space.name for space in field.spaces)
        aligned = f", aligned to {field.align_bytes} bytes" if field.align_bytes > 1 else ""
        aligned += " (GM: any byte)" if Space.GM in field.spaces and aligned else ""
        return [field.name, "output" if field.written else "input", f"{places}{aligned}", "", default]
    if isinstance(field, MaskField):
        return [field.name, "mask", "-1 (the mask register), 0", f"{field.high} leading lanes", default]
    if isinstance(field, ImmediateField):
        return [field.name, "float32", "", "", default]
    return [field.name, "number", str(field.low), str(field.high), default]


def _arguments(declared: Instruction, way: int = 0) -> dict[str, int | float]:
    """Return the operands of the example call, on one of its ways between spaces."""
    given: dict[str, int | float] = {}
    for position, field in enumerate(declared.fields):
        if isinstance(field, Operand):
            space = field.spaces[0]
            if declared.routes:
                route = list(declared.routes)[way]
                space = Space(route[1] if field.written else route[0])
            given[field.name] = int(space) << st.SPACE_SHIFT | _address(space, position)
        else:
            default = field.low if field.default is None else field.default
            given[field.name] = EXAMPLES.get(field.name, default) if field.default is None else default
    return given


def _address(space: Space, position: int) -> int:
    """Return an address for an operand in UB that meets no other in a bank or a group; elsewhere 0."""
    return position * 0x10000 + position % 2 * 256 if space is Space.UB else 0


def _call(declared: Instruction) -> str:
    """Return the example call, without what has its default."""
    given = _arguments(declared)
    shown = []
    for field in declared.fields:
        value = given[field.name]
        if isinstance(field, Operand):
            shown.append(f"{field.name}={handle_text(int(value))}")
        elif field.default is None:
            is_pipe = declared.pipe_field and field.name != "event_id"
            shown.append(f"{field.name}={PIPE_NAMES[int(value)] if is_pipe else value}")
    return f"{declared.name}({', '.join(shown)})"


def _emitted(declared: Instruction, dtype: int, way: int = 0) -> np.ndarray:
    """Return the record of the example call on numbers of one type, as `words[1, 8]`."""
    core = st.new_core_state(1, [1 << 40] * st.SPACE_COUNT, 8)
    st.begin_block(core, 0, 1)
    given = {**_arguments(declared, way), "dtype": dtype}
    emit = getattr(declared.emitter, "py_func", declared.emitter)
    emit(core, *((float if is_float else int)(given[name]) for name, _, is_float in declared.parameters))
    return core.words[:1].copy()


def _takes(chip: Platform, declared: Instruction, dtype: int) -> bool:
    """Tell whether the example makes sense on a chip."""
    return declared.pipe is not Pipe.M or DTYPE_NAMES[dtype] in chip.cube_tiles


def _cycles(declared: Instruction, chips: list[Platform]) -> str:
    """Return the cycles of the example on each chip, by way and by element types that take the same time."""
    costs = [costs_of(chip) for chip in chips]
    rows: dict[tuple[str, ...], list[str]] = {}
    for way, (route, pipe) in enumerate(declared.routes.items() or [((0, 0), None)]):
        for dtype in declared.dtypes:
            words = _emitted(declared, dtype, way)
            times = [
                _time(declared, words, cost) if _takes(chip, declared, dtype) else "-"
                for chip, cost in zip(chips, costs, strict=True)
            ]
            label = _way(route, pipe) if pipe else ""
            rows.setdefault((label, *times), []).append(DTYPE_NAMES[dtype])
    body = [
        [", ".join(filter(None, [way, _named(declared, names)])), *times]
        for (way, *times), names in rows.items()
    ]
    head = "cycles (of them per repeat)" if _unit(declared) == "Vector unit" else "cycles"
    return _table([head, *(chip.name for chip in chips)], body)


def _named(declared: Instruction, names: list[str]) -> str:
    """Return element types in a row of cycles, in few words where they are all that there are."""
    if declared.pipe_field:
        return ""
    return "all types" if 1 < len(names) == len(declared.dtypes) else ", ".join(names)


def _time(declared: Instruction, words: np.ndarray, costs: Costs) -> str:
    """Return the cycles of a record, and for vector instructions the figure of a repeat."""
    cycles = str(int(count_cycles(words, costs)[0]))
    if _unit(declared) != "Vector unit":
        return cycles
    each = int(costs.vector_cycles[declared.opcode, int(words[0, 0]) >> 16 & 255])
    return f"{cycles} ({each})"


def write(path: Path = PAGE) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="utf-8")


def lines_that_differ(path: Path = PAGE) -> Iterator[tuple[str, str]]:
    """Yield the lines (on file, as they should be) that are not alike; a missing file has none right."""
    there = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    right = page().splitlines()
    length = max(len(there), len(right))
    there, right = there + [""] * (length - len(there)), right + [""] * (length - len(right))
    yield from ((a, b) for a, b in zip(there, right, strict=True) if a != b)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
