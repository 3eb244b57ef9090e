"""Tables with the columns that Ascend users know from the vendor's profilers.

`op_summary.csv` has a row for the launch; `core<n>_instr_exe.csv` one for each instruction of a source line,
`core<n>_code_exe.csv` one for each source line, of every core that has a block. What this machine has no
figure for is "N/A", as there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.pipes import Pipe
from davinci_sim.trace.files import atomic_file
from kernels.profile.profile import Profile
from kernels.profile.traffic import bytes_by_space

NONE = "N/A"
RECORD_BYTES = 64
"""An address in a table is the place of the instruction in its program, in bytes."""
INSTR_COLUMNS = ("instr", "addr", "pipe", "call_count", "cycles", "running_time(us)", "detail")
CODE_COLUMNS = ("code", "call_count", "cycles", "running_time(us)")
_UNITS = {"mac": "M", "vec": "V", "scalar": "S", "mte1": "MTE1", "mte2": "MTE2", "mte3": "MTE3"}
_OUTSIDE = ("block_start", "imbalance", "no_block")
Rows = Iterable[Mapping[str, Any]]


def write_csv(found: Profile, folder: str | Path) -> list[Path]:
    """Write the tables of a profile into a folder, and return their paths.

    Raises:
        CannotWrite: the folder or a file cannot be written.
    """
    target, written = Path(folder), []
    tables: dict[str, Rows] = {"op_summary.csv": [op_summary(found)]}
    for core in found.trace.cores:
        tables[f"core{core}_instr_exe.csv"] = list(instructions(found, core))
        tables[f"core{core}_code_exe.csv"] = list(code(found, core))
    for name, rows in tables.items():
        _write(target / name, rows)
        written.append(target / name)
    return written


def _write(path: Path, rows: Rows) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        named = list(rows)
        writer = csv.DictWriter(file, named[0].keys())
        writer.writeheader()
        writer.writerows(named)


def op_summary(found: Profile) -> dict[str, Any]:
    """Return the row of the launch.

    `aicore_time` is the mean of the cores' own times, from the start of a block to its end; a unit's ratio is
    the cycles of its work (of the scalar unit those of handing out) over the cycles of the cores' own times.
    `memory_bound` is mte2_ratio / max(mac_ratio, vec_ratio). Bandwidths are bytes over the duration.
    """
    cores = max(1, len(found.trace.cores))
    own = _own_cycles(found)
    row: dict[str, Any] = {
        "Op Name": found.kernel.name, "OP Type": found.kernel.name, "Task Type": "AI_CORE",
        "Task Start Time(us)": 0.0, "Task Duration(us)": found.us, "Task Wait Time(us)": 0.0,
        "Block Dim": found.task.block_dim, "Mix Block Dim": 0, **_tensors(found),
        "aicore_time(us)": _us(found, own / cores), "total_cycles": own,
    }  # fmt: skip
    ratios = {}
    for unit, pipe in _UNITS.items():
        cycles = found.ledger.work_cycles(pipe)
        if pipe == "S":
            cycles += found.ledger.cycles_of("S", "dispatch")
        ratios[unit] = cycles / max(1, own)
        row[f"{unit}_time(us)"], row[f"{unit}_ratio"] = _us(found, cycles / cores), ratios[unit]
    computing = max(ratios["mac"], ratios["vec"])
    conflicts = found.ledger.cycles_of("V", "bank_conflict") / max(1, found.ledger.work_cycles("V"))
    return {
        **row, "icache_miss_rate": NONE, "memory_bound": ratios["mte2"] / computing if computing else NONE,
        "vec_bankgroup_cflt_ratio": NONE, "vec_bank_cflt_ratio": conflicts, **_bandwidths(found),
    }  # fmt: skip


def _own_cycles(found: Profile) -> int:
    """Return the cycles from the start to the end of blocks, of all cores together."""
    book = found.ledger
    outside = sum(book.cycles_of("S", cause) for cause in _OUTSIDE)
    return book.cycles * len(book.table) - outside


def _tensors(found: Profile) -> dict[str, str]:
    """Return shapes, types and formats of inputs and outputs, separated by semicolons."""
    operands = found.kernel.operands(found.shape)
    columns = {}
    for title, is_output in (("Input", False), ("Output", True)):
        ours = [each for each in operands if each.is_output == is_output]
        columns[f"{title} Shapes"] = ";".join(",".join(map(str, each.shape)) for each in ours)
        columns[f"{title} Data Types"] = ";".join(each.dtype_name for each in ours)
        columns[f"{title} Formats"] = ";".join(each.layout for each in ours)
    return columns


def _bandwidths(found: Profile) -> dict[str, float]:
    """Return gigabytes a second read from and written to every memory."""
    moved = bytes_by_space(found.task.programs)
    pairs = {space.lower(): moved[space] for space in ("UB", "L1", "L0A", "L0B", "L0C")}
    pairs["l2"], pairs["main_mem"] = moved["GM"], found.ledger.hbm_bytes
    order = ("ub", "l1", "l2", "l0a", "l0b", "l0c", "main_mem")
    return {
        f"{unit}_{way}_bw(GB/s)": 1e-3 * size / found.us if found.us else 0.0
        for unit in order
        for way, size in zip(("read", "write"), pairs[unit], strict=True)
    }


def instructions(found: Profile, core: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a core's instructions, the same at one source line together, by cycles."""
    rows = np.flatnonzero(found.trace.records["core"] == core)
    records = found.trace.records[rows]
    keys = records["location"].astype(np.int64) << 16 | records["op"].astype(np.int64)
    for first, count, cycles in _grouped(keys, records):
        record = records[first]
        block = found.task.programs[_block_of(found, int(rows[first]))]
        text = block.line(int(record["index"]))
        yield {
            "instr": found.trace.op_names[record["op"]],
            "addr": f"{int(record['index']) * RECORD_BYTES:#x}",
            "pipe": Pipe(int(record["pipe"])).name,
            "call_count": count,
            "cycles": cycles,
            "running_time(us)": _us(found, cycles),
            "detail": " ".join(text.split()[2:]),
        }


def _block_of(found: Profile, row: int) -> int:
    """Return the block that a record of the trace belongs to."""
    ends = np.cumsum([len(program) for program in found.task.programs])
    return int(np.searchsorted(ends, row, side="right"))


def code(found: Profile, core: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a core's source lines, by cycles."""
    records = found.trace.records[found.trace.records["core"] == core]
    for first, count, cycles in _grouped(records["location"].astype(np.int64), records):
        yield {
            "code": found.trace.sources.get(int(records["location"][first]), ""),
            "call_count": count,
            "cycles": cycles,
            "running_time(us)": _us(found, cycles),
        }


def _grouped(keys: npt.NDArray[np.int64], records: npt.NDArray[np.void]) -> Iterator[tuple[int, int, int]]:
    """Yield (first row, rows, cycles of units) of each key, the most cycles first."""
    _, first, group, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    cycles = np.zeros(len(first), dtype=np.int64)
    np.add.at(cycles, group, records["end"] - records["start"])
    for at in np.lexsort((first, -cycles)).tolist():
        yield int(first[at]), int(counts[at]), int(cycles[at])


def _us(found: Profile, cycles: float) -> float:
    """Return cycles in microseconds, to the picosecond."""
    return round(cycles * 1e6 / found.trace.clock_hz, 6)
