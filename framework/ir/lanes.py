"""Values that differ from lane to lane while a Func runs over a batch: one is chosen in each lane.

The cotangent of a function is an env of what the function captured. Where lanes hold different functions, so
are their envs: they are kept side by side as `Envs` until each function takes its own, which its types tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.ir.types import EnvType, StackType, TensorType, Type

Array = np.ndarray[Any, Any]
Value = Any
Env = tuple[Value, ...]


@dataclass(frozen=True)
class Envs:
    """The envs of several functions; each is zero in the lanes of the others."""

    each: tuple[Env, ...]


def chosen(mask: Array, a: Value, b: Value) -> Value:
    """Return a in the lanes of a mask and b in the others; an empty stack and None are zero."""
    if isinstance(a, np.ndarray | np.generic) or isinstance(b, np.ndarray | np.generic):
        return _chosen_tensor(mask, a, b)
    if isinstance(a, tuple | Envs) or isinstance(b, tuple | Envs):
        return _chosen_env(mask, a, b)
    if not a and not b:
        return b if a is None else a
    return [chosen(mask, x, y) for x, y in itertools.zip_longest(a or (), b or ())]


def _chosen_tensor(mask: Array, a: Array | None, b: Array | None) -> Array:
    first, second = (np.zeros(1) if each is None else np.asarray(each) for each in (a, b))
    rank = max(first.ndim, second.ndim)
    wide = np.asarray(mask).reshape(*mask.shape, *[1] * (rank - mask.ndim))
    dtype = np.result_type(*(each for each in (a, b) if each is not None))
    return np.where(wide, first, second).astype(dtype)


def _chosen_env(mask: Array, a: Value, b: Value) -> Value:
    if isinstance(a, tuple) and isinstance(b, tuple) and _are_alike(a, b):
        return tuple(chosen(mask, x, y) for x, y in zip(a, b, strict=True))
    mine = [tuple(chosen(mask, x, None) for x in env) for env in _envs(a)]
    others = [tuple(chosen(mask, None, x) for x in env) for env in _envs(b)]
    return _joined([*mine, *others], lambda x, y: chosen(mask, x, y))


def added_envs(a: Value, b: Value, add: Callable[[Value, Value], Value]) -> Value:
    """Return the sum of two envs: of the same captured values, or of several functions side by side."""
    return _joined([*_envs(a), *_envs(b)], add)


def taken(env: Value, types: Sequence[Type], zeros: Env) -> Env:
    """Return what a function takes from a cotangent: its own env, or zeros if none of it is there."""
    if isinstance(env, tuple):
        return env
    return next((each for each in _envs(env) if _fits(each, types)), zeros)


def _envs(env: Value) -> tuple[Env, ...]:
    if isinstance(env, Envs):
        return env.each
    return () if env is None else (env,)


def _joined(envs: Sequence[Env], add: Callable[[Value, Value], Value]) -> Value:
    """Return envs with those of the same kind added."""
    found: list[Env] = []
    for env in envs:
        at = next((at for at, other in enumerate(found) if _are_alike(env, other)), None)
        if at is None:
            found.append(env)
        else:
            found[at] = tuple(add(x, y) for x, y in zip(found[at], env, strict=True))
    return found[0] if len(found) == 1 else Envs(tuple(found)) if found else None


def _are_alike(a: Env, b: Env) -> bool:
    """Tell whether two envs have values of the same types."""
    return len(a) == len(b) and all(map(_is_alike, a, b))


def _is_alike(x: Value, y: Value) -> bool:
    if isinstance(x, np.generic | np.ndarray) and isinstance(y, np.generic | np.ndarray):
        return x.shape == y.shape and x.dtype == y.dtype
    return _is_env(x) and _is_env(y) if _is_env(x) or _is_env(y) else _is_stack(x) and _is_stack(y)


def _fits(env: Env, types: Sequence[Type]) -> bool:
    """Tell whether an env has values of some types."""
    return len(env) == len(types) and all(map(_is_of, env, types))


def _is_of(x: Value, type_: Type) -> bool:
    if isinstance(type_, TensorType):
        return isinstance(x, np.generic | np.ndarray) and (x.shape, x.dtype) == (
            type_.shape,
            type_.dtype.numpy,
        )
    return _is_env(x) if isinstance(type_, EnvType) else isinstance(type_, StackType) and _is_stack(x)


def _is_env(x: Value) -> bool:
    return x is None or isinstance(x, tuple | Envs)


def _is_stack(x: Value) -> bool:
    return not _is_env(x) and hasattr(x, "__len__")
