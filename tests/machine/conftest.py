"""Real programs on this machine: a registry, HAProxy, sockets and links. Needs root; `make test` installs the programs."""

from tests.unit.conftest import _hub, bin_dir, hub, programs, shell

__all__ = ["_hub", "bin_dir", "hub", "programs", "shell"]
