"""How operators run on the device: which kernels, on which axes, in which formats.

A lowering is a rule of its operator like inference and gradient. It speaks of kernels by name only, so that
the framework stays complete without a device; the graph engine looks the names up.
"""

from framework.ops.lowering.conv import conv2d, conv2d_backward_filter, conv2d_backward_input
from framework.ops.lowering.elementwise import binary, cast, elements, unary
from framework.ops.lowering.launch import DEVICE_DTYPES, Launch, Lowering, NotOnDevice, Types, device_dtype
from framework.ops.lowering.loss import softmax_cross_entropy, softmax_cross_entropy_grad
from framework.ops.lowering.matmul import bias_add, bias_add_grad, matmul
from framework.ops.lowering.optimizer import (
    apply_adam,
    apply_adamw,
    apply_lamb,
    apply_momentum,
    apply_momentum_decay,
    apply_sgd,
    clip_by_norm,
    float_status,
    global_norm,
)
from framework.ops.lowering.pooling import max_pool, max_pool_grad
from framework.ops.lowering.reduction import reduction

__all__ = [
    "DEVICE_DTYPES",
    "Launch",
    "Lowering",
    "NotOnDevice",
    "Types",
    "apply_adam",
    "apply_adamw",
    "apply_lamb",
    "apply_momentum",
    "apply_momentum_decay",
    "apply_sgd",
    "bias_add",
    "bias_add_grad",
    "binary",
    "cast",
    "clip_by_norm",
    "conv2d",
    "conv2d_backward_filter",
    "conv2d_backward_input",
    "device_dtype",
    "elements",
    "float_status",
    "global_norm",
    "matmul",
    "max_pool",
    "max_pool_grad",
    "reduction",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
    "unary",
]
