"""Ascend Lite class, after the core of Hi3796CV300ES: a cube of half the size, one core. Data only."""

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

_FILE = "Hi3796CV300ES.ini"
_CLOCK_HZ = 0.3e9
_NO_L2 = "the configuration file has no L2 rates: no faster than DDR, whose rate is 40 B/cycle"
_SLIDE = "Hot Chips 31 (2019), DaVinci talk: 4096 operations a cycle in fp16, at the clock assumed here"

_INTRINSICS = {  # intrinsics: types, as the configuration file lists them
    (
        "vadd vsub vmul vmax vmin vadds vmuls vmaxs vmins vrelu scatter_vadd scatter_vsub scatter_vmul "
        "scatter_vmax scatter_vmin scatter_vadds scatter_vmuls scatter_vrelu"
    ): "float16 int32",
    (
        "vdiv vexp vln vrec vrsqrt vsqrt vabs vmadd vmaddrelu vaadd vcmp vcmpv_eq vcmpv_ne vcmpv_lt "
        "vcmpv_le vcmpv_gt vcmpv_ge vsel vcadd vcgadd vcpadd vcmax vcmin vcgmax vcgmin vbitsort vmrgsort4 "
        "vextract vconcat vrpac viou scatter_vdiv scatter_vmadd scatter_vmaddrelu scatter_vexp "
        "scatter_vln scatter_vrec scatter_vrsqrt scatter_vsqrt scatter_vabs scatter_vsel scatter_vcmp"
    ): "float16",
    "vand vor vnot": "int16 uint16",
    "vaxpy vmla": "f16f16f16 float16",
    "vmulconv scatter_vmulconv": "u8f16f16 s8f16f16",
    "vadddeqrelu": "f16s32s32",
    "vconv": (
        "f162f32 f162s8 f162s8a f162s8f f162s8c f162s8z f162u8 f162u8a f162u8f f162u8c f162u8z f162s4 deq "
        "s322f32 f162s32r f162s32a f162s32f f162s32c f162s32z u82f16 s82f16 s322f16"
    ),
    "vnchwconv scatter_vnchwconv": "int16 uint16 int8 uint8 float16 uint32 int32 float32",
    "vtranspose": "uint16 int16 float16",
    "vmergech": "int8 uint8 float16",
    "rpn_cor rpn_cor_diag": "",
    "v4dtrans": "int8 uint8 int16 uint16 float16 float32 int32 uint32",
    "mmad": "s32u8u8 s32s8s8 s32u8s8 s32u8u2 s32s4s4 u8 s8 f162f16 u8s8 b8u2 s4 u32u8u8 f16f16f16",
    "depthwise_conv": "f16f16f16 s32u8s8 s32s8s8 s32u8u8",
    "scatter_vmla scatter_vaxpy": "f16f16f16",
    "scatter_vconv": (
        "f162f32 f162s8 f162s8a f162s8f f162s8c f162s8z f162u8 f162u8a f162u8f f162u8c f162u8z deq "
        "s322f32 f162s32r f162s32a f162s32f f162s32c f162s32z u82f16 s82f16 s322f16"
    ),
    "scatter_vector_mov": "int16 uint16 float16",
    "data_move_l0c2ub": "f16 u16 s16 f32 s32 u32",
    "broadcast_ub_to_cc": "float16 float32 int32",
}

ascend_lite = Platform(
    "ascend_lite",
    "Ascend Lite class (core of Hi3796CV300ES): 1 AI core, cube of 16 x 16 x 8, fp16 only in the vector unit",
    {
        "clock_hz": assumed(
            _CLOCK_HZ,
            "Hz",
            f"none is published for the phone chips of this class; cube_freq of {_FILE}, 300 MHz",
        ),
        "peak_fp16_flops": assumed(1.2288e12, "FLOP/s", _SLIDE),
        "peak_int8_ops": assumed(
            4.9152e12, "OP/s", "8192 products a cycle (DtypeMKN), at the clock assumed here"
        ),
        **configured(
            _FILE,
            ai_cores=1,
            l2_bytes=1048576,
            l0a_bytes=32768,
            l0b_bytes=32768,
            l0c_bytes=131072,
            l1_bytes=524288,
            ub_bytes=196608,
            ub_bank_bytes=4096,
            ub_banks=48,
            ub_bank_groups=16,
            block_bytes=32,
            cube_m=16,
            cube_k=16,
            cube_n=8,
            cube_k_int8=32,
            cube_n_int8=16,
            cube_k_uint8=32,
            cube_n_uint8=16,
            cube_k_int4=64,
            cube_n_int4=16,
            load2d_l0a_bytes_per_cycle=512,
            load2d_l0b_bytes_per_cycle=256,
            l1_to_ub_bytes_per_cycle=128,
            ub_to_l1_bytes_per_cycle=256,
            l0c_to_ub_bytes_per_cycle=512,
        ),
        "gm_bytes": assumed(
            4 * 2**30, "B", "the configuration file leaves memory_size empty: the host's DDR"
        ),
        "hbm_bytes_per_cycle": assumed(40, "B/cycle", f"the only core's ddr_rate in {_FILE}"),
        "l2_read_bytes_per_cycle": assumed(40, "B/cycle", _NO_L2),
        "l2_write_bytes_per_cycle": assumed(40, "B/cycle", _NO_L2),
        "l2_chip_bytes_per_cycle": assumed(40, "B/cycle", _NO_L2),
        "gm_to_l1_bytes_per_cycle": assumed(40, "B/cycle", _NO_L2),
        "gm_to_ub_bytes_per_cycle": assumed(40, "B/cycle", _NO_L2),
        "gm_to_l0_bytes_per_cycle": assumed(40, "B/cycle", _NO_L2),
        "ub_to_gm_bytes_per_cycle": published(
            33, "B/cycle", f"CANN platform configuration file {_FILE}, key ub_to_ddr_rate"
        ),
        **start_of_tasks(_CLOCK_HZ),
        **taken_over(ALIGNMENTS),
        **taken_over(FIRST_GENERATION),
        **taken_over(NOWHERE),
        "load3d_head_cycles": published(
            35,
            "cycles",
            "cost model of TIK (CANN 8.1.RC1) for SD3403, a core of this class: load3d takes 35 more",
        ),
        "event_ids_per_pipe_pair": published(
            8, "", "limits of TIK, the vendor's Python kernel language: ids to 3 on the 910, to 7 elsewhere"
        ),
        "vector_bytes_per_repeat": published(
            256,
            "B",
            f"CANN platform configuration file {_FILE}, key vec_calc_size = 128 fp16 lanes; the Hot Chips 31 "
            "slide says 128 bytes for this class",
        ),
        **taken_over(VECTOR_CYCLES),
    },
    from_configuration(_INTRINSICS),
)
