"""Training: the step as a Func, who runs it, the loop around it, and checkpoints."""

from framework.train.callbacks import Callback, History, LossMonitor, Progress
from framework.train.checkpoint import load_checkpoint, save_checkpoint
from framework.train.model import Model, Score
from framework.train.runner import Batch, HostRunner, StepRunner
from framework.train.scale import DynamicLossScale
from framework.train.step import inference_step, initial_state, training_step

__all__ = [
    "Batch",
    "Callback",
    "DynamicLossScale",
    "History",
    "HostRunner",
    "LossMonitor",
    "Model",
    "Progress",
    "Score",
    "StepRunner",
    "inference_step",
    "initial_state",
    "load_checkpoint",
    "save_checkpoint",
    "training_step",
]
