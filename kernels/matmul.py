"""Matrix products on the cube: c = act(a @ b + bias + r), operands transposed or not, batched or not.

Tensors lie in GM as FRACTAL_NZ. The pipeline is that of `kernels.matmul_pipeline`; what happens to sums on
their way out is in `kernels.matmul_results`; `kernels.tiling.matmul` chooses tilings. A batch may share one
operand: `shared` is 1 where b is one matrix for all, 2 where a is.
The activation comes last: `act` is 0 for none, 1 for ReLU, 2 for GELU by tanh, 3 for GELU by erf.

The cube multiplies fp16. Operands of fp32 are cut by the vector unit into two fp16 numbers, x = hi + lo, on
their way to L1, and three products are added: hi hi + hi lo + lo hi. What is lost is 2**-22 of each product.
Numbers beyond the range of fp16 (65504) become infinite.

Source of the method: SGEMM-cube, arXiv 2507.23387 (published for this chip), without its scaling of `lo`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import erf
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import FP32, Operand, kernel, output
from kernels.matmul_job import SHARED_A, SHARED_B
from kernels.matmul_pipeline import matrix_product
from kernels.matmul_results import GELU_ERF, GELU_TANH, NOTHING, RELU_LAST, Given
from kernels.tiling.matmul import MatmulShape, MatmulTiling

Array = npt.NDArray[Any]


def matmul_reference(shape: Any, a: Array, b: Array, *added: Array) -> tuple[Array]:
    """Return c[..., m, n] = act(a[..., m, k] @ b[..., k, n] + ...), computed in float32 and rounded once."""
    left = np.swapaxes(a, -1, -2) if shape.trans_a else a
    right = np.swapaxes(b, -1, -2) if shape.trans_b else b
    total = left.astype(np.float32) @ right.astype(np.float32)
    for term in added:
        total = total + term.astype(np.float32)
    result = activated(shape.act, total)
    return (result.astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


def activated(act: int, x: Array) -> Array:
    """Return the activation of float32 numbers, computed in float64."""
    wide = x.astype(np.float64)
    if act == RELU_LAST:
        return np.maximum(x, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        if act == GELU_TANH:
            return np.asarray(0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3))))
        if act == GELU_ERF:
            return np.asarray(0.5 * wide * (1 + np.vectorize(erf, otypes=[np.float64])(wide / np.sqrt(2))))
    return x


def factors(shape: MatmulShape) -> tuple[Operand, Operand]:
    """Return a and b as they are stored; the batch in front, unless it shares one of them."""
    made = []
    for name, shared, edges, is_transposed in (
        ("a", SHARED_A, (shape.m, shape.k), shape.trans_a),
        ("b", SHARED_B, (shape.k, shape.n), shape.trans_b),
    ):
        stored = edges[::-1] if is_transposed else edges
        axes = stored if shape.shared == shared else shape.batched(*stored)
        made.append(Operand(name, axes, shape.dtype, "NZ"))
    return made[0], made[1]


def bias_of(shape: MatmulShape, dtype: int) -> Operand:
    """Return the bias, which is read in whole fractals."""
    return Operand("bias", (shape.n,), dtype, padding_bytes=-4 * shape.n % 64)


def result(shape: MatmulShape) -> Operand:
    """Return c."""
    return output("c", shape.batched(shape.m, shape.n), shape.out_dtype, "NZ")


def macs(shape: MatmulShape) -> int:
    """Count the cube's multiplications, without padding."""
    return shape.b * shape.m * shape.k * shape.n


@dataclass(frozen=True)
class BiasShape(MatmulShape):
    """A product to every row of which bias[n] is added, as in dense layers."""

    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 12288, "k": 1024, "n": 1024}, {"m": 12288, "k": 1024, "n": 4096, "act": 2},
        {"m": 32, "k": 2048, "n": 1001},
    )  # fmt: skip


@dataclass(frozen=True)
class AddShape(MatmulShape):
    """A product to which r[b, m, n], of the type of c, is added."""

    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 12288, "k": 1024, "n": 1024}, {"m": 12288, "k": 4096, "n": 1024},
    )  # fmt: skip
    ADDS: ClassVar[bool] = True


def _operands(shape: MatmulShape) -> tuple[Operand, ...]:
    return *factors(shape), result(shape)


def _operands_with_bias(shape: MatmulShape) -> tuple[Operand, ...]:
    return *factors(shape), bias_of(shape, FP32), result(shape)


def _residual(shape: AddShape) -> Operand:
    return Operand("r", shape.batched(shape.m, shape.n), shape.out_dtype, "NZ")


def _operands_with_residual(shape: AddShape) -> tuple[Operand, ...]:
    return *factors(shape), _residual(shape), result(shape)


def _operands_with_both(shape: AddShape) -> tuple[Operand, ...]:
    return *factors(shape), bias_of(shape, FP32), _residual(shape), result(shape)


@kernel(MatmulShape, MatmulTiling, _operands, matmul_reference, macs)
def matmul(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = act(a[b, m, k] @ b[b, k, n]), fp16 or fp32 in, fp32 accumulated, fp16 or fp32 out."""
    matrix_product(core, Given(a, b, c, NOTHING, NOTHING, NOTHING, 0), 1, shape, tiling)


@kernel(BiasShape, MatmulTiling, _operands_with_bias, matmul_reference, macs)
def matmul_bias(core: Any, a: int, b: int, bias: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = act(a[b, m, k] @ b[b, k, n] + bias[n]), bias fp32, else as matmul."""
    matrix_product(core, Given(a, b, c, bias, NOTHING, NOTHING, 0), 1, shape, tiling)


@kernel(AddShape, MatmulTiling, _operands_with_residual, matmul_reference, macs)
def matmul_add(core: Any, a: int, b: int, r: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = act(a[b, m, k] @ b[b, k, n] + r[b, m, n]), r of the type of c, else as matmul."""
    matrix_product(core, Given(a, b, c, NOTHING, r, NOTHING, 0), 1, shape, tiling)


@kernel(AddShape, MatmulTiling, _operands_with_both, matmul_reference, macs)
def matmul_bias_add(core: Any, a: int, b: int, bias: int, r: int, c: int, shape: Any, tiling: Any) -> None:
    """c[b, m, n] = act(a[b, m, k] @ b[b, k, n] + bias[n] + r[b, m, n]), as matmul_bias and matmul_add."""
    matrix_product(core, Given(a, b, c, bias, r, NOTHING, 0), 1, shape, tiling)
