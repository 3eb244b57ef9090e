"""Ascend 310: two coupled AI cores of the first generation at 0.68 GHz. Data only."""

from __future__ import annotations

from davinci_sim.platforms._build import (
    ALIGNMENTS,
    FIRST_GENERATION,
    NOWHERE,
    VECTOR_CYCLES,
    configured,
    same_core,
    start_of_tasks,
    taken_over,
)
from davinci_sim.platforms.figure import assumed, published
from davinci_sim.platforms.instructions import from_configuration
from davinci_sim.platforms.platform import Platform

_FILE = "Ascend310.ini"
_CLOCK_HZ = 0.68e9

_INTRINSICS = {  # intrinsics: types, as the configuration file lists them
    (
        "vadd vsub vmul vmax vmin scatter_vadd scatter_vsub scatter_vmul scatter_vmax scatter_vmin "
        "broadcast_ub_to_cc"
    ): "float16 float32 int32",
    "vand vor vnot": "int16 uint16",
    (
        "vadds vmuls vrec vrsqrt vabs vmadd vmaddrelu vcadd scatter_vmadd scatter_vmaddrelu scatter_vadds "
        "scatter_vmuls scatter_vrec scatter_vrsqrt scatter_vabs"
    ): "float16 float32",
    (
        "vexp vln vrelu vaadd vcmp vcmpv_eq vcmpv_ne vcmpv_lt vcmpv_le vcmpv_gt vcmpv_ge vsel vcgadd "
        "vcpadd vcmax vcmin vcgmax vcgmin vbitsort vmrgsort4 vextract vconcat vrpac viou scatter_vexp "
        "scatter_vln scatter_vrelu scatter_vsel scatter_vcmp"
    ): "float16",
    "vaxpy vmla": "f16f16f16 f32f32f32 f32f16f16 float16 float32",
    "vconv scatter_vconv": (
        "f322f16 f162f32 f162s8 f162u8 deq f162s32f f162s32c f162s32r u82f16 s82f16 s322f16"
    ),
    "vnchwconv scatter_vnchwconv": "int16 uint16 int8 uint8 float16",
    "vtranspose": "uint16 int16 float16",
    "vmergech": "int8 uint8 int16 uint16 float16",
    "rpn_cor rpn_cor_diag": "",
    "mmad": "u32u8u8 s32s8s8 s32u8s8 f16f16f16 f32f16f16 f16f16u2 u8 s8 f162f16 f162f32 f16u2 u8s8",
    "scatter_vmla scatter_vaxpy": "f16f16f16 f32f32f32 f32f16f16",
    "scatter_vector_mov": "int16 uint16 float16",
    "data_move_l0c2ub": "f16 u16 s16 f32 s32 u32",
}

ascend310 = Platform(
    "ascend310",
    "Ascend 310 (2018): 2 AI cores, cube and vector coupled, 0.68 GHz, 8 MB L2, LPDDR4X; no vdiv, no vsqrt",
    {
        "clock_hz": published(
            _CLOCK_HZ, "Hz", f"CANN platform configuration file {_FILE}, key cube_freq = 680 MHz"
        ),
        "peak_fp16_flops": assumed(
            11e12, "FLOP/s", "half of the published int8 rate, as the cube's shape says"
        ),
        "peak_int8_ops": published(
            22e12, "OP/s", "vendor's data sheet of the Atlas 200 module with one Ascend 310: 22 TOPS int8"
        ),
        **configured(
            _FILE,
            ai_cores=2,
            l2_bytes=8388608,
            l0a_bytes=65536,
            l0b_bytes=65536,
            l0c_bytes=262144,
            l1_bytes=1048576,
            ub_bytes=253952,
            ub_bank_bytes=4096,
            ub_banks=64,
            ub_bank_groups=16,
            block_bytes=32,
            cube_m=16,
            cube_k=16,
            cube_n=16,
            cube_k_int8=32,
            cube_k_uint8=32,
            load2d_l0a_bytes_per_cycle=512,
            load2d_l0b_bytes_per_cycle=256,
            l1_to_ub_bytes_per_cycle=128,
            ub_to_l1_bytes_per_cycle=128,
            l0c_to_ub_bytes_per_cycle=256,
            l2_read_bytes_per_cycle=128,
            l2_write_bytes_per_cycle=64,
            gm_to_l1_bytes_per_cycle=128,
            gm_to_ub_bytes_per_cycle=128,
            gm_to_l0_bytes_per_cycle=128,
            ub_to_gm_bytes_per_cycle=64,
        ),
        "gm_bytes": assumed(
            8 * 2**30, "B", "the configuration file leaves memory_size empty; the Atlas 200 carries 4 or 8 GB"
        ),
        "hbm_bytes_per_cycle": assumed(
            134, "B/cycle", "DDR of the chip: ddr_read_rate of both cores, 67 B/cycle each, 91 GB/s together"
        ),
        "l2_chip_bytes_per_cycle": assumed(256, "B/cycle", "l2_read_rate of both cores, 128 B/cycle each"),
        **start_of_tasks(_CLOCK_HZ),
        **taken_over(ALIGNMENTS),
        **same_core(FIRST_GENERATION),
        **taken_over(NOWHERE),
        "event_ids_per_pipe_pair": published(
            8, "", "limits of TIK, the vendor's Python kernel language: ids to 3 on the 910, to 7 elsewhere"
        ),
        "vector_bytes_per_repeat": published(
            256, "B", f"CANN platform configuration file {_FILE}, key vec_calc_size = 128 fp16 lanes"
        ),
        **taken_over(VECTOR_CYCLES),
    },
    from_configuration(_INTRINSICS),
)
