"""What a user may choose when a graph is compiled and run."""

from __future__ import annotations

from dataclasses import dataclass

from davinci_sim.errors import DavinciError, unknown

GRAPH, OP_BY_OP = "graph", "op-by-op"
MODES = (GRAPH, OP_BY_OP)
"""Graph: the device follows its list of tasks. Op by op: the host sends one task after the other."""
KEEP, MIXED, FORCE_FP16 = "keep", "mixed", "force_fp16"
SWITCHES = ("fusion", "formats", "counters", "reuse", "blocks", "streams")
PRECISIONS = (KEEP, MIXED, FORCE_FP16)
"""Element types as they are; what the cube multiplies in float16; all that a kernel takes in float16."""


@dataclass(frozen=True)
class Options:
    """Each optimisation of a graph can be switched off by itself.

    `fusions`: what may be fused, as the name of a set (none, real, all) or as names of the table of fusions.
    `formats`: values lie as the cube and pooling want them, if that saves conversions; else each is ND.
    `counters`: integers of loops that provably fit lie in 32 bits, in which the cores count.
    `reuse`: values that are not alive together share memory. `blocks`: what is put together is made in its
    place, and parts are looked at in theirs. `streams`: independent branches run side by side.

    Raises:
        UnknownName: there is no such mode, precision, fusion, or set of fusions.
        DavinciError: a switch is neither True nor False.
    """

    fusion: bool = True
    fusions: str | frozenset[str] = "all"
    formats: bool = True
    counters: bool = True
    reuse: bool = True
    blocks: bool = True
    streams: bool = True
    mode: str = GRAPH
    precision: str = KEEP

    def __post_init__(self) -> None:
        """Refuse what there is not."""
        if self.mode not in MODES:
            raise unknown("mode", self.mode, MODES)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        from framework.graph_engine.service.fusion import chosen  # its passes take options

        chosen(self.fusions)
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise DavinciError(f"Options: {name} is {getattr(self, name)!r}, it is True or False")


def op_by_op() -> Options:
    """Return the options of a framework that optimises nothing: one operator after the other."""
    return Options(
        fusion=False, formats=False, counters=False, reuse=True, blocks=False, streams=False, mode=OP_BY_OP
    )  # fmt: skip
