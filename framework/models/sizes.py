"""Sizes of models that cannot be are refused when a configuration is made."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from davinci_sim.errors import DavinciError
from framework.dtypes import dtype


def check_sizes(config: Any) -> None:
    """Refuse lengths and counts that are no whole numbers of at least 1, and computing in integers.

    Raises:
        DavinciError: a size cannot be; the message names it.
        UnknownName: there is no such dtype.
    """
    model = type(config).__module__.rpartition(".")[2]
    for field in fields(config):
        given, usual = getattr(config, field.name), field.default
        if field.name == "compute_dtype":
            _check_float(model, given)
        elif field.name != "seed" and isinstance(usual, int | tuple):
            sizes = given if isinstance(usual, tuple) and isinstance(given, tuple) else (given,)
            if not sizes or not all(type(each) is int and each >= 1 for each in sizes):
                raise DavinciError(
                    f"{model}: {field.name} is {given!r}\n"
                    f"  rule: sizes are whole numbers of at least 1; usual is {usual!r}"
                )


def check_within(config: Any, inner: str, outer: str) -> None:
    """Refuse a configuration in which one size is larger than another that it lies in."""
    small, large = getattr(config, inner), getattr(config, outer)
    if small > large:
        model = type(config).__module__.rpartition(".")[2]
        raise DavinciError(
            f"{model}: {inner} is {small}, {outer} is {large}\n  rule: there are at most as many {inner}\n"
            f"  next: make {inner} smaller, or {outer} larger"
        )


def _check_float(model: str, given: str | None) -> None:
    if given is not None and not dtype(given).is_float:
        raise DavinciError(
            f"{model}: compute_dtype is {given}\n  rule: networks compute in floats\n"
            '  next: give "float16", or None for what the weights have'
        )
