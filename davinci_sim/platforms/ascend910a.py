"""Ascend 910A: 32 coupled AI cores at 1.0 GHz, first generation. Data only."""

from __future__ import annotations

from davinci_sim.platforms.figure import Figure, assumed, fitted, measured, published
from davinci_sim.platforms.instructions import from_configuration
from davinci_sim.platforms.platform import Platform

_INI = "CANN platform configuration file Ascend910A.ini, key "
_TIK = "cube cost model of TIK, the vendor's Python kernel language (CANN 8.1.RC1), first-generation cores: "
_TILING = "vendor's operator tiling model (cann-ops, cube cycle calculator), first-generation cores: "
_GEMM = "matmul tiling of the vendor's operator compiler (TBE in CANN 8.1.RC1), constants for 32-core chips: "
_ASCENDC = "Ascend C documentation, "
_HOT_CHIPS = "Hot Chips 31 (2019), DaVinci talk: "
_MSKPP = "measured on 910B1, table of msKPP, the vendor's operator modelling tool (none exists for 910A): "

_CHIP = {
    "clock_hz": published(1.0e9, "Hz", _INI + "cube_freq = 1000 MHz"),
    "ai_cores": published(32, "", _INI + "ai_core_cnt"),
    "peak_fp16_flops": published(
        256e12, "FLOP/s", _HOT_CHIPS + "256 TFLOPS fp16; 262 follow from the figures here"
    ),
    "peak_int8_ops": published(512e12, "OP/s", _HOT_CHIPS + "512 TOPS int8"),
    "l2_bytes": published(33554432, "B", _INI + "l2_size"),
    "gm_bytes": assumed(
        32 * 2**30, "B", "the ini leaves memory_size empty; boards with this chip carry 32 GiB of HBM"
    ),
    "hbm_bytes_per_cycle": published(
        1024, "B/cycle", _INI + "ddr_read_rate = ddr_write_rate = 32 for each of the 32 cores; peak 1200"
    ),
    "l2_chip_bytes_per_cycle": published(3300, "B/cycle", _GEMM + "3300 GB/s of L2 for the chip, at 1.0 GHz"),
    "block_start_cycles": fitted(
        82,
        "cycles",
        "from one block of a task to the next: slope over the number of blocks of 18 records of up to 80 KB "
        "(AtomicAddrClean, Relu, ReluGrad, Cast, BiasAddGrad; 1 to 32 blocks) in the LeNet-5 profile below",
    ),
    "host_launch_cycles": assumed(
        10000, "cycles", "10 us for the host to send one task; no figure is published for this chip"
    ),
    "host_sync_cycles": assumed(
        20000,
        "cycles",
        "20 us from the moment when a stream has come to a task of the host until a thread there that waits "
        "for it runs: an interrupt over PCIe and a wake-up; no figure is published for this chip",
    ),
    "host_link_bytes_per_cycle": published(
        20,
        "B/cycle",
        "20 GB/s for PCIe in the link constants of the vendor's profiler (CANN 8.1.RC1), at 1.0 GHz; "
        + _HOT_CHIPS
        + "PCIe 4.0 x16",
    ),
    "link_bytes_per_cycle": published(
        18,
        "B/cycle",
        "18 GB/s of a link (HCCS) in the link constants of the vendor's profiler (CANN 8.1.RC1), at 1.0 GHz; "
        "it is the slowest in a ring of 8, which crosses PCIe (20 GB/s there) between two groups of four",
    ),
    "link_planes": measured(
        4,
        "",
        "an all-reduce of 8 ranks is made as rings on 4 planes in a published profile of MindInsight "
        "(hccl_0_2_5.json)",
    ),
    "link_step_cycles": fitted(
        2058,
        "cycles",
        "three copies between two chips in published profiles of MindInsight (hccl_raw of cluster_propose): "
        "2.2 us for 2,048 bytes, 2.4 for 6,100 and 3.05 for 18,400, less their bytes at 18 GB/s; the mean",
    ),
    "link_ranks": published(
        8, "", "8 ranks in a server, limits of the collectives in the vendor's profiler (CANN 8.1.RC1)"
    ),
    "label_cycles": assumed(100, "cycles", "a label that the task scheduler passes; no figure is published"),
    "label_goto_cycles": assumed(
        1100, "cycles", "a goto of the task scheduler: the start of a task; no figure is published"
    ),
    "label_switch_cycles": assumed(
        1200,
        "cycles",
        "a switch of the task scheduler: the start of a task and a word read; no figure is published",
    ),
    "aicpu_start_cycles": assumed(
        10000, "cycles", "10 us to start an operator on the AI CPU; no figure is published for this chip"
    ),
    "aicpu_bytes_per_cycle": assumed(
        8, "B/cycle", "one core of the AI CPU, a 64-bit word a cycle; no figure is published"
    ),
    "task_start_cycles": fitted(
        1100,
        "cycles",
        "the four AtomicAddrClean records of at most 120 numbers in the published LeNet-5 profile of a 910A "
        "(MindInsight's profiler test data: 1.17, 1.18, 1.28 and 1.42 us) less the 0.13 us of their transfer",
    ),
}

_SIZES = {
    "l0a_bytes": published(65536, "B", _INI + "l0_a_size"),
    "l0b_bytes": published(65536, "B", _INI + "l0_b_size"),
    "l0c_bytes": published(262144, "B", _INI + "l0_c_size"),
    "l1_bytes": published(1048576, "B", _INI + "l1_size"),
    "ub_bytes": published(262144, "B", _INI + "ub_size"),
    "ub_bank_bytes": published(4096, "B", _INI + "ubbank_size"),
    "ub_banks": published(64, "", _INI + "ubbank_num"),
    "ub_bank_groups": published(16, "", _INI + "ubbank_group_num"),
    "block_bytes": published(32, "B", _INI + "ubblock_size: the datablock, unit of burst and alignment"),
    "fractal_bytes": published(
        512, "B", _ASCENDC + "data formats: a fractal is 16 rows of 32 bytes in L1, L0A and L0B"
    ),
}

_ALIGN = _ASCENDC + "architecture pages of NPU versions 2002, 2201 and 3002 (all alike; none for this chip): "
_ALIGNMENT = {
    "gm_align_bytes": published(1, "B", _ASCENDC + "DataCopy: global memory addresses are byte aligned"),
    "l1_align_bytes": assumed(32, "B", _ALIGN + "L1 32 bytes"),
    "ub_align_bytes": assumed(32, "B", _ALIGN + "UB 32 bytes"),
    "l0a_align_bytes": assumed(512, "B", _ALIGN + "L0A 512 bytes"),
    "l0b_align_bytes": assumed(512, "B", _ALIGN + "L0B 512 bytes"),
    "l0c_align_bytes": assumed(64, "B", _ALIGN + "L0C 64 bytes"),
}

_CUBE = {
    "cube_m": published(16, "", _INI + "cube_m_size"),
    "cube_k": published(16, "", _INI + "cube_k_size, for fp16"),
    "cube_n": published(16, "", _INI + "cube_n_size"),
    "cube_k_int8": published(32, "", _INI + "DtypeMKN of DT_INT8 = 16, 32, 16"),
    "cube_k_uint8": published(32, "", _INI + "DtypeMKN of DT_UINT8 = 16, 32, 16"),
    "mmad_head_cycles": assumed(
        4, "cycles", "what a product holds the cube beyond its fractals; " + _MSKPP + "2"
    ),
    "mmad_drain_cycles": published(
        11, "cycles", _TIK + "an mmad takes one cycle per fractal product plus 15, 4 of them before the next"
    ),
    "mmad_l0c_conflict": published(
        1, "", _TIK + "k fractals - 2 cycles more where the fractals along m or n are odd in number"
    ),
}

_INSIDE = {  # moves between the buffers of one core
    "load2d_l0a_bytes_per_cycle": published(512, "B/cycle", _INI + "l1_to_l0_a_rate"),
    "load2d_l0a_head_cycles": published(10, "cycles", _TIK + "10 cycles between two load2d to L0A"),
    "load2d_l0b_bytes_per_cycle": published(256, "B/cycle", _INI + "l1_to_l0_b_rate"),
    "load2d_l0b_head_cycles": published(
        10, "cycles", _TIK + "load2d to L0B takes 2 cycles per fractal plus 10"
    ),
    "load3d_head_cycles": published(15, "cycles", _TIK + "load3d takes stride_w cycles per fractal plus 15"),
    "load3d_min_cycles": published(25, "cycles", _TIK + "at least 25 cycles between load3d along k"),
    "mte1_drain_cycles": assumed(
        0, "cycles", "the published heads of gen-1 loads contain it: they are distances between instructions"
    ),
    "load3d_cycles_per_fractal_per_stride": published(
        1, "cycles", _TIK + "load3d takes stride_w cycles per fractal"
    ),
    "l1_to_ub_bytes_per_cycle": published(128, "B/cycle", _INI + "l1_to_ub_rate"),
    "ub_to_l1_bytes_per_cycle": published(128, "B/cycle", _INI + "ub_to_l1_rate"),
    "l0c_to_ub_bytes_per_cycle": published(
        256, "B/cycle", _INI + "l0_c_to_ub_rate; the move occupies the vector pipe"
    ),
    "ub_to_ub_bytes_per_cycle": assumed(
        256,
        "B/cycle",
        "one vector repeat (256 bytes read, 256 written) a cycle, which is the 512 B/cycle of UB bandwidth "
        "in the vendor's operator tiling model for first-generation cores; msKPP's 910B1 table has it too",
    ),
}

_OUTSIDE = {  # moves between a core and L2 or HBM
    "l2_read_bytes_per_cycle": published(110, "B/cycle", _INI + "l2_read_rate, one core"),
    "l2_write_bytes_per_cycle": published(86, "B/cycle", _INI + "l2_write_rate, one core"),
    **{
        key: published(
            100,
            "cycles",
            _TILING + "100 cycles more for a transfer below 512 blocks; hidden behind longer ones",
        )
        for key in ("gm_read_head_cycles", "gm_to_l1_head_cycles", "gm_to_ub_head_cycles")
    },
    "gm_write_head_cycles": assumed(100, "cycles", "taken from the opposite direction; none is published"),
    "gm_to_l1_bytes_per_cycle": published(110, "B/cycle", _INI + "l2_read_rate: the core's own path to L2"),
    "gm_to_ub_bytes_per_cycle": published(110, "B/cycle", _INI + "l2_read_rate: the core's own path to L2"),
    "gm_to_l0_bytes_per_cycle": published(110, "B/cycle", _INI + "l2_read_rate: the core's own path to L2"),
    "ub_to_gm_bytes_per_cycle": published(64, "B/cycle", _INI + "ub_to_l2_rate and ub_to_ddr_rate"),
    "gm_fast_align_bytes": published(512, "B", _ASCENDC + "best practice: 512-byte aligned GM addresses"),
    "gm_unaligned_percent": published(
        70,
        "%",
        _ASCENDC + "best practice: addresses aligned to 32 bytes only can fall to 70 % of the bandwidth",
    ),
    "gm_atomic_percent": published(50, "%", _GEMM + "atomic addition halves the rate of MTE3"),
    "l2_line_bytes": assumed(512, "B", "the line of the vendor's simulator of 910B1 (CAModel configuration)"),
    "l2_ways": assumed(16, "", "no figure is published"),
    "gm_packet_slot_bytes": published(
        256,
        "B",
        _TILING + "transfers split into packets of 8, 4, 3, 2 and 1 blocks, each taking the slot of 8 blocks",
    ),
}

_CONTROL = {
    "event_ids_per_pipe_pair": published(
        4, "", _ASCENDC + "SetFlag and WaitFlag: ids 0 to 3 on Atlas training chips"
    ),
    "queue_depth": assumed(
        32, "", "depth of the MTE1 and mmad queues in the Ascend C page of NPU version 2201"
    ),
    "dispatch_cycles": assumed(
        1, "cycles", "the scalar unit hands out one instruction a cycle; no figure is published"
    ),
    "vector_bytes_per_repeat": published(256, "B", _INI + "vec_calc_size = 128 fp16 lanes of 2 bytes"),
    "vector_min_cycles": assumed(4, "cycles", _MSKPP + "an instruction of one repeat takes 3 to 4 cycles"),
    "vector_drain_cycles": assumed(
        22,
        "cycles",
        "from the last repeat to the result; the fixed part of an addition in the vendor's bank conflict "
        "example for A2 (2390 ticks of 50 MHz for 1000 additions of 64 repeats at 1.8 GHz)",
    ),
}

# cycles of one 256-byte repeat where it is not 1: {(instruction, ...): {dtype: cycles}}
_VECTOR_REPEAT = {
    ("vexp", "vln"): {"fp16": 4, "fp32": 2},
    ("vdiv",): {"fp16": 4, "fp32": 4},
    ("vsqrt",): {"fp16": 4, "fp32": 2},
    ("vrec", "vrsqrt", "vcpadd"): {"fp16": 1, "fp32": 1},
    ("vcadd",): {"fp16": 7, "fp32": 3},
    ("vcmax", "vcmin"): {"fp16": 7, "fp32": 7},
    ("vcgadd", "vcgmax", "vcgmin"): {"fp16": 7, "fp32": 1},
    ("vmla", "vmadd", "vmaddrelu"): {"fp16": 6, "fp32": 6},
    ("vmla_mixed",): {"fp16": 5},
    ("vsel", "vsel_cmpmask", "vsels"): {"fp16": 2, "fp32": 2},
    tuple(f"{kind}_{test}" for kind in ("vcmpv", "vcmp") for test in ("eq", "ne", "lt", "le", "gt", "ge")): {
        "fp16": 2,
        "fp32": 2,
    },
    ("vgather", "vscatter"): {"fp16": 24, "int16": 24, "uint16": 24, "fp32": 12, "int32": 12},
    ("vgatherb", "vreduce", "vreduce_fixed"): {"fp16": 2, "int16": 2, "uint16": 2, "fp32": 2, "int32": 2},
    ("vbitsort", "vmrgsort4"): {"fp16": 16},
    ("vconv",): {"fp16": 1, "fp32": 1, "int32": 1, "int8": 1, "uint8": 1},
}

_SCATTER_FORMS = (
    "vexp", "vln", "vdiv", "vsqrt", "vrec", "vrsqrt", "vmla", "vmadd", "vmaddrelu", "vsel", "vcmp_eq",
    "vcmp_ne", "vcmp_lt", "vcmp_le", "vcmp_gt", "vcmp_ge",
)  # fmt: skip


def _vector_figures() -> dict[str, Figure]:
    """Return `vector_cycles.<instruction>.<dtype>` for every entry of the table, and the default."""
    aibench = "AIBench (CCF THPC, 2024) measured 3390 GFLOPS on a 910: one binary repeat a cycle and core"
    figures = {
        "vector_cycles.default": assumed(1, "cycles", aibench + "; taken for every instruction not listed")
    }
    for instructions, cycles_of in _VECTOR_REPEAT.items():
        for instruction in instructions:
            for dtype, cycles in cycles_of.items():
                source = _MSKPP + f"slope per repeat of {instruction} on {dtype}"
                figures[f"vector_cycles.{instruction}.{dtype}"] = assumed(cycles, "cycles", source)
    for instructions, cycles_of in _VECTOR_REPEAT.items():  # the scatter forms of the first generation
        for instruction in instructions:
            for dtype in cycles_of if instruction in _SCATTER_FORMS else ():
                figures[f"vector_cycles.scatter_{instruction}.{dtype}"] = assumed(
                    cycles_of[dtype], "cycles", f"taken from {instruction}; none is published"
                )
    transpose = "16 rows of 32 bytes in, 16 out, a row a cycle; no figure is published"
    for dtype in ("fp16", "fp32", "int32", "int8", "uint8", "int16", "uint16"):
        for instruction in ("vnchwconv", "scatter_vnchwconv", "vtranspose"):
            figures[f"vector_cycles.{instruction}.{dtype}"] = assumed(16, "cycles", transpose)
    for instruction in ("viou", "vaadd"):
        figures[f"vector_cycles.{instruction}.fp16"] = assumed(
            2, "cycles", "512 bytes of areas a repeat, 256 a cycle; none is published"
        )
    return figures


_INTRINSICS = {  # intrinsics: types, as the configuration file lists them
    (
        "vadd vsub vmul vmax vmin scatter_vadd scatter_vsub scatter_vmul scatter_vmax scatter_vmin "
        "broadcast_ub_to_cc"
    ): "float16 float32 int32",
    (
        "vdiv vadds vmuls vexp vln vrec vrsqrt vsqrt vabs vmadd vmaddrelu vcmp vcmpv_eq vcmpv_ne vcmpv_lt "
        "vcmpv_le vcmpv_gt vcmpv_ge vsel vcadd scatter_vdiv scatter_vmadd scatter_vmaddrelu scatter_vadds "
        "scatter_vmuls scatter_vexp scatter_vln scatter_vrec scatter_vrsqrt scatter_vsqrt scatter_vabs "
        "scatter_vsel scatter_vcmp"
    ): "float16 float32",
    "vand vor vnot": "int16 uint16",
    (
        "vrelu vaadd vcgadd vcpadd vcmax vcmin vcgmax vcgmin vbitsort vmrgsort4 vextract vconcat vrpac "
        "viou scatter_vrelu"
    ): "float16",
    "vaxpy vmla": "f16f16f16 f32f32f32 f32f16f16 float16 float32",
    "vmulconv scatter_vmulconv": "u8f16f16 s8f16f16",
    "vadddeqrelu": "f16s32s32",
    "vconv scatter_vconv": (
        "f322f16 f162f32 f322f16o f162s8 f162s8a f162s8f f162s8c f162s8z f162u8 f162u8a f162u8f f162u8c "
        "f162u8z deq s322f32 f162s32r f162s32a f162s32f f162s32c f162s32z f322s32r f322s32a f322s32f "
        "f322s32c f322s32z u82f16 s82f16 s322f16"
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

ascend910a = Platform(
    "ascend910a",
    "Ascend 910A (2019): 32 AI cores, cube and vector coupled, 1.0 GHz, 32 MB L2, HBM",
    {**_CHIP, **_SIZES, **_ALIGNMENT, **_CUBE, **_INSIDE, **_OUTSIDE, **_CONTROL, **_vector_figures()},
    from_configuration(_INTRINSICS),
)
