"""Sums of products, said by naming axes: `einsum("bij,bjk->bik", a, b)`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework.ir.builder import Sym
from framework.ops.array import reshape, transpose
from framework.ops.matmul import matmul
from framework.ops.reduction import reduce_sum
from framework.tensor import Tensor


class Named(NamedTuple):
    """A tensor with a letter for each axis."""

    tensor: Any
    axes: str

    def length(self, letter: str) -> int:
        """Return the length of an axis."""
        shape: tuple[int, ...] = self.tensor.shape
        return shape[self.axes.index(letter)]

    def ordered(self, axes: str) -> Any:
        """Return the tensor with its axes in this order."""
        perm = tuple(self.axes.index(letter) for letter in axes)
        return self.tensor if axes == self.axes else transpose(self.tensor, perm)

    def summed(self, kept: set[str]) -> Named:
        """Return the tensor summed over the axes that are not kept."""
        dropped = tuple(at for at, letter in enumerate(self.axes) if letter not in kept)
        if not dropped:
            return self
        axes = "".join(letter for letter in self.axes if letter in kept)
        return Named(reduce_sum(self.tensor, dropped), axes)


def einsum(equation: str, *tensors: Any) -> Any:
    """Return the sum, over letters that the result lacks, of products of elements with equal letters.

    Letters after `->` are the axes of the result; without it they are those that appear once, in the order
    of the alphabet. Products of two are matrix products, from left to right.

    >>> einsum("ij,j->i", Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([1.0, 1.0]))
    Tensor([3., 7.], float32)
    """
    terms, result = _parsed(equation, len(tensors))
    given = [
        Named(each if isinstance(each, (Sym, Tensor)) else Tensor(each), axes)
        for each, axes in zip(tensors, terms, strict=True)
    ]
    _check(equation, given, result)
    found = given[0]
    for at, each in enumerate(given[1:], 1):
        found = _product(found, each, set(result).union(*terms[at + 1 :]))
    return found.summed(set(result)).ordered(result)


def _product(a: Named, b: Named, kept: set[str]) -> Named:
    """Return the product of two, summed over what is not kept."""
    a, b = a.summed(kept | set(b.axes)), b.summed(kept | set(a.axes))
    batch = "".join(each for each in a.axes if each in b.axes and each in kept)
    inner = "".join(each for each in a.axes if each in b.axes and each not in kept)
    rows = "".join(each for each in a.axes if each not in b.axes)
    columns = "".join(each for each in b.axes if each not in a.axes)
    sizes = {axes: math.prod(map(a.length, axes)) for axes in (inner, rows)}
    lead = tuple(map(a.length, batch))
    left = reshape(a.ordered(batch + rows + inner), (*lead, sizes[rows], sizes[inner]))
    width = math.prod(map(b.length, columns))
    right = reshape(b.ordered(batch + inner + columns), (*lead, sizes[inner], width))
    shape = (*lead, *map(a.length, rows), *map(b.length, columns))
    return Named(reshape(matmul(left, right), shape), batch + rows + columns)


def _parsed(equation: str, count: int) -> tuple[list[str], str]:
    text = equation.replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    letters = left.replace(",", "")
    if not arrow:
        result = "".join(sorted(each for each in set(letters) if letters.count(each) == 1))
    is_legal = all(len(set(each)) == len(each) for each in (*terms, result))
    if not is_legal or not (letters + result).isalpha() or not set(result) <= set(letters):
        raise DavinciError(
            f"einsum: {equation!r} is no sum of products\n"
            "  rule: letters name axes, each once in a term; those of the result appear on the left\n"
            "  next: write it such as 'ij,jk->ik'"
        )
    if len(terms) != count:
        raise DavinciError(f"einsum: {equation!r} names {len(terms)} tensors, {count} are given")
    return terms, result


def _check(equation: str, given: Sequence[Named], result: str) -> None:
    lengths: dict[str, int] = {}
    for each in given:
        if each.tensor.ndim != len(each.axes):
            raise ShapeMismatch(
                f"einsum: {equation!r} names {len(each.axes)} axes of {each.tensor.type}, "
                f"which has {each.tensor.ndim}"
            )
        for letter in each.axes:
            if lengths.setdefault(letter, each.length(letter)) != each.length(letter):
                raise ShapeMismatch(
                    f"einsum: axis {letter} of {equation!r} is {lengths[letter]} long, "
                    f"and {each.length(letter)} in {each.tensor.type}"
                )
