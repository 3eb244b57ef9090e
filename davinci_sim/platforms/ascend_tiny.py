"""Ascend Tiny class, after the core of Ascend031: 256 products a cycle, 30 KB of UB. Data only."""

from __future__ import annotations

from davinci_sim.platforms._build import (
    ALIGNMENTS,
    FIRST_GENERATION,
    NOWHERE,
    VECTOR_CYCLES,
    configured,
    start_of_tasks,
    taken_over,
)
from davinci_sim.platforms.figure import assumed, published
from davinci_sim.platforms.instructions import from_configuration
from davinci_sim.platforms.platform import Platform

_FILE = "Ascend031.ini"
_CLOCK_HZ = 0.33e9
_SLIDE = "Hot Chips 31 (2019), DaVinci talk: 512 operations a cycle in the cube of the Tiny class; "
_CUBE_CYCLES = (
    _SLIDE + "the configuration file repeats the shape of the large cubes, which is kept as that of a fractal"
)
_WIDTH = "16 lanes, 32 bytes (vec_calc_size of Ascend031.ini), take 8 times as long as the 910A's: "

_INTRINSICS = {  # intrinsics: types, as the configuration file lists them
    "vadd vsub vmul vmax vmin vadds vmuls vmaxs vmins": "float16 float32 int32 int16",
    (
        "vdiv vlrelu vexp vln vrec vrsqrt vsqrt vabs vmadd vcmp vcmpv_ne vcmpv_lt vcmpv_le vcmpv_gt "
        "vcmpv_ge vcmpvs_ne vcmpvs_lt vcmpvs_le vcmpvs_gt vcmpvs_ge vsel vcadd vcgadd vcpadd vcmax vcmin "
        "vcgmax vcgmin vbitsort32 vmrgsort4v2 vconcat vbi"
    ): "float16 float32",
    "vand vor vnot": "int16 uint16",
    "vrelu vcmpv_eq": "float16 float32 int32",
    "vaxpy": "f16f16f16 f32f32f32 float16 float32",
    "vmla": "f16f16f16 f32f32f32",
    "vshl vshr": "int16 uint16 int32 uint32",
    "vcmpvs_eq": "int32 float16 float32",
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
    "vnchwconv": "float16 float32 int32 int16 uint32 uint16 int8 uint8",
    "vtranspose": "uint16 int16 float16",
    "vgather vscatter vreduce vreducev2 vcopy": "int16 uint16 float16 float32 int32 uint32",
    "vgatherb vbrcb": "u16u16 s16s16 f16f16 u32u32 s32s32 f32f32",
    "vcbd": (
        "u82u16 u82u32 s82s16 s82s32 u162u8 u162u32 s162u8 s162u32 s162s32 u322u8 u322u16 u322s16 s322u8 "
        "s322u16 s322s16"
    ),
    "mmad": "s8 f162f32 s4 bf162f32 f322f32 h322f32 s32s8s8 f16f16f16 f32f16f16 s32u8u2 f16f16u2 s32s4s4",
    "scatter_vconv": (
        "f322f16 f162f32 f162s8 f162u8 s322f16 s322f32 u82f16 s82f16 f162s32r f162s8f f162u8f f162s32f "
        "f322s32f f162s8c f162u8c f162s32c f322s32c f162s8a f162u8a f162s32a f322s32a f162s8z f162u8z "
        "f162s32z f322s32z f322f16o"
    ),
}

ascend_tiny = Platform(
    "ascend_tiny",
    "Ascend Tiny class (core of Ascend031): 1 AI core, 256 products a cycle, 16 vector lanes, 30 KB of UB",
    {
        "clock_hz": published(
            _CLOCK_HZ,
            "Hz",
            f"CANN platform configuration file {_FILE}, key cube_freq = 330 MHz; its vector core's own clock "
            "of 1024 MHz is left out",
        ),
        "peak_fp16_flops": assumed(0.16896e12, "FLOP/s", _SLIDE + "at the clock of the file"),
        "peak_int8_ops": assumed(0.33792e12, "OP/s", _SLIDE + "twice as many in int8, as on the other cores"),
        **configured(
            _FILE,
            ai_cores=1,
            l2_bytes=4194304,
            l0a_bytes=8192,
            l0b_bytes=8192,
            l0c_bytes=16384,
            l1_bytes=65536,
            ub_bytes=30720,
            ub_bank_bytes=4096,
            ub_banks=8,
            ub_bank_groups=2,
            block_bytes=32,
            cube_m=16,
            cube_k=16,
            cube_n=16,
            cube_k_int8=32,
            cube_k_int4=64,
            load2d_l0a_bytes_per_cycle=512,
            load2d_l0b_bytes_per_cycle=256,
            l1_to_ub_bytes_per_cycle=128,
            ub_to_l1_bytes_per_cycle=128,
            l0c_to_ub_bytes_per_cycle=128,
            l2_read_bytes_per_cycle=256,
            l2_write_bytes_per_cycle=128,
            gm_to_l1_bytes_per_cycle=256,
            gm_to_ub_bytes_per_cycle=256,
            gm_to_l0_bytes_per_cycle=256,
            ub_to_gm_bytes_per_cycle=128,
        ),
        "cube_cycles_fp16": assumed(16, "cycles", _CUBE_CYCLES),
        "cube_cycles_int8": assumed(16, "cycles", _CUBE_CYCLES),
        "cube_cycles_int4": assumed(16, "cycles", _CUBE_CYCLES),
        "cube_k_bf16": assumed(16, "", "as fp16, whose width it has; the file lists mmad on bf16"),
        "cube_cycles_bf16": assumed(16, "cycles", _CUBE_CYCLES),
        "gm_bytes": assumed(
            4 * 2**30, "B", "the configuration file leaves memory_size empty: the host's DDR"
        ),
        "hbm_bytes_per_cycle": assumed(17, "B/cycle", f"the only core's ddr_rate in {_FILE}"),
        "l2_chip_bytes_per_cycle": assumed(256, "B/cycle", f"the only core's l2_rate in {_FILE}"),
        **start_of_tasks(_CLOCK_HZ),
        **taken_over(ALIGNMENTS),
        **taken_over(FIRST_GENERATION),
        **taken_over(NOWHERE),
        "ub_to_ub_bytes_per_cycle": assumed(32, "B/cycle", "one vector register of 16 lanes a cycle"),
        "event_ids_per_pipe_pair": published(
            8, "", "limits of TIK, the vendor's Python kernel language: ids to 3 on the 910, to 7 elsewhere"
        ),
        "vector_bytes_per_repeat": assumed(
            256,
            "B",
            "what an instruction encodes, as on the other cores; the unit takes 32 bytes of it a cycle",
        ),
        **{
            key: assumed(8 * int(found.value), "cycles", _WIDTH + found.source)
            for key, found in taken_over(VECTOR_CYCLES).items()
        },
    },
    from_configuration(_INTRINSICS),
)
