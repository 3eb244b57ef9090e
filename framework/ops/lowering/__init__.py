"""How operators run on the device: which kernels, on which axes, in which formats.

A lowering is a rule of its operator like inference and gradient. It speaks of kernels by name only, so that
the framework stays complete without a device; the graph engine looks the names up.
"""

from framework.ops.lowering.activation import dropout, dropout_grad, gelu, gelu_grad
from framework.ops.lowering.attention import attention, attention_grad
from framework.ops.lowering.conv import conv2d, conv2d_backward_filter, conv2d_backward_input
from framework.ops.lowering.elementwise import binary, cast, elements, full, unary
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
from framework.ops.lowering.rows import along_rows, gather, layer_norm, layer_norm_grad, scatter_add

__all__ = [
    "DEVICE_DTYPES",
    "Launch",
    "Lowering",
    "NotOnDevice",
    "Types",
    "along_rows",
    "apply_adam",
    "apply_adamw",
    "apply_lamb",
    "apply_momentum",
    "apply_momentum_decay",
    "apply_sgd",
    "attention",
    "attention_grad",
    "bias_add",
    "bias_add_grad",
    "binary",
    "cast",
    "clip_by_norm",
    "conv2d",
    "conv2d_backward_filter",
    "conv2d_backward_input",
    "device_dtype",
    "dropout",
    "dropout_grad",
    "elements",
    "float_status",
    "full",
    "gather",
    "gelu",
    "gelu_grad",
    "global_norm",
    "layer_norm",
    "layer_norm_grad",
    "matmul",
    "max_pool",
    "max_pool_grad",
    "reduction",
    "scatter_add",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
    "unary",
]
