"""Sample shapes of any kernel, from the names of its axes alone, and what they say about a chip.

A kernel that is added needs no entry here: an image, a matrix or a plain array is told by its axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.platforms import Platform
from kernels.able import obstacle
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape

Axes = Mapping[str, int]

SMALL: Mapping[str, Axes] = {
    "image": {"n": 2, "c": 20, "h": 9, "w": 9, "o": 20, "kh": 3, "kw": 3, "stride": 2},
    "matrix": {"m": 33, "k": 70, "n": 50},
    "flat": {"n": 2500, "rows": 50},
    "sequence": {"b": 2, "heads": 2, "t": 40, "d": 24},
}
LARGE: Mapping[str, Axes] = {
    "image": {"n": 3, "c": 70, "h": 30, "w": 30, "o": 100, "kh": 3, "kw": 3, "stride": 2},
    "matrix": {"m": 700, "k": 300, "n": 520},
    "flat": {"n": 600_000, "rows": 600},
    "sequence": {"b": 2, "heads": 20, "t": 300, "d": 64},
}
"""Odd lengths, by the axes that a problem has; the large ones take many cores, and several tiles of each.

Where they do not suit, a shape's own SMALL and LARGE take their place."""
NETWORKS: Mapping[str, tuple[Axes, ...]] = {
    "image": (
        {"n": 32, "c": 64, "h": 56, "w": 56, "o": 64, "kh": 3, "kw": 3, "pad": 1},
        {"n": 32, "c": 512, "h": 7, "w": 7, "o": 512, "kh": 3, "kw": 3, "pad": 1},
    ),
    "matrix": ({"m": 12288, "k": 1024, "n": 1024}, {"m": 32, "k": 2048, "n": 1001}),
    "flat": ({"n": 32 * 256 * 56 * 56}, {"n": 12288 * 1024}),
    "sequence": ({"b": 24, "heads": 16, "t": 512, "d": 64},),
}
"""Problems of real networks: ResNet-50 at batch 32, BERT-Large with 24 sequences of 512 tokens."""
_KINDS = {"image": {"h", "w"}, "sequence": {"t"}, "matrix": {"m"}}
"""The first of these whose axes a problem has is its kind."""
MOST_OPTIONS = 4
ODD_LENGTHS = (37, 5000, 40960)


def shapes(kernel: Kernel, sizes: Mapping[str, Axes] = SMALL, options: int = MOST_OPTIONS) -> Iterator[Shape]:
    """Yield a kernel's shapes: every element type that it takes, and its options, 0 to `options` - 1."""
    names = kernel.shape_type.names()
    kind = _kind(kernel)
    own = kernel.shape_type.SMALL if sizes is SMALL else kernel.shape_type.LARGE
    axes = {name: value for name, value in {**sizes[kind], **own}.items() if name in names}
    types = [name for name in names if name.endswith("dtype")]
    varied = set(kernel.shape_type.OPTIONS) - set(kernel.shape_type.UNVARIED)
    chosen = [name for name in names if name in varied]
    ranges = [range(len(DTYPE_NAMES))] * len(types) + [range(options)] * len(chosen)
    for values in product(*ranges):
        given = dict(zip((*types, *chosen), values, strict=True))
        if sum(given[name] > 0 for name in kernel.shape_type.APART) > 1:
            continue
        try:
            yield kernel.shape_type.of(kernel.name, {**axes, **given})
        except BadShape:
            continue


def _kind(kernel: Kernel) -> str:
    """Return what kind of problem a kernel solves, by the names of its axes."""
    names = kernel.shape_type.names()
    return next((kind for kind, axes in _KINDS.items() if axes.issubset(names)), "flat")


def network_shapes(kernel: Kernel) -> Iterator[Shape]:
    """Yield a kernel's shapes in ResNet-50 and BERT-Large, in its default types; equal ones once.

    >>> import kernels
    >>> [str(shape) for shape in network_shapes(kernels.find("nd_to_nz"))]
    ['m=12288,n=1024,dtype=fp16', 'm=32,n=1001,dtype=fp16']
    """
    names = kernel.shape_type.names()
    own = kernel.shape_type
    large = {**LARGE[_kind(kernel)], **own.LARGE}
    given = own.NETWORKS or ((large,) if own.LARGE else NETWORKS[_kind(kernel)])
    found = [{name: value for name, value in axes.items() if name in names} for axes in given]
    yield from dict.fromkeys(kernel.shape_type.of(kernel.name, axes) for axes in found)


def odd_shapes(kernel: Kernel) -> Iterator[Shape]:
    """Yield the shapes that a kernel is checked on: those that its shape type names, or small ones."""
    samples = kernel.shape_type.SAMPLES
    if samples:
        yield from (kernel.shape_type.of(kernel.name, dict(keys)) for keys in samples)
    elif set(kernel.axes) == {"n"}:
        for n in ODD_LENGTHS:
            yield from shapes(kernel, {"flat": {"n": n}})
    else:
        yield from shapes(kernel)


def plain_shapes(kernel: Kernel) -> list[Shape]:
    """Return small shapes of every element type with options of 0, or all small ones where 0 is refused."""
    return list(shapes(kernel, options=1)) or list(shapes(kernel))


def refusals(kernel: Kernel, platform: Platform) -> dict[str, str]:
    """Return, for every combination of types (`fp16`, `fp16>fp32`), why a small shape is refused, or "".

    >>> import kernels
    >>> from davinci_sim.platforms import platform
    >>> refusals(kernels.find("exp"), platform("ascend310"))
    {'fp16': '', 'fp32': 'lacks vexp of fp32'}
    """
    found = {}
    for shape in plain_shapes(kernel):
        codes = [getattr(shape, name) for name in shape.names() if name.endswith("dtype")]
        codes = codes or [kernel.operands(shape)[0].dtype]
        types = ">".join(DTYPE_NAMES[code] for code in dict.fromkeys(codes))
        found[types] = obstacle(kernel, shape, platform).removeprefix(f"{platform.name} ")
    return found
