"""A deep-learning framework in MindSpore's style: Python source becomes a functional IR."""

from framework import data, dtypes, ir, models, nn, ops, optim, train
from framework.autodiff import grad, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp, vmap
from framework.jit import jit
from framework.tensor import Parameter, Tensor
from framework.train import Model

__all__ = [
    "Model",
    "Parameter",
    "Tensor",
    "data",
    "dtypes",
    "grad",
    "hessian",
    "ir",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "models",
    "nn",
    "ops",
    "optim",
    "train",
    "value_and_grad",
    "vjp",
    "vmap",
]
