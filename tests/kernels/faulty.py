"""Kernels that double n numbers: one that is right, and some with one mistake each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from davinci_sim.platforms import Platform
from kernels.lang import (
    ADD,
    FP16,
    KERNELS,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
    free,
    kernel,
    output,
    queue,
    set_flag,
    use,
)

TILE, BLOCK = 1024, 32


@dataclass(frozen=True)
class Numbers(Shape):
    """n fp16 numbers."""

    n: int


@dataclass(frozen=True)
class OneTile(Tiling):
    """Tiles of 1024."""

    tile: int = TILE

    @classmethod
    def default(cls, shape: Any, platform: Platform) -> Self:
        """Return the only tiling."""
        return cls()

    @classmethod
    def space(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield the only tiling."""
        yield cls()

    def blocks(self, shape: Any, platform: Platform) -> int:
        """Return one core."""
        return 1


def operands(shape: Numbers) -> tuple[Operand, ...]:
    """x[n] in, y[n] out."""
    return Operand("x", (shape.n,), FP16), output("y", (shape.n,), FP16)


def doubling(function: Any, barriers: bool = True) -> Any:
    """Declare a kernel that doubles, and leave it out of the list of kernels."""
    declared = kernel(Numbers, OneTile, operands, lambda shape, x: (x + x,), barriers=barriers)(function)
    del KERNELS[declared.name]
    return declared


@emits
def blocks_of(core: Any, n: int) -> int:
    """Return the blocks that n numbers take."""
    return (n * 2 + BLOCK - 1) // BLOCK


def doubled(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n] + x[n], each hand-off double buffered."""
    pitch = TILE * 2
    ub, out = alloc(core, UB, 2 * pitch, 2), alloc(core, UB, 2 * pitch, 2)
    q_in, q_out = queue(core, MTE2, V, 2), queue(core, V, MTE3, 2)
    for start in range(0, shape.n, TILE):
        n = min(TILE, shape.n - start)
        a = ub + fill(core, q_in) * pitch
        data_move(core, a, x + start * 2, 1, blocks_of(core, n))
        filled(core, q_in)
        use(core, q_in)
        b = out + fill(core, q_out) * pitch
        flat_binary(core, ADD, b, a, a, n, FP16)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + start * 2, b, 1, blocks_of(core, n))
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


def unsynchronised(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """The vector unit does not wait for the tile."""
    ub = alloc(core, UB, TILE * 2)
    out = alloc(core, UB, TILE * 2)
    q_out = queue(core, V, MTE3, 1)
    for start in range(0, shape.n, TILE):
        n = min(TILE, shape.n - start)
        data_move(core, ub, x + start * 2, 1, blocks_of(core, n))
        fill(core, q_out)
        flat_binary(core, ADD, out, ub, ub, n, FP16)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + start * 2, out, 1, blocks_of(core, n))
        free(core, q_out)
    close(core, q_out)


@emits
def one_tile(core: Any, x: int, y: int, brought: int, n: int) -> None:
    """Double one tile of n numbers, of which `brought` blocks are moved in."""
    ub, out = alloc(core, UB, TILE * 2), alloc(core, UB, TILE * 2)
    q_in, q_out = queue(core, MTE2, V, 1), queue(core, V, MTE3, 1)
    fill(core, q_in)
    data_move(core, ub, x, 1, brought)
    filled(core, q_in)
    use(core, q_in)
    fill(core, q_out)
    flat_binary(core, ADD, out, ub, ub, n, FP16)
    free(core, q_in)
    filled(core, q_out)
    use(core, q_out)
    data_move(core, y, out, 1, n * 2 // BLOCK)
    free(core, q_out)
    close(core, q_out)
    close(core, q_in)


def too_long(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """The move brings twice what fits."""
    one_tile(core, x, y, TILE * 4 // BLOCK, TILE)


def half_filled(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """The move brings half of what is added and stored."""
    one_tile(core, x, y, TILE // BLOCK, TILE)


def unbalanced(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """A flag is set that nobody waits for."""
    set_flag(core, MTE3, V, 3)
    one_tile(core, x, y, TILE * 2 // BLOCK, TILE)


@emits
def chain(core: Any, x: int, y: int) -> None:
    """Double 64 numbers twice: the second time reads what the first one wrote."""
    ub = alloc(core, UB, 128)
    q_in, q_out = queue(core, MTE2, V, 1), queue(core, V, MTE3, 1)
    fill(core, q_in)
    data_move(core, ub, x, 1, 4)
    filled(core, q_in)
    use(core, q_in)
    fill(core, q_out)
    flat_binary(core, ADD, ub, ub, ub, 64, FP16)
    flat_binary(core, ADD, ub, ub, ub, 64, FP16)
    filled(core, q_out)
    use(core, q_out)
    data_move(core, y, ub, 1, 4)
    free(core, q_out)
    free(core, q_in)
    close(core, q_out)
    close(core, q_in)


def chained(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Let the language put the barrier."""
    chain(core, x, y)


def chained_without_barriers(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Have no barrier."""
    chain(core, x, y)


doubled, unsynchronised, too_long = doubling(doubled), doubling(unsynchronised), doubling(too_long)
half_filled, unbalanced, chained = doubling(half_filled), doubling(unbalanced), doubling(chained)
chained_without_barriers = doubling(chained_without_barriers, barriers=False)
