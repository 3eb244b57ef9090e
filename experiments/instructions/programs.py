"""The small programs that hold one instruction each, and what their simulation says about it.

A move or a product is repeated, and its time is the distance between the starts of two of them, as a tool
measures it that divides the time of many by their number; before that comes one that nobody counts, which
brings into L2 what is read. A vector instruction runs once with few and once with many repeats, which gives
the cycles of a repeat. An addition of the bank example waits for the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.simulate import simulate
from davinci_sim.core.program import parse
from davinci_sim.errors import InternalError
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.fields import DTYPE_NAMES, Field, MaskField, Operand
from davinci_sim.isa.pipes import Pipe
from davinci_sim.platforms import Platform, published
from experiments.instructions.tables import KIB, Label, Table, label_text

REPEATED = 4
"""Moves, products or additions in a program; the first one is not counted."""
FEW, MANY = 16, 64
"""Repeats of the two vector instructions whose difference is measured."""
FRACTAL_BYTES, BLOCK_BYTES, REPEAT_BYTES = 512, 32, 256
OPERANDS = {"src": 0, "src0": 0, "src1": MANY * REPEAT_BYTES, "dst": 1 << 16}
"""Where vector operands begin in UB: sources one after another, the result in the next bank of each group."""
OTHERS = 1 << 17  # index lists and selection bits
BYTES = {"int8": 1, "uint8": 1, "fp16": 2, "bf16": 2, "int16": 2, "uint16": 2, "fp32": 4, "int32": 4}
SAME_WIDTH = {"uint32": "int32"}  # types that the kit lacks, in instructions that only move bits
NAMES = {"vcmpv": "vcmpv_eq", "vcmpvs": "vcmpvs_eq"}  # the tables do not say which comparison


def simulated(table: Table, chip: Platform) -> list[float]:
    """Return the simulated cycles of every point of a table."""
    if table.kind == "vector":
        return slopes([label_text(label) for label, _ in table.points], chip)
    if table.kind == "banks":
        return [spacing(addition(table, label), chip) for label, _ in table.points]
    if table.kind == "mmad":
        measure = latency if table.name == "mmad_alone" else spacing
        return [measure(product(table, label), chip) for label, _ in table.points]
    if table.kind == "move":
        cores = int(table.options.get("cores", 1))
        many = chip if cores == 1 else _with_cores(chip, cores)
        return [spacing(move(table, label), many, cores) for label, _ in table.points]
    raise InternalError(f"table {table.name} is of kind {table.kind!r}, which nothing simulates")


def _with_cores(chip: Platform, cores: int) -> Platform:
    """Return the chip with its vector cores as the cores that the launch runs on."""
    source = "vector cores of 910B1: CANN platform configuration file Ascend910B1.ini, key vector_core_cnt"
    return chip.with_figures(f"{chip.name} as {cores} vector cores", ai_cores=published(cores, "", source))


def move(table: Table, label: Label) -> str:
    """Return the text of a move of so many KiB; `{gm}` stands for the address in GM."""
    size = int(float(label) * KIB)
    src, dst = (
        "GM+{gm:#x}" if place == "GM" else f"{place}+0x0"
        for place in (table.options["src"], table.options["dst"])
    )
    if "L0" in dst:
        return f"PIPE_MTE1 load2d dst={dst} src={src} repeat={size // FRACTAL_BYTES} dtype=fp16"
    pipe = {("GM", "L1"): "MTE2", ("GM", "UB"): "MTE2", ("UB", "GM"): "MTE3", ("UB", "UB"): "V"}[
        table.options["src"], table.options["dst"]
    ]
    return f"PIPE_{pipe} data_move dst={dst} src={src} nburst=1 burst_len={size // BLOCK_BYTES} dtype=uint8"


def product(table: Table, label: Label) -> str:
    """Return the text of a product of m x k by k x n."""
    m, k = table.options["m"], table.options["k"]
    return (
        f"PIPE_M mmad c=L0C+0x0 a=L0A+0x0 b=L0B+0x0 m={m} k={k} n={label_text(label)} accumulate=0 dtype=fp16"
    )


def addition(table: Table, label: Label) -> str:
    """Return the text of an addition of the bank example, and the barrier that the next one waits for."""
    layout = table.options["layouts"][label]
    places = " ".join(f"{name}=UB+{layout[name]}" for name in ("dst", "src0", "src1"))
    strides = f"src0_blk={layout['src0_blk']} src0_rep={layout['src0_rep']}"
    barrier = f"PIPE_V pipe_barrier barred={int(Pipe.V)} dtype=fp16"
    return f"PIPE_V vadd {places} mask={_mask(64)} repeat=64 {strides} dtype=fp32\n{barrier}"


def vector(name: str, repeat: int) -> str:
    """Return the text of a vector instruction without gaps, given as `vadd fp16` or `vconv fp16>fp32`.

    >>> vector("vmuls fp32", 16).replace(_mask(64), "64 lanes")
    'PIPE_V vmuls dst=UB+0x10000 src=UB+0x0 mask=64 lanes repeat=16 dst_rep=8 src_rep=8 value=1.0 dtype=fp32'
    """
    instruction, _, types = name.partition(" ")
    dtype, _, result = types.partition(">")
    dtype = SAME_WIDTH.get(dtype, dtype)
    declared = INSTRUCTIONS[NAMES.get(instruction, instruction)]
    result = result or ("fp32" if instruction in ("vmla_mixed", "vaxpy_mixed") else dtype)
    lanes = REPEAT_BYTES // max(BYTES[dtype], BYTES[result], 2)
    given = {"repeat": str(repeat), "to": str(DTYPE_NAMES.index(result)), "value": "1.0"}
    if any(field.name == "dst_blk" for field in declared.fields):  # it writes whole repeats
        given["dst_rep"] = str(lanes * BYTES[result] // BLOCK_BYTES)
    for rep in ("src_rep", "src0_rep", "src1_rep"):
        given[rep] = str(lanes * BYTES[dtype] // BLOCK_BYTES)
    shown = [_operand(field, given, lanes) for field in declared.fields]
    return " ".join(["PIPE_V", declared.name, *filter(None, shown), f"dtype={dtype}"])


def _operand(field: Field, given: dict[str, str], lanes: int) -> str:
    """Return `name=value` of one operand, nothing where its default will do."""
    if isinstance(field, Operand):
        return f"{field.name}=UB+{OPERANDS.get(field.name, OTHERS):#x}"
    if isinstance(field, MaskField):
        return f"{field.name}={_mask(lanes)}"
    return f"{field.name}={given[field.name]}" if field.name in given else ""


def _mask(lanes: int) -> str:
    """Return the mask of the first lanes, as program texts write it."""
    return f"{(1 << lanes) - 1:032x}"


def spacing(line: str, chip: Platform, cores: int = 1) -> float:
    """Return the cycles from one of several equal instructions to the next, averaged over the cores."""
    room = 1 << 20  # every core has its own part of GM
    programs = [parse("\n".join([line.format(gm=core * room)] * REPEATED)) for core in range(cores)]
    records = simulate(programs, chip).records
    starts = _of(records, line)["start"].reshape(cores, REPEATED)
    return float((starts[:, -1] - starts[:, 1]).mean()) / (REPEATED - 2)


def latency(line: str, chip: Platform) -> float:
    """Return the cycles from the start of a lone instruction to its result."""
    record = _of(simulate([parse(line)], chip).records, line)[0]
    return float(record["ready"] - record["start"])


def slopes(names: Sequence[str], chip: Platform) -> list[float]:
    """Return the cycles of a repeat of vector instructions."""
    text = "\n".join(vector(name, repeat) for name in names for repeat in (FEW, MANY))
    records = simulate([parse(text)], chip).records
    held = (records["end"] - records["start"]).reshape(len(names), 2)
    return [float(cycles) for cycles in (held[:, 1] - held[:, 0]) / (MANY - FEW)]


def _of(records: npt.NDArray[np.void], line: str) -> npt.NDArray[np.void]:
    """Return the records of the first instruction of a text."""
    mine: npt.NDArray[np.void] = records[records["op"] == INSTRUCTIONS[line.split()[1]].opcode]
    return mine


def texts(tables: Iterable[Table]) -> str:
    """Return the instruction of every point of the tables, to look at."""
    lines = []
    for table in tables:
        lines.append(f"{table.name}: {table.title}")
        for label, _ in table.points:
            if table.kind == "vector":
                line = vector(label_text(label), MANY)
            else:
                write = {"move": move, "mmad": product, "banks": addition}[table.kind]
                line = write(table, label).format(gm=0)
            lines.append(f"  {label_text(label)}: " + line.replace("\n", "; "))
    return "\n".join(lines) + "\n"
