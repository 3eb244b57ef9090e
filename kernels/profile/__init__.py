"""What a kernel's time consists of, and what to do about it.

    found = profile(kernel, shape, platform)
    found.ledger            every cycle of every pipe, charged to one cause
    what_ifs(found)         what it would take without each of the machine's limits
    advise(found)           sentences derived from the numbers; tilings that they name were simulated
    found.as_json()         everything, for reports; see Profile.as_json for the keys

`compare(one, other)` explains the difference of two profiles cause by cause; `write_csv(found, folder)`
writes the tables that Ascend users know, `write_html(found, advice, path)` a page for a browser.
"""

from kernels.bounds import Bounds, bounds
from kernels.profile.advice import Advice, advise
from kernels.profile.comparison import Comparison, compare
from kernels.profile.lines import LineHeat
from kernels.profile.page import write_html
from kernels.profile.profile import Profile, profile
from kernels.profile.tables import write_csv
from kernels.profile.what_if import WhatIf, what_ifs

__all__ = [
    "Advice", "Bounds", "Comparison", "LineHeat", "Profile", "WhatIf", "advise", "bounds", "compare",
    "profile", "what_ifs", "write_csv", "write_html",
]  # fmt: skip
