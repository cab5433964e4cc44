"""What several tests start: a model hub on this machine, programs that stand for those of a host."""

from __future__ import annotations

import os
import warnings

# First of all, because it makes the process cooperative (gevent); pytest's own plugins have imported ssl before.
with warnings.catch_warnings(action="ignore"):
    import pyinfra_cli  # noqa: F401

from hypothesis import settings

from tests.support.hub import hub, running_hub
from tests.support.shell import bin_dir, programs, shell

__all__ = ["bin_dir", "hub", "programs", "running_hub", "shell"]

# The same inputs in each run, and few: BAREWIND_EXAMPLES=2000 tries more of them, and others each time.
_examples = os.environ.get("BAREWIND_EXAMPLES")
settings.register_profile(
    "unit", max_examples=int(_examples or 25), derandomize=_examples is None, deadline=None, database=None
)
settings.load_profile("unit")
