"""What transfers cost the memory that all cores share: packets, slots, alignment."""

from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space

GM = int(Space.GM)


@inner
def packet_slots(burst_len: int) -> int:
    """Return the bus slots of one burst: packets of 8, 4, 3, 2 or 1 blocks fill a slot each."""
    rest = burst_len % 8
    slots = burst_len // 8
    if rest > 0:
        slots += 1 if rest <= 4 else 2
    return slots


@inner
def unaligned_bursts(address: int, nburst: int, stride_bytes: int, align_bytes: int) -> int:
    """Count the bursts that do not begin at a multiple of `align_bytes`, a power of two."""
    if (address | stride_bytes) & (align_bytes - 1) == 0:
        return 0
    unaligned, phase = 0, 0
    for burst in range(min(nburst, align_bytes)):  # the pattern repeats after that many bursts at the latest
        unaligned += 1 if (address + burst * stride_bytes) & (align_bytes - 1) else 0
        phase = burst + 1
    return unaligned * nburst // phase


@inner
def bus_bytes(address: int, nburst: int, burst_len: int, stride_bytes: int, costs: Costs) -> int:
    """Return the bytes of bus time that bursts from or to GM take, slow ones counted longer."""
    slot = packet_slots(burst_len) * costs.gm_packet_slot_bytes
    slow = unaligned_bursts(address, nburst, stride_bytes, costs.gm_fast_align_bytes)
    return int((nburst - slow) * slot + slow * slot * 100 // costs.gm_unaligned_percent)


@inner
def atomic_bytes(size: int, costs: Costs) -> int:
    """Return the bytes of bus time of additions in GM, which get a share of the bandwidth of plain writes."""
    return int(size * 100 // costs.gm_atomic_percent)


@inner
def is_gm(handle: int) -> bool:
    """Tell whether a handle lies in device memory."""
    return handle >> SPACE_SHIFT == GM
