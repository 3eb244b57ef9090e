"""Ascend 310P3: eight coupled AI cores at 1.06 GHz; its seven vector cores are left out. Data only."""

from __future__ import annotations

from davinci_sim.platforms._build import (
    FIRST_GENERATION,
    NOWHERE,
    VECTOR_CYCLES,
    configured,
    documented_alignments,
    start_of_tasks,
    taken_over,
)
from davinci_sim.platforms.figure import published
from davinci_sim.platforms.instructions import from_configuration
from davinci_sim.platforms.platform import Platform

_FILE = "Ascend310P3.ini"
_CLOCK_HZ = 1.06e9
_BOARD = "vendor's data sheet of the Atlas 300I Duo with two of these chips, as reported: "
_GEMM = "matmul tiling of the vendor's operator compiler (TBE in CANN 8.1.RC1), constants for 8-core chips: "

_INTRINSICS = {  # intrinsics: types, as the configuration file lists them
    "vadd vsub vmul vmax vmin vadds vmuls vmaxs vmins": "float16 float32 int32 int16",
    (
        "vdiv vlrelu vexp vln vrec vrsqrt vsqrt vabs vmadd vmaddrelu vaadd vcmp vcmpv_eq vcmpv_ne "
        "vcmpv_lt vcmpv_le vcmpv_gt vcmpv_ge vcmpvs_eq vcmpvs_ne vcmpvs_lt vcmpvs_le vcmpvs_gt vcmpvs_ge "
        "vsel vcadd vcgadd vcpadd vcmax vcmin vcgmax vcgmin vbitsort vmrgsort4 vextract vconcat vrpac "
        "viou scatter_vdiv scatter_vmadd scatter_vmaddrelu scatter_vexp scatter_vln scatter_vrec "
        "scatter_vrsqrt scatter_vsqrt scatter_vabs scatter_vsel scatter_vcmp"
    ): "float16 float32",
    "vand vor vnot": "int16 uint16",
    "vrelu broadcast_ub_to_cc": "float16 float32 int32",
    "vaxpy vmla": "f16f16f16 f32f32f32 f32f16f16 float16 float32",
    "vaddrelu vsubrelu": "int16 float16 float32",
    "vaddreluconv vsubreluconv": "s162s8 f162s8 f322f16",
    "vmulconv scatter_vmulconv": "u8f16f16 s8f16f16",
    "vadddeqrelu": "f16s32s32",
    "vconv": (
        "f322f16 f162f32 f322f16o f162s8 f162s8a f162s8f f162s8c f162s8z f162u8 f162u8a f162u8f f162u8c "
        "f162u8z deq s322f32 f162s32r f162s32a f162s32f f162s32c f162s32z f322s32r f322s32a f322s32f "
        "f322s32c f322s32z u82f16 s82f16 s322f16 s162u8 s162s8 f162s4 s162f16 f162s16r"
    ),
    "vnchwconv": "int16 uint16 int8 uint8 int32 uint32 float16 float32",
    "vtranspose": "uint16 int16 float16",
    "vgather vscatter vreduce vpadding": "int16 uint16 float16 float32 int32 uint32",
    "vcbd": "s322s16",
    "vmergech": "int8 uint8 float16",
    "rpn_cor rpn_cor_diag": "",
    "vbi": "float16",
    "v4dtrans": "int8 uint8 int16 uint16 float16 float32 int32 uint32",
    "mmad": (
        "s32u8u8 s32s8s8 s32u8s8 f16f16f16 f32f16f16 s32u8u2 f16f16u2 s32s4s4 u8 s8 f162f16 f162f32 f16u2 "
        "u8s8 b8u2 s4 u32u8u8"
    ),
    "depthwise_conv": "f16f16f16 f32f16f16 s32u8s8 s32s8s8 s32u8u8",
    "scatter_vadd scatter_vsub scatter_vmul scatter_vmax scatter_vmin scatter_vadds scatter_vmuls": (
        "float16 int32 int16 float32"
    ),
    "scatter_vmla scatter_vaxpy": "f16f16f16 f32f32f32 f32f16f16",
    "scatter_vrelu": "float16 int32  float32",
    "scatter_vconv": (
        "f322f16 f162f32 f162s8 f162u8 s322f16 s322f32 u82f16 s82f16 f162s32r f162s8f f162u8f f162s32f "
        "f322s32f f162s8c f162u8c f162s32c f322s32c f162s8a f162u8a f162s32a f322s32a f162s8z f162u8z "
        "f162s32z f322s32z f322f16o"
    ),
    "scatter_vnchwconv": "int16 uint16 int8 uint8 float16 uint32 int32 float32",
    "scatter_vector_mov": "int16 uint16 float16",
    "data_move_l0c2ub": "f16 u16 s16 f32 s32 u32",
}

ascend310p3 = Platform(
    "ascend310p3",
    "Ascend 310P3 (2021): 8 AI cores at 1.06 GHz, 16 MB L2, LPDDR4X; its 7 vector cores are left out",
    {
        "clock_hz": published(
            _CLOCK_HZ, "Hz", f"CANN platform configuration file {_FILE}, key cube_freq = 1060 MHz"
        ),
        "peak_fp16_flops": published(70e12, "FLOP/s", _BOARD + "280 TOPS int8 for two; half of it in fp16"),
        "peak_int8_ops": published(140e12, "OP/s", _BOARD + "280 TOPS int8 for two"),
        **configured(
            _FILE,
            ai_cores=8,
            l2_bytes=16777216,
            gm_bytes=24_000_000_000,
            l0a_bytes=65536,
            l0b_bytes=65536,
            l0c_bytes=262144,
            l1_bytes=1048576,
            ub_bytes=262144,
            ub_bank_bytes=4096,
            ub_banks=64,
            ub_bank_groups=16,
            block_bytes=32,
            cube_m=16,
            cube_k=16,
            cube_n=16,
            cube_k_int8=32,
            cube_k_uint8=32,
            cube_k_int4=64,
            load2d_l0a_bytes_per_cycle=512,
            load2d_l0b_bytes_per_cycle=256,
            l1_to_ub_bytes_per_cycle=128,
            ub_to_l1_bytes_per_cycle=256,
            l0c_to_ub_bytes_per_cycle=512,
            l2_read_bytes_per_cycle=114,
            l2_write_bytes_per_cycle=114,
            gm_to_l1_bytes_per_cycle=114,
            gm_to_ub_bytes_per_cycle=114,
            gm_to_l0_bytes_per_cycle=114,
            ub_to_gm_bytes_per_cycle=114,
        ),
        "hbm_bytes_per_cycle": published(
            192, "B/cycle", _BOARD + "408 GB/s of LPDDR4X for two, 204 GB/s for one, at 1.06 GHz"
        ),
        "l2_chip_bytes_per_cycle": published(
            1226, "B/cycle", _GEMM + "1300 GB/s of L2 for the chip, at 1.06 GHz"
        ),
        **start_of_tasks(_CLOCK_HZ),
        **documented_alignments("NPU version 2002"),
        **taken_over(FIRST_GENERATION),
        **taken_over(NOWHERE),
        "event_ids_per_pipe_pair": published(
            8, "", "Ascend C documentation, SetFlag and WaitFlag: ids 0 to 7 on Atlas inference chips"
        ),
        "vector_bytes_per_repeat": published(
            256, "B", f"CANN platform configuration file {_FILE}, key vec_calc_size = 128 fp16 lanes"
        ),
        **taken_over(VECTOR_CYCLES),
    },
    from_configuration(_INTRINSICS),
)
