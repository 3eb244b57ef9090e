"""Four checkers of programs: memcheck, racecheck, initcheck and synccheck."""

from davinci_sim.core.checks.findings import Bytes, Finding, HazardsFound
from davinci_sim.core.checks.programs import check_programs
from davinci_sim.core.checks.rules import CHECKERS, INITCHECK, MEMCHECK, RACECHECK, SYNCCHECK

__all__ = [
    "CHECKERS",
    "INITCHECK",
    "MEMCHECK",
    "RACECHECK",
    "SYNCCHECK",
    "Bytes",
    "Finding",
    "HazardsFound",
    "check_programs",
]
