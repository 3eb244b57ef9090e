"""Products of int8 matrices: exact sums of int32, as they are or dequantised to fp16 or fp32.

The cube takes twice as many products of int8 as of fp16 in a cycle. L0A and L0B are filled with fractals of
16 x 32 numbers, which load2d cannot transpose: a is stored (m, k) and b (n, k), as weights are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.fields import INT8, INT32
from kernels.lang import FP16, FP32, Operand, kernel
from kernels.matmul import activated, bias_of, factors, macs, result
from kernels.matmul_pipeline import matrix_product
from kernels.matmul_results import NOTHING, RELU_LAST, Given
from kernels.rules import require, require_dtype
from kernels.tiling.matmul import MatmulShape, MatmulTiling

Array = npt.NDArray[Any]
WHOLE = np.iinfo(np.int32)
SCALE_BYTES = 16384
"""What scales take of UB."""


def sums(a: Array, b: Array) -> Array:
    """Return a[..., m, k] @ b[..., n, k]^T of int8, exactly."""
    return np.asarray(a.astype(np.int64) @ np.swapaxes(b, -1, -2).astype(np.int64))


def matmul_int8_reference(shape: Any, a: Array, b: Array) -> tuple[Array]:
    """Return c[..., m, n] = act(a[..., m, k] @ b[..., n, k]^T), saturated to int32."""
    return (np.clip(activated(shape.act, sums(a, b)), WHOLE.min, WHOLE.max).astype(np.int32),)


def matmul_dequant_reference(shape: Any, a: Array, b: Array, scale: Array) -> tuple[Array]:
    """Return c[..., m, n] = act((a[..., m, k] @ b[..., n, k]^T) * scale), scaled in float32."""
    scaled = sums(a, b).astype(np.float32) * scale
    return (activated(shape.act, scaled).astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


def matmul_bias_dequant_reference(shape: Any, a: Array, b: Array, bias: Array, scale: Array) -> tuple[Array]:
    """Return c[..., m, n] = act((a[..., m, k] @ b[..., n, k]^T + bias[n]) * scale), scaled in float32."""
    scaled = (sums(a, b) + bias).astype(np.float32) * scale
    return (activated(shape.act, scaled).astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


@dataclass(frozen=True)
class Int8Shape(MatmulShape):
    """c[b, m, n] = a[b, m, k] @ b[b, n, k]^T of int8, as int32."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("trans_a", "shared", "act")
    APART: ClassVar[tuple[str, ...]] = OPTIONS
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 16, "k": 32, "n": 16}, {"m": 100, "k": 70, "n": 50}, {"m": 65, "k": 300, "n": 33, "b": 2},
    )  # fmt: skip
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 12288, "k": 4096, "n": 1024}, {"m": 32, "k": 2048, "n": 1001},
    )  # fmt: skip
    trans_b: int = 1
    dtype: int = INT8
    out_dtype: int = INT32

    def check(self, kernel: str) -> None:
        """Refuse other types, and operands that would have to be transposed."""
        require_dtype(kernel, self.dtype, INT8)
        require_dtype(kernel, self.out_dtype, INT32, name="out_dtype")
        require(kernel, self.act <= RELU_LAST, "act of whole numbers is 0 or 1", f"act={self.act}")
        self.check_stored(kernel)

    def check_stored(self, kernel: str) -> None:
        """Refuse operands that would have to be transposed, and options out of range."""
        self.check_options(kernel)
        rule = "fractals of int8 are not transposed: a is stored (m, k), b (n, k)"
        stored = f"trans_a={self.trans_a}, trans_b={self.trans_b}"
        require(kernel, (self.trans_a, self.trans_b) == (0, 1), rule, stored)


@dataclass(frozen=True)
class DequantShape(Int8Shape):
    """c[b, m, n] = (a[b, m, k] @ b[b, n, k]^T) * scale as fp16 or fp32; one scale, or n of them."""

    out_dtype: int = FP16
    scales: int = 1

    def check(self, kernel: str) -> None:
        """Refuse other types, numbers of scales, and operands that would have to be transposed."""
        require_dtype(kernel, self.dtype, INT8)
        require_dtype(kernel, self.out_dtype, FP16, FP32, name="out_dtype")
        require(kernel, self.scales in {1, self.n}, "scales is 1 or n", f"n={self.n}, scales={self.scales}")
        self.check_stored(kernel)

    @property
    def is_staged(self) -> bool:
        """Sums are scaled in UB."""
        return True

    @property
    def vector_cycles(self) -> int:
        """A conversion and a multiplication more."""
        return super().vector_cycles + 2

    @property
    def taken_bytes(self) -> int:
        """Bytes of UB that are not for results."""
        return SCALE_BYTES


def _int8_factors(shape: Int8Shape) -> tuple[Operand, ...]:
    """Return a and b; random ones have either sign."""
    return tuple(Operand(o.name, o.shape, INT8, o.layout, between=(-100, 100)) for o in factors(shape))


def _scale(shape: DequantShape) -> Operand:
    """Return the scales, which are read in whole fractals."""
    padding = -4 * shape.scales % 64
    return Operand("scale", (shape.scales,), FP32, padding_bytes=padding, between=(1e-5, 2e-4))


def _whole_bias(shape: DequantShape) -> Operand:
    declared = bias_of(shape, INT32)
    return Operand("bias", declared.shape, INT32, "ND", False, declared.padding_bytes, (-50_000, 50_000))


def _operands(shape: Int8Shape) -> tuple[Operand, ...]:
    return *_int8_factors(shape), result(shape)


def _operands_with_scale(shape: DequantShape) -> tuple[Operand, ...]:
    return *_int8_factors(shape), _scale(shape), result(shape)


def _operands_with_bias(shape: DequantShape) -> tuple[Operand, ...]:
    return *_int8_factors(shape), _whole_bias(shape), _scale(shape), result(shape)


@kernel(Int8Shape, MatmulTiling, _operands, matmul_int8_reference, macs)
def matmul_int8(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = act(a[b, m, k] @ b[b, n, k]^T), int8 in, int32 accumulated and out."""
    matrix_product(core, Given(a, b, c, NOTHING, NOTHING, NOTHING, 0), 1, shape, tiling)


@kernel(DequantShape, MatmulTiling, _operands_with_scale, matmul_dequant_reference, macs)
def matmul_dequant(core: Any, a: int, b: int, scale: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = act((a[b, m, k] @ b[b, n, k]^T) * scale), int8 in, scale[1] or scale[n] fp32."""
    matrix_product(core, Given(a, b, c, NOTHING, NOTHING, scale, shape.scales), 1, shape, tiling)


@kernel(DequantShape, MatmulTiling, _operands_with_bias, matmul_bias_dequant_reference, macs)
def matmul_bias_dequant(
    core: Any, a: int, b: int, bias: int, scale: int, c: int, shape: Any, tiling: Any
) -> None:
    """c[b, m, n] = act((a[b, m, k] @ b[b, n, k]^T + bias[n]) * scale), bias int32, else as matmul_dequant."""
    matrix_product(core, Given(a, b, c, bias, NOTHING, scale, shape.scales), 1, shape, tiling)
