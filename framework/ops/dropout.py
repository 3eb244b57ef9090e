"""Dropout with masks that a key alone decides: the same bits on the host and on every chip.

Element e is kept or not by half e % 2 of word e // 2 of a sequence of 32-bit words. Word c is

    x = (c + key[c % 8]) * A;      x = x + upper(x)
    x = x * (x + key[8 + c % 8]);  x = x + upper(x)
    x = x * (x + B);               x = x + upper(x)

modulo 2 ** 32, where upper(x) is the signed x / 65536 rounded to an integer: operations that a vector unit
has. An element is kept if the lower 14 bits of its half are below a threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.dtypes import int32, uint8
from framework.ir.builder import Sym
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.lowering.activation import thousandths
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.shapes import require
from framework.tensor import Tensor

KEY_WORDS, LANES = 16, 8
FIRST, LAST = 0x7FEB352D, 0x9E3779B1
"""A and B of the generator: odd, with bits of no pattern."""
BITS, LEVELS = 0x3FFF, 1 << 14
GROUP = 256
"""Elements whose bits fill a block of the device."""


def dropout_key(seed: int, offset: int = 0) -> Tensor:
    """Return the key of a mask: other seeds and other offsets (a step, a layer) give independent masks.

    >>> dropout_key(1).shape, bool((dropout_key(1).numpy() == dropout_key(1, 1).numpy()).any())
    ((16,), False)
    """
    words = np.random.SeedSequence([seed, offset]).generate_state(KEY_WORDS)
    return Tensor(words.view(np.int32))


def _words(key: Array, count: int) -> Array:
    """Return the first words of the sequence that a key decides."""
    c = np.arange(count, dtype=np.int32)
    a, b = (np.array(word, np.uint32).view(np.int32) for word in (FIRST, LAST))
    lane = c % LANES
    with np.errstate(over="ignore"):
        x = _stirred((c + key[:LANES][lane]) * a)
        x = _stirred(x * (x + key[LANES:][lane]))
        return _stirred(x * (x + b))


def _stirred(x: Array) -> Array:
    upper = np.rint(x.astype(np.float32) * np.float32(2.0**-16)).astype(np.int32)
    return np.asarray(x + upper)


def _level(keep_prob: float) -> int:
    """Return how many of 16384 levels are kept."""
    return max(1, (thousandths(keep_prob) * LEVELS + 500) // 1000)


def _mask_bytes(size: int) -> int:
    return -(-size // GROUP) * GROUP // 8


def _normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    keep_prob = attrs["keep_prob"]
    if not 0 < keep_prob <= 1 or thousandths(keep_prob) == 0:
        raise DavinciError(
            f"dropout: keep_prob is {keep_prob}\n"
            "  rule: it is a share of at least 0.001 and at most 1\n  next: give the share that is kept"
        )
    return {"keep_prob": thousandths(keep_prob) / 1000}


def _infer(x: TensorType, key: TensorType, /, keep_prob: float = 0.5) -> tuple[TensorType, TensorType]:
    require(x.dtype.is_float, "dropout: {} is not of a float dtype; cast it first", x)
    wanted = TensorType((KEY_WORDS,), int32)
    require(key == wanted, "dropout: a key is {}, found {}; make it with ops.dropout_key", wanted, key)
    return x, TensorType((_mask_bytes(x.size),), uint8)


def _chosen(x: Array, is_kept: Array, keep_prob: float) -> Array:
    """Return x divided by the share that is kept, where it is kept."""
    factor = np.asarray(LEVELS / _level(keep_prob), np.float64 if x.dtype == np.float64 else np.float32)
    scaled = (x.astype(factor.dtype, copy=False) * factor).astype(x.dtype, copy=False)
    return np.asarray(np.where(is_kept[: x.size].reshape(x.shape), scaled, x.dtype.type(0)))


def _evaluate(x: Array, key: Array, keep_prob: float) -> tuple[Array, Array]:
    halves = _words(key, _mask_bytes(x.size) * 4).view(np.uint16) & BITS
    is_kept = halves < _level(keep_prob)
    return _chosen(x, is_kept, keep_prob), np.packbits(is_kept, bitorder="little")


def _vjp(call: Call, dy: Any, _: Any) -> tuple[Any, ...]:
    x, _ = call.inputs
    return dropout_grad(dy.astype(x.dtype), call.outputs[1], **call.attrs), None


def _one_by_one(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> None:
    """Know no way for a batch: the mask of an item begins at its first element, whatever stands before it."""
    return


dropout: Op = Op(
    "dropout",
    "*,k->*,b",
    _infer,
    _evaluate,
    _vjp,
    normalize=_normalize,
    lowering=lowering.dropout,
    samples=(
        sample((3, 4), Arg((KEY_WORDS,), "int32", high=1 << 30)),
        sample((2, 150), Arg((KEY_WORDS,), "int32", high=1 << 30), keep_prob=0.9),
    ),
    batch=_one_by_one,
)


def _grad_infer(dy: TensorType, mask: TensorType, /, keep_prob: float = 0.5) -> TensorType:
    wanted = TensorType((_mask_bytes(dy.size),), uint8)
    require(mask == wanted, "dropout_grad: the mask of {} is {}, found {}", dy, wanted, mask)
    return dy


def _grad_evaluate(dy: Array, mask: Array, keep_prob: float) -> Array:
    return _chosen(dy, np.unpackbits(mask, bitorder="little") == 1, keep_prob)


dropout_grad: Op = Op(
    "dropout_grad",
    "*,b->*",
    _grad_infer,
    _grad_evaluate,
    lambda call, d: (dropout_grad(d.astype(call.inputs[0].dtype), call.inputs[1], **call.attrs), None),
    normalize=_normalize,
    lowering=lowering.dropout_grad,
    samples=(sample((3, 4), Arg((32,), "uint8", high=256)),),
    batch=_one_by_one,
)
