"""pyinfra's own configuration, read by every `pyinfra` command run in this folder."""

import sys

from pyinfra import config

sys.dont_write_bytecode = False  # pyinfra turns it off; without it every run compiles our modules anew

from barewind import pyinfra_hooks  # noqa: E402 - after the line above

# Stop at the first host that fails: the rest keep what they serve.
config.FAIL_PERCENT = 0

pyinfra_hooks.install()
