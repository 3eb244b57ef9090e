"""Ascend 910B1: the parameters of its cores, which the published tables of instructions were measured on.

Model: one coupled core stands for a cube core and its vector unit; the split into cube and vector cores, the
two vector cores to a cube core, FixPipe, and the bias and scale buffers are left out. Data only.
"""

from __future__ import annotations

from davinci_sim.platforms._build import (
    configured,
    documented_alignments,
    start_of_tasks,
    taken_over,
    vector_figures,
)
from davinci_sim.platforms.figure import Figure, assumed, fitted, published
from davinci_sim.platforms.instructions import from_configuration
from davinci_sim.platforms.platform import Platform

_FILE = "Ascend910B1.ini"
_CLOCK_HZ = 1.85e9
_MSKPP = "measured on 910B1 by the vendor, table of msKPP, its operator modelling tool: "
_FIT = "fitted to every second size of msKPP's table of 910B1 (experiment instructions), "
_TILING = "vendor's operator tiling model (cann-ops, cube cycle calculator), second-generation cores: "
_ASCENDC = "Ascend C documentation, "
_NPU2201 = _ASCENDC + "architecture page of NPU version 2201: "
_COPY = "vendor's data copy example for A2 (302 MB by 48 vector cores): "
_BANKS = (
    "vendor's bank conflict example for A2 (1000 additions of 64 repeats in ticks of 50 MHz, at 1.8 GHz): "
)
_PATH = "the ini's l1_to_l0 rates, 512 and 256, are those of the first generation; "

_CHIP = {
    "clock_hz": published(
        _CLOCK_HZ, "Hz", f"CANN platform configuration file {_FILE}, key cube_freq = 1850 MHz"
    ),
    "peak_fp16_flops": assumed(
        363.7e12, "FLOP/s", "no figure is published for this bin: cores, cube and clock"
    ),
    "peak_int8_ops": assumed(727.4e12, "OP/s", "no figure is published for this bin: cores, cube and clock"),
    "hbm_bytes_per_cycle": published(973, "B/cycle", _COPY + "1.8 TB/s of device memory, at 1.85 GHz"),
    "l2_chip_bytes_per_cycle": fitted(
        2160,
        "B/cycle",
        _FIT + "GM to UB levels off at 45 for each of 48 vector cores, taken to run all at once: 4.0 TB/s; "
        "the vendor's data copy example names a peak of 5.2 TB/s",
    ),
    "link_bytes_per_cycle": published(
        15,
        "B/cycle",
        "28 GB/s of a link (HCCS) in the link constants of the vendor's profiler (chip v4.1.0), at 1.85 GHz",
    ),
    "link_planes": published(
        7, "", "documentation of HCCL, Mesh: the 8 chips of a server are joined each with each"
    ),
    "link_step_cycles": fitted(
        1667,
        "cycles",
        "one small copy over HCCS in a published profile of MSInsight (test_rank_0, communication.json): "
        "1.496 us for 16,512 bytes, less these at the rate of the link",
    ),
    "link_ranks": published(8, "", "8 ranks in a server, limits of the collectives in the vendor's profiler"),
    **start_of_tasks(_CLOCK_HZ),
}

_BUFFERS = {
    **configured(
        _FILE,
        ai_cores=24,
        l2_bytes=201326592,
        gm_bytes=68719476736,
        l0a_bytes=65536,
        l0b_bytes=65536,
        l0c_bytes=131072,
        l1_bytes=524288,
        ub_bytes=196608,
        ub_bank_bytes=4096,
        ub_bank_groups=16,
        block_bytes=32,
    ),
    "ub_banks": published(
        48, "", _ASCENDC + "UB bank conflicts, NPU version 2201: 16 groups of 3 banks; the ini still says 64"
    ),
    **documented_alignments("NPU version 2201"),
    **taken_over(("gm_align_bytes",)),
    "fractal_bytes": published(
        512, "B", _ASCENDC + "data formats: a fractal is 16 rows of 32 bytes in L1, L0A, L0B"
    ),
}

_CUBE = {
    **configured(_FILE, cube_m=16, cube_k=16, cube_n=16, cube_k_int8=32, cube_k_uint8=32),
    "cube_k_bf16": published(16, "", _FILE + ", key support_bf16, and DtypeMKN Default = 16, 16, 16"),
    "cube_k_fp32": published(8, "", _ASCENDC + "Mmad: 32 bytes of fp32 along k in a fractal"),
    "cube_cycles_fp32": published(
        2, "cycles", _ASCENDC + "hardware constraints of NPU version 2201: fp32 at a quarter of the fp16 rate"
    ),
    "mmad_head_cycles": fitted(2, "cycles", _FIT + "mmad: back to back, 2 cycles more than products"),
    "mmad_drain_cycles": fitted(
        21,
        "cycles",
        "fitted to every second size of msKPP's table of 910B3 (experiment instructions): an mmad alone "
        "takes its products + 23, 2 of them the head",
    ),
    "mmad_l0c_conflict": assumed(
        0, "", "no document of this generation has the conflict of the first one's L0C"
    ),
}

_INSIDE = {
    "load2d_l0a_bytes_per_cycle": published(256, "B/cycle", _PATH + _MSKPP + "L1 to L0A levels off at 256.2"),
    "load2d_l0a_head_cycles": fitted(2, "cycles", _FIT + "L1 to L0A"),
    "load2d_l0b_bytes_per_cycle": published(128, "B/cycle", _PATH + _MSKPP + "L1 to L0B levels off at 128.0"),
    "load2d_l0b_head_cycles": fitted(2, "cycles", _FIT + "L1 to L0B"),
    "mte1_drain_cycles": published(
        18, "cycles", _TILING + "a load2d alone has a head of 20, 2 of them above"
    ),
    "load3d_head_cycles": published(
        32, "cycles", "cube cost model of TIK (CANN 8.1.RC1), load3dv2: 32 more than 1.1 cycles a fetch"
    ),
    "load3d_cycles_per_fractal_per_stride": published(
        1, "cycles", "cube cost model of TIK (CANN 8.1.RC1), load3dv2: 1.1 cycles a fetch, here whole cycles"
    ),
    **taken_over(("load3d_min_cycles",)),
    **configured(
        _FILE, l1_to_ub_bytes_per_cycle=128, ub_to_l1_bytes_per_cycle=128, l0c_to_ub_bytes_per_cycle=256
    ),
    "ub_to_ub_bytes_per_cycle": published(256, "B/cycle", _MSKPP + "UB to UB levels off at 255.7"),
}

_OUTSIDE = {
    "l2_read_bytes_per_cycle": fitted(
        171, "B/cycle", _FIT + "GM to L1; the ini's l2_read_rate, 110, is that of one vector core"
    ),
    "l2_write_bytes_per_cycle": published(
        64,
        "B/cycle",
        _MSKPP + "UB to GM levels off at 64.0, the ini's ub_to_l2_rate; its l2_write_rate is 86",
    ),
    "gm_read_head_cycles": fitted(
        189,
        "cycles",
        "msKPP's tables of 910B3, GM to L0A and GM to L0B: head and rate fitted to each give 196 and 182",
    ),
    "gm_to_l1_head_cycles": fitted(186, "cycles", _FIT + "GM to L1"),
    "gm_to_l1_bytes_per_cycle": fitted(171, "B/cycle", _FIT + "GM to L1"),
    "gm_to_ub_head_cycles": fitted(239, "cycles", _FIT + "GM to UB"),
    "gm_to_ub_bytes_per_cycle": fitted(
        83, "B/cycle", _FIT + "GM to UB; large ones level off at what 48 vector cores get of L2"
    ),
    "gm_to_l0_bytes_per_cycle": published(
        128, "B/cycle", "width of the path GM to L0A and L0B in the architecture table of msKPP"
    ),
    "gm_write_head_cycles": fitted(142, "cycles", _FIT + "UB to GM"),
    "ub_to_gm_bytes_per_cycle": fitted(
        91, "B/cycle", _FIT + "UB to GM; larger ones level off at 64, the ini's ub_to_l2_rate"
    ),
    "gm_fast_align_bytes": published(512, "B", _ASCENDC + "best practice: 512-byte aligned GM addresses"),
    "gm_unaligned_percent": published(
        70,
        "%",
        _ASCENDC + "best practice: addresses aligned to 32 bytes only can fall to 70 % of the bandwidth",
    ),
    **taken_over(("gm_atomic_percent", "gm_packet_slot_bytes", "l2_ways")),
    "l2_line_bytes": published(
        512, "B", "the line in the configuration of CAModel, the vendor's simulator of 910B1"
    ),
}

_CONTROL = {
    "event_ids_per_pipe_pair": published(
        8, "", _ASCENDC + "SetFlag and WaitFlag: ids 0 to 7 on A2, 6 and 7 kept for the framework"
    ),
    "queue_depth": published(32, "", _NPU2201 + "depth of the MTE1 and mmad queues"),
    **taken_over(("dispatch_cycles",)),
    "vector_bytes_per_repeat": published(
        256, "B", f"CANN platform configuration file {_FILE}, key vec_calc_size = 128 fp16 lanes"
    ),
    "vector_min_cycles": published(3, "cycles", _MSKPP + "an instruction of one repeat takes 3 to 4 cycles"),
    "vector_drain_cycles": fitted(22, "cycles", _BANKS + "86 cycles an addition, 64 of them repeats"),
}

# cycles of one 256-byte repeat by source type, where it is not 1; ratios below 1 and up to 1.02 count as 1
_VECTOR_REPEAT = {
    "vexp vln vsqrt": {"fp16": 4, "fp32": 2},
    "vdiv": {"fp16": 4, "fp32": 4},
    "vcadd": {"fp16": 7, "fp32": 3},
    "vcgadd vcgmax": {"fp16": 7, "fp32": 1},
    "vcgmin": {"fp16": 7},
    "vcmax vcmin": {"fp16": 7, "fp32": 7},
    "vcmp vsel vcmpv_eq vcmpv_ne vcmpv_lt vcmpv_le vcmpv_gt vcmpv_ge": {"fp16": 2, "fp32": 2},
    "vmla vmadd vmaddrelu": {"fp16": 6, "fp32": 6},
    "vmla_mixed": {"fp16": 5},
    "vaxpy": {"fp16": 2, "fp32": 2},
    "vaxpy_mixed": {"fp16": 2},
    "vreduce vgatherb": {"fp16": 2, "fp32": 2, "int16": 2, "uint16": 2, "int32": 2},
    "vreducev2": {"fp16": 14, "fp32": 14, "int16": 14, "uint16": 14, "int32": 14},
    "vgather": {"fp16": 24, "fp32": 12, "int16": 24, "uint16": 24, "int32": 12},
    "vmrgsort4 vmrgsort4v2": {"fp16": 16, "fp32": 16},
}
_TWO_SOURCES = (
    "vadd",
    "vsub",
    "vmul",
    "vmax",
    "vmin",
    "vand",
    "vor",
    "vaddrelu",
    "vsubrelu",
    "vaddreluconv",
    "vsubreluconv",
    "vmulconv",
)


def _vector() -> dict[str, Figure]:
    """Return the cycles of the table; two sources cost 2 only where they lie in the same groups of banks."""
    figures = vector_figures(
        _VECTOR_REPEAT,
        _MSKPP,
        assumed(1, "cycles", _MSKPP + "1 for all instructions of one source that are not listed here"),
    )
    source = _BANKS + "1 a repeat without a conflict, 2 with one, which is the 2 of msKPP's table"
    for name in _TWO_SOURCES:
        for dtype in ("fp16", "fp32", "int16", "uint16", "int32"):
            figures[f"vector_cycles.{name}.{dtype}"] = fitted(1, "cycles", source)
    transposes = (
        f"vector_cycles.vnchwconv.{t}" for t in ("fp16", "fp32", "int32", "int8", "uint8", "int16", "uint16")
    )
    return {**figures, **taken_over(transposes)}


_INTRINSICS = {  # intrinsics: types, as the configuration file lists them; bf16 by support_bf16
    "vadd vsub vmul vmax vmin vadds vmuls vmaxs vmins": "float16 float32 int32 int16",
    (
        "vdiv vlrelu vexp vln vrec vrsqrt vsqrt vabs vmadd vmaddrelu vcmpv_ne vcmpv_lt vcmpv_le vcmpv_gt "
        "vcmpv_ge vcmpvs_ne vcmpvs_lt vcmpvs_le vcmpvs_gt vcmpvs_ge vsel vcadd vcgadd vcpadd vcmax vcmin "
        "vcgmax vcgmin vbitsort32 vmrgsort4v2 vbi"
    ): "float16 float32",
    "vand vor vnot": "int16 uint16",
    "vrelu vcmpv_eq vcmpvs_eq": "float16 float32 int32",
    "vaxpy vmla": "f16f16f16 f32f32f32 f32f16f16 float16 float32",
    "vaddrelu": "int16 float16 float32",
    "vmulconv": "u8f16f16 s8f16f16",
    "vshl": "int16 uint16 int32 uint32",
    "vshr": "uint16 int16 uint32 int32",
    "vcmp": "float16 float32 int16",
    "vconv": (
        "f322f32r f322f32f f322f32c deq f322f32a f322f32z f322f16 f322f16r f322f16f f322f16c f322f16a "
        "f322f16z f322f16o f322s64r f322s64f f322s64c f322s64a f322s64z f322s32r f322s32f f322s32c "
        "f322s32a f322s32z f322s16r f322s16f f322s16c f322s16a f322s16z f162f32 f162s32r f162s32f "
        "f162s32c f162s32a f162s32z f162s16r f162s16f f162s16c f162s16a f162s16z f162s8 f162s8r f162s8f "
        "f162s8c f162s8a f162s8z f162u8 f162u8r f162u8f f162u8c f162u8a f162u8z u82f16 s82f16 s162f16 "
        "s162f16r s162f16f s162f16c s162f16a s162f16z s162f32 s162s8 s162u8 s322f32 s322f32r s322f32f "
        "s322f32c s322f32a s322f32z s322f16 s322s64 s322s16 s642s32 s642f32r s642f32f s642f32c s642f32a "
        "s642f32z f322bf16r f322bf16f f322bf16c f322bf16a f322bf16z bf162f32 bf162s32r bf162s32f "
        "bf162s32c bf162s32a bf162s32z"
    ),
    "vnchwconv": "int16 uint16 int8 uint8 float16 int32 uint32 float32",
    "vtranspose": "uint16 int16 float16",
    "vgather vreduce vreducev2 vcopy": "int16 uint16 float16 float32 int32 uint32",
    "vgatherb vbrcb": "u16u16 s16s16 f16f16 u32u32 s32s32 f32f32",
    "vbitsort vmrgsort4": "float16",
    "mmad": (
        "u32u8u8 s32s8s8 s32u8s8 f16f16f16 f32f16f16 f16f16u2 u8 s8 f162f16 f162f32 f16u2 u8s8 h322f32 "
        "f32f32f32 f322f32 bf162f32"
    ),
}

ascend910b1 = Platform(
    "ascend910b1",
    "Ascend 910B1 (2023), parameters of its cores only: no split into cube and vector cores, no FixPipe",
    {**_CHIP, **_BUFFERS, **_CUBE, **_INSIDE, **_OUTSIDE, **_CONTROL, **_vector()},
    from_configuration(_INTRINSICS),
)
