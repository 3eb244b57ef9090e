"""Cycles that operands in the unified buffer (UB) take a vector instruction, from their real addresses.

UB is built of banks of rows of 32 bytes. Block `b` (its address / 32) lies in group `b % groups`; each group
has several banks, of which one holds its share of the first 64 KiB (16 groups x 4 KiB), the next one that of
the next 64 KiB. In one cycle

- a group gives one row to the reads and takes one row from the writes,
- a bank does one of the two, but when each block of a source lies in the same bank as the block of the
  destination with the same number, the unit writes one repeat later and nothing is lost,
- a block that a repeat (block stride 0) or the whole instruction (repeat stride 0) reads again is read once,
  and so is one that both sources name at the same place.

Source: the vendor's guide to UB bank conflicts for NPU version 2201 (A2) and its example of additions, which
takes 86 cycles without a conflict and 150 with one among the reads. The bank layout of the first generation
(64 banks of 4 KiB in 16 groups) stands in its platform files; that it obeys the same rules is assumed.
Model: the write that is put off by a repeat meets no read of that repeat; a destination that is also read
(vmla, vaxpy ...), selection bits and index lists take no bank time.
"""

from typing import NamedTuple

import numpy as np

from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs
from davinci_sim.isa.state import ADDRESS_MASK

BLOCK_SHIFT = 5
_ONES = np.uint64(0x1111111111111111)
_MORE = np.uint64(0xEEEEEEEEEEEEEEEE)


class Stream(NamedTuple):
    """The blocks of one operand: `blocks` a repeat from block number `first`, `blk` and `rep` apart."""

    first: int
    blk: int
    rep: int
    blocks: int


@inner
def writes(handle: int, blk: int, rep: int, blocks: int) -> Stream:
    """Return the blocks that an instruction writes."""
    return Stream((handle & ADDRESS_MASK) >> BLOCK_SHIFT, blk, rep, blocks)


@inner
def reads(handle: int, blk: int, rep: int, blocks: int) -> Stream:
    """Return the blocks that an instruction reads; one that a repeat reads again counts once."""
    return Stream((handle & ADDRESS_MASK) >> BLOCK_SHIFT, blk, rep, min(blocks, 1) if blk == 0 else blocks)


@inner
def nothing() -> Stream:
    """Return an operand that is not there."""
    return Stream(0, 0, 0, 0)


@inner
def _after(stream: Stream, repeats: int) -> Stream:
    """Return what is left of an operand after some repeats; what never moves is not read again."""
    blocks = 0 if stream.rep == 0 else stream.blocks
    return Stream(stream.first + repeats * stream.rep, stream.blk, stream.rep, blocks)


@inner
def _moved(stream: Stream, repeats: int) -> Stream:
    """Return a destination after some repeats."""
    return Stream(stream.first + repeats * stream.rep, stream.blk, stream.rep, stream.blocks)


@inner
def _counts(stream: Stream, groups: int) -> np.uint64:
    """Return how many blocks of a repeat lie in each group: four bits a group, group 0 in the lowest."""
    total = np.uint64(0)
    if stream.blk == 1 and groups == 16:
        row = _ONES & ((np.uint64(1) << np.uint64(4 * stream.blocks)) - np.uint64(1))
        turn = np.uint64(4 * (stream.first & 15))
        return (row << turn) | ((row >> np.uint64(1)) >> (np.uint64(63) - turn))
    for block in range(stream.blocks):
        group = (stream.first + block * stream.blk) & (groups - 1)
        total += np.uint64(1) << np.uint64(4 * group)
    return total


@inner
def _pairs_up(dst: Stream, src: Stream, groups: int) -> bool:
    """Tell whether each block of a source has the group of its partner in the destination."""
    if dst.blocks != src.blocks or (dst.first - src.first) & (groups - 1) != 0:
        return False
    return dst.blocks == 1 or (dst.blk - src.blk) & (groups - 1) == 0


@inner
def _is_in_one_bank_row(stream: Stream, repeats: int, span: int) -> bool:
    """Tell whether an operand crosses no multiple of `span` blocks in some repeats."""
    last = stream.first + (repeats - 1) * stream.rep + (stream.blocks - 1) * stream.blk
    return stream.blocks == 0 or stream.first & -span == last & -span


@inner
def _most(write: np.uint64, read0: np.uint64, read1: np.uint64, bank0: np.uint64, bank1: np.uint64) -> int:
    """Return the largest count of a group: reads, or writes and the reads of the same bank."""
    cycles = np.uint64(1)
    for group in range(16):
        shift, low = np.uint64(4 * group), np.uint64(15)
        both = ((read0 >> shift) & low) + ((read1 >> shift) & low)
        bank = ((write >> shift) & low) + ((bank0 >> shift) & low) + ((bank1 >> shift) & low)
        cycles = max(cycles, both, bank)
    return int(cycles)


@inner
def _plain_repeat(dst: Stream, src0: Stream, src1: Stream, groups: int, span: int) -> int:
    """Count the cycles of a repeat each operand of which stays within one multiple of `span`."""
    none = np.uint64(0)
    write, read0, read1 = _counts(dst, groups), _counts(src0, groups), _counts(src1, groups)
    if src0 == src1:
        read1 = none
    bank0, bank1 = read0, read1
    if (dst.first ^ src0.first) & -span != 0 or _pairs_up(dst, src0, groups):
        bank0 = none
    if (dst.first ^ src1.first) & -span != 0 or _pairs_up(dst, src1, groups):
        bank1 = none
    if (write | read0 | read1) & _MORE != none:
        return _most(write, read0, read1, bank0, bank1)
    if write & bank0 & bank1 != none:
        return 3
    if (read0 & read1) | (write & (bank0 | bank1)) != none:
        return 2
    return 1


@inner
def _same_bank(block: int, other: int, groups: int, span: int) -> bool:
    """Tell whether two blocks lie in one bank."""
    return (block ^ other) & (groups - 1) == 0 and (block ^ other) & -span == 0


@inner
def _count_in(stream: Stream, block: int, groups: int, span: int) -> int:
    """Count the blocks of a repeat in the bank (or, with a span of 0, the group) of `block`."""
    count = 0
    for index in range(stream.blocks):
        if _same_bank(stream.first + index * stream.blk, block, groups, span):
            count += 1
    return count


@inner
def _bank_reads(dst: Stream, src: Stream, block: int, groups: int, span: int) -> int:
    """Count the reads of a source in the bank of a written block, unless all blocks pair up."""
    pairs = _pairs_up(dst, src, groups)
    for index in range(src.blocks if pairs else 0):
        pairs = pairs and _same_bank(src.first + index * src.blk, dst.first + index * dst.blk, groups, span)
    return 0 if pairs else _count_in(src, block, groups, span)


@inner
def _crossing_repeat(dst: Stream, src0: Stream, src1: Stream, groups: int, span: int) -> int:
    """Count the cycles of a repeat block by block."""
    cycles = 1
    other = nothing() if src0 == src1 else src1
    for group in range(groups):
        cycles = max(cycles, _count_in(src0, group, groups, 0) + _count_in(other, group, groups, 0))
        cycles = max(cycles, _count_in(dst, group, groups, 0))
    for index in range(dst.blocks):
        block = dst.first + index * dst.blk
        bank = _count_in(dst, block, groups, span)
        bank += _bank_reads(dst, src0, block, groups, span) + _bank_reads(dst, other, block, groups, span)
        cycles = max(cycles, bank)
    return cycles


@inner
def _repeats_before_crossing(stream: Stream, span: int) -> int:
    """Return for how many repeats an operand stays within one multiple of `span`; 0: not even for one."""
    room = span - (stream.first & (span - 1)) - (stream.blocks - 1) * stream.blk - 1
    if stream.blocks == 0 or (stream.rep == 0 and room >= 0):
        return 1 << 30
    return 0 if room < 0 else room // stream.rep + 1


class Unit(NamedTuple):
    """What timing needs of the vector unit and UB, as plain numbers (passing all costs on takes longer)."""

    repeat_cycles: int
    min_cycles: int
    groups: int
    span: int


@inner
def unit_of(repeat_cycles: int, costs: Costs) -> Unit:
    """Return the numbers for an instruction whose arithmetic takes so many cycles a repeat."""
    groups = costs.ub_bank_groups
    return Unit(repeat_cycles, costs.vector_min_cycles, groups, groups * costs.ub_bank_bytes >> BLOCK_SHIFT)


@inner
def _run_cycles(dst: Stream, src0: Stream, src1: Stream, repeats: int, unit: Unit) -> int:
    """Count the cycles of repeats none of which crosses a multiple of the span; the groups come round."""
    groups = unit.groups
    step = 0  # how the operands move against each other; those that are not there do not count
    if src0.blocks > 0:
        step |= (src0.rep ^ dst.rep) if dst.blocks > 0 else (src0.rep ^ src1.rep if src1.blocks > 0 else 0)
    if src1.blocks > 0 and dst.blocks > 0:
        step |= src1.rep ^ dst.rep
    period = 1 if step & (groups - 1) == 0 else groups // (step & -step)
    total = 0
    for phase in range(min(period, repeats)):
        write, read0, read1 = _moved(dst, phase), _moved(src0, phase), _moved(src1, phase)
        cycles = max(unit.repeat_cycles, _plain_repeat(write, read0, read1, groups, unit.span))
        total += cycles * ((repeats - phase + period - 1) // period)
    return total


@inner
def vector_time(dst: Stream, src0: Stream, src1: Stream, repeats: int, unit: Unit) -> int:
    """Return the cycles for which an instruction holds the vector unit, short ones for a least time.

    With no bank groups nothing conflicts: a profile compares with that.

    Source: the least time from msKPP's table of 910B1, where one repeat takes 3 to 4 cycles.
    """
    span, total, done = unit.span, 0, 0
    if unit.groups == 0:
        return int(max(unit.min_cycles, repeats * unit.repeat_cycles))
    while done < repeats:
        run = repeats - done
        if (src0.rep == 0 and src0.blocks > 0) or (src1.rep == 0 and src1.blocks > 0):
            run = 1  # only the first repeat reads them
        is_plain = _is_in_one_bank_row(dst, run, span) and _is_in_one_bank_row(src0, run, span)
        if not (is_plain and _is_in_one_bank_row(src1, run, span)):
            run = min(run, _repeats_before_crossing(dst, span), _repeats_before_crossing(src0, span))
            run = min(run, _repeats_before_crossing(src1, span))
        if run > 0:
            total += _run_cycles(dst, src0, src1, run, unit)
        else:
            run = 1
            total += max(unit.repeat_cycles, _crossing_repeat(dst, src0, src1, unit.groups, span))
        dst, src0, src1 = _moved(dst, run), _after(src0, run), _after(src1, run)
        done += run
    return int(max(unit.min_cycles, total))
