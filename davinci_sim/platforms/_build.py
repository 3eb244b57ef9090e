"""What the files of the chips are built with: figures of configuration files, figures of the 910A."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from davinci_sim.platforms.ascend910a import ascend910a
from davinci_sim.platforms.figure import Figure, assumed, published

CONFIGURATION_KEYS = {
    "ai_cores": "ai_core_cnt",
    "l2_bytes": "l2_size",
    "gm_bytes": "memory_size",
    "l0a_bytes": "l0_a_size",
    "l0b_bytes": "l0_b_size",
    "l0c_bytes": "l0_c_size",
    "l1_bytes": "l1_size",
    "ub_bytes": "ub_size",
    "ub_bank_bytes": "ubbank_size",
    "ub_banks": "ubbank_num",
    "ub_bank_groups": "ubbank_group_num",
    "block_bytes": "ubblock_size",
    "cube_m": "cube_m_size",
    "cube_k": "cube_k_size",
    "cube_n": "cube_n_size",
    "cube_k_int8": "DtypeMKN of DT_INT8",
    "cube_k_uint8": "DtypeMKN of DT_UINT8",
    "cube_k_int4": "DtypeMKN of DT_INT4",
    "cube_n_int8": "DtypeMKN of DT_INT8",
    "cube_n_uint8": "DtypeMKN of DT_UINT8",
    "cube_n_int4": "DtypeMKN of DT_INT4",
    "load2d_l0a_bytes_per_cycle": "l1_to_l0_a_rate",
    "load2d_l0b_bytes_per_cycle": "l1_to_l0_b_rate",
    "l1_to_ub_bytes_per_cycle": "l1_to_ub_rate",
    "ub_to_l1_bytes_per_cycle": "ub_to_l1_rate",
    "l0c_to_ub_bytes_per_cycle": "l0_c_to_ub_rate",
    "l2_read_bytes_per_cycle": "l2_read_rate (one core)",
    "l2_write_bytes_per_cycle": "l2_write_rate (one core)",
    "gm_to_l1_bytes_per_cycle": "l2_read_rate (the core's own path to L2)",
    "gm_to_ub_bytes_per_cycle": "l2_read_rate (the core's own path to L2)",
    "gm_to_l0_bytes_per_cycle": "l2_read_rate (the core's own path to L2)",
    "ub_to_gm_bytes_per_cycle": "ub_to_l2_rate",
}
"""Where a configuration file says a figure."""

_UNITS = (
    ("_bytes_per_cycle", "B/cycle"),
    ("_bytes_per_repeat", "B"),
    ("_bytes", "B"),
    ("_cycles", "cycles"),
    ("_percent", "%"),
    ("_hz", "Hz"),
    ("_flops", "FLOP/s"),
    ("_ops", "OP/s"),
)


def unit_of(key: str) -> str:
    """Return the unit that a figure's key ends in, "" for a plain count.

    >>> unit_of("ub_bytes"), unit_of("vector_cycles.vadd.fp16"), unit_of("cube_m")
    ('B', 'cycles', '')
    """
    if key.startswith(("vector_cycles.", "cube_cycles_", "load3d_cycles_per_")):
        return "cycles"
    return next((unit for ending, unit in _UNITS if key.endswith(ending)), "")


def configured(file: str, **values: int) -> dict[str, Figure]:
    """Return figures that stand in a platform configuration file of the vendor."""
    source = f"CANN platform configuration file {file}, key "
    return {
        key: published(value, unit_of(key), source + CONFIGURATION_KEYS[key]) for key, value in values.items()
    }


def same_core(keys: Iterable[str]) -> dict[str, Figure]:
    """Return figures of the 910A whose source speaks of all cores of the first generation."""
    return {key: ascend910a.figures[key] for key in keys}


def taken_over(keys: Iterable[str]) -> dict[str, Figure]:
    """Return figures of the 910A for a chip for which none is published."""
    return {
        key: assumed(
            found.value, found.unit, "none is published for this chip; as on the 910A: " + found.source
        )
        for key, found in ((key, ascend910a.figures[key]) for key in keys)
    }


TASK_TIMES = (
    "task_start_cycles", "block_start_cycles", "host_launch_cycles", "host_sync_cycles", "label_cycles",
    "label_goto_cycles", "label_switch_cycles", "aicpu_start_cycles",
)  # fmt: skip
"""What the host, the task scheduler and the AI CPU take for a task."""


def start_of_tasks(clock_hz: float) -> dict[str, Figure]:
    """Return what starting tasks and blocks takes: the times of the 910A in cycles of another clock."""
    figures = {}
    for key in TASK_TIMES:
        found = ascend910a.figures[key]
        cycles = round(found.value * clock_hz / ascend910a.clock_hz)
        source = f"the time {found.provenance} for the 910A, in cycles of this clock: {found.source}"
        figures[key] = assumed(cycles, "cycles", source)
    link = ascend910a.figures["host_link_bytes_per_cycle"]
    figures["host_link_bytes_per_cycle"] = assumed(
        max(1, round(link.value * ascend910a.clock_hz / clock_hz)),
        "B/cycle",
        "none is published for this chip; that of the 910A at this clock: " + link.source,
    )
    return figures | taken_over(("aicpu_bytes_per_cycle",))


def vector_figures(
    cycles_of: Mapping[str, Mapping[str, int]], source: str, default: Figure
) -> dict[str, Figure]:
    """Return `vector_cycles.<instruction>.<dtype>`, cycles of a 256-byte repeat, and the default."""
    figures = {"vector_cycles.default": default}
    for names, cycles_by_dtype in cycles_of.items():
        for name in names.split():
            for dtype, cycles in cycles_by_dtype.items():
                text = f"{source}slope per repeat of {name} on {dtype}"
                figures[f"vector_cycles.{name}.{dtype}"] = published(cycles, "cycles", text)
    return figures


ALIGNMENTS = tuple(
    key for key in ascend910a.figures if key.endswith("_align_bytes") and key != "gm_fast_align_bytes"
)
VECTOR_CYCLES = tuple(key for key in ascend910a.figures if key.startswith("vector_cycles."))


def documented_alignments(page: str) -> dict[str, Figure]:
    """Return the alignments of the buffers, for a core whose architecture page says them."""
    source = f"Ascend C documentation, architecture page of {page}"
    return {key: published(ascend910a.figures[key].value, "B", source) for key in ALIGNMENTS}


FIRST_GENERATION = (
    "gm_align_bytes",
    "fractal_bytes",
    "mmad_drain_cycles",
    "mmad_l0c_conflict",
    "load2d_l0a_head_cycles",
    "load2d_l0b_head_cycles",
    "load3d_head_cycles",
    "load3d_min_cycles",
    "mte1_drain_cycles",
    "load3d_cycles_per_fractal_per_stride",
    "gm_read_head_cycles",
    "gm_to_l1_head_cycles",
    "gm_to_ub_head_cycles",
    "gm_packet_slot_bytes",
)
"""Figures of the 910A that come from the vendor's models of all first-generation cores."""

NOWHERE = (
    "mmad_head_cycles",
    "ub_to_ub_bytes_per_cycle",
    "gm_write_head_cycles",
    "gm_fast_align_bytes",
    "gm_unaligned_percent",
    "gm_atomic_percent",
    "l2_line_bytes",
    "l2_ways",
    "queue_depth",
    "dispatch_cycles",
    "vector_min_cycles",
    "vector_drain_cycles",
)
"""Figures that are published for few chips or none, this side of the second generation."""
