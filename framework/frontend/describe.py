"""What values are called in messages."""

from __future__ import annotations

import types
from typing import Any

from framework.frontend.templates import MAYBE, Held, Known, Run, Template
from framework.frontend.values import MISSING, NUMBERS, number_type
from framework.ir.builder import Sym
from framework.ir.types import Type
from framework.tensor import Tensor


def describe(template: Template) -> str:
    """Return what a template is, for messages.

    >>> from framework.frontend.templates import template_of
    >>> describe(template_of((1, "a")))
    'a tuple of 2'
    """
    if isinstance(template, Run):
        return _describe_number(template.type) if template.weak else str(template.type)
    if isinstance(template, Known):
        return _describe_known(template)
    if template.kind in ("tuple", "list", "dict"):
        return f"a {template.kind} of {len(template.children)}"
    if template.static == MAYBE:
        return describe(template.children[0])
    if template.kind in ("namedtuple", "object"):
        return f"a {template.static.value.__name__}" if isinstance(template.static, Held) else "an object"
    return "a function"


def described(value: Any) -> str:
    """Return what a value of compiled code is, for messages."""
    if isinstance(value, Sym):
        return f"a tensor {value.type}"
    if value is None:
        return "None"
    if isinstance(value, (types.ModuleType, type)):
        return f"{'module' if isinstance(value, types.ModuleType) else 'class'} {value.__name__}"
    return f"a {type(value).__name__}"


def _describe_number(type_: Type) -> str:
    names = {
        str(number_type(example)): name for example, name in ((True, "bool"), (1, "int"), (1.0, "float"))
    }
    return f"a number ({names.get(str(type_), str(type_))})"


def _describe_known(template: Known) -> str:
    value = template.value
    if value is MISSING:
        return "not assigned"
    if isinstance(value, Tensor):
        return str(value.type)
    if value is None or isinstance(value, (str, *NUMBERS)):
        return repr(value)
    return f"a {type(value).__name__}"
