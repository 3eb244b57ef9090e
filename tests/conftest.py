"""What every test shares: the Hypothesis profiles, and no tilings of the user's own.

Plain `pytest` explores new examples; `make test` sets HYPOTHESIS_PROFILE=ci and repeats the same ones.
"""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["DAVINCI_TUNINGS"] = ""  # no test depends on tilings that its user has searched for
settings.register_profile("default", deadline=None)  # the first call of a Numba function compiles it
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
