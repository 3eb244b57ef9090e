"""Which instructions and element types a chip has, read from the lists in its configuration file.

A platform configuration file lists, under `AICoreintrinsicDtypeMap`, every intrinsic of the core with the
types that it takes: plain (`float16 float32`), from one to another (`f322f16`, with the mode of rounding as a
last letter), or result first (`f32f16f16`). Here they become this kit's names: `fp16`, `fp32>fp16`,
`fp32>fp16:o`, `fp16>fp32`, `uint8*int8>int32`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

TYPES = {
    "f16": "fp16", "f32": "fp32", "bf16": "bf16", "s4": "int4", "s8": "int8", "u8": "uint8", "s16": "int16",
    "u16": "uint16", "s32": "int32", "u32": "uint32", "s64": "int64", "u64": "uint64", "h32": "hf32",
}  # fmt: skip
"""The short type names of the files, in this kit's words."""

LONG_TYPES = {"float16": "fp16", "float32": "fp32"}

_SAME_NAME = """
    vadd vsub vmul vdiv vmax vmin vand vor vadds vmuls vmaxs vmins vlrelu vshl vshr vaadd vaddrelu vsubrelu
    vexp vln vrec vrsqrt vsqrt vabs vrelu vnot vaxpy vmla vmadd vmaddrelu
    vconv vaddreluconv vsubreluconv vmulconv vadddeqrelu
    vcmp vcmpv_eq vcmpv_ne vcmpv_lt vcmpv_le vcmpv_gt vcmpv_ge vsel
    vcmpvs_eq vcmpvs_ne vcmpvs_lt vcmpvs_le vcmpvs_gt vcmpvs_ge
    vcadd vcgadd vcpadd vcmax vcmin vcgmax vcgmin
    vnchwconv vtranspose v4dtrans vgather vgatherb vscatter vreduce vreducev2 vbrcb vcopy vcbd vpadding vbi
    vbitsort vbitsort32 vmrgsort4 vmrgsort4v2 vextract vconcat vmergech vrpac viou rpn_cor rpn_cor_diag
    scatter_vadd scatter_vsub scatter_vmul scatter_vdiv scatter_vmax scatter_vmin scatter_vmadd
    scatter_vmaddrelu scatter_vmla scatter_vmulconv scatter_vadds scatter_vmuls scatter_vaxpy
    scatter_vexp scatter_vln scatter_vrec scatter_vrsqrt scatter_vsqrt scatter_vabs scatter_vrelu
    scatter_vsel scatter_vcmp scatter_vconv scatter_vnchwconv scatter_vector_mov mmad depthwise_conv
"""

THEIRS: Mapping[str, str] = {
    **{name: name for name in _SAME_NAME.split()},
    "l0c_to_ub": "data_move_l0c2ub",
    "broadcast_ub_to_l0c": "broadcast_ub_to_cc",
    **{
        f"{form}_{test}": form
        for form in ("vcmp", "scatter_vcmp")
        for test in ("eq", "ne", "lt", "le", "gt", "ge")
    },
    "vsel_cmpmask": "vsel",
    "vsels": "vsel",
    "vaxpy_mixed": "vaxpy",
    "vmla_mixed": "vmla",
    "vreduce_fixed": "vreduce",
}
"""This kit's instruction names, and what the configuration files call them.

What is not here (flags, barriers, moves of bytes, vector_dup) the files do not speak of: every core has it.
"""

NOT_VECTOR = frozenset({"mmad", "depthwise_conv", "l0c_to_ub", "broadcast_ub_to_l0c"})
"""Those of them whose time is no count of vector repeats."""

_SHORT = "|".join(sorted(TYPES, key=len, reverse=True))
_CONVERSION = re.compile(rf"({_SHORT})2({_SHORT})([a-z]?)")
_TRIPLE = re.compile(rf"({_SHORT})({_SHORT})({_SHORT})")
_PAIR = re.compile(rf"({_SHORT})({_SHORT})")


def from_configuration(listed: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return this kit's instruction -> types, for intrinsics of a configuration file: `names: types`.

    >>> found = from_configuration({"vadd vsub": "float16", "vconv": "f322f16o", "mmad": "f32f16f16 s32u8s8"})
    >>> sorted(found["vsub"]), sorted(found["mmad"]), sorted(found["vconv"])
    (['fp16'], ['fp16>fp32', 'uint8*int8>int32'], ['fp32>fp16', 'fp32>fp16:o'])
    """
    types_of = {name: types for names, types in listed.items() for name in names.split()}
    return {
        ours: frozenset(kind for word in types_of[theirs].split() for kind in _types(word))
        for ours, theirs in THEIRS.items()
        if theirs in types_of
    }


def _types(word: str) -> Iterator[str]:
    """Yield what one word of a file stands for; for words about compressed weights that is nothing."""
    if word in LONG_TYPES or word in TYPES or word in TYPES.values():
        yield LONG_TYPES.get(word) or TYPES.get(word, word)
    elif word == "deq":  # a conversion with a scale
        yield "int32>fp16:deq"
    elif match := _CONVERSION.fullmatch(word):
        source, target, mode = match.groups()
        yield f"{TYPES[source]}>{TYPES[target]}"
        if mode:
            yield f"{TYPES[source]}>{TYPES[target]}:{mode}"
    elif match := _TRIPLE.fullmatch(word):
        result, first, second = (TYPES[part] for part in match.groups())
        yield f"{first}>{result}" if first == second else f"{first}*{second}>{result}"
    elif (match := _PAIR.fullmatch(word)) and match[1] == match[2]:
        yield TYPES[match[1]]
