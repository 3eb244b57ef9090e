"""A deep-learning framework in MindSpore's style: Python source becomes a functional IR."""

from framework import data, dtypes, ir, models, nn, ops, optim, parallel, train
from framework.autodiff import (
    custom_vjp,
    grad,
    hessian,
    hook,
    jacfwd,
    jacrev,
    jvp,
    recompute,
    value_and_grad,
    vjp,
    vmap,
)
from framework.jit import jit
from framework.tensor import Parameter, Tensor
from framework.train import Model

__all__ = [
    "Model",
    "Parameter",
    "Tensor",
    "custom_vjp",
    "data",
    "dtypes",
    "grad",
    "hessian",
    "hook",
    "ir",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "models",
    "nn",
    "ops",
    "optim",
    "parallel",
    "recompute",
    "train",
    "value_and_grad",
    "vjp",
    "vmap",
]
