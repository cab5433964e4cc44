"""Real programs on this machine: a registry, HAProxy, sockets and links. Needs root; `make test` installs the programs."""

from tests.support.endpoint_keys import start
from tests.support.haproxy import haproxy
from tests.support.hub import hub, running_hub
from tests.support.shell import bin_dir, programs, shell

__all__ = ["bin_dir", "haproxy", "hub", "programs", "running_hub", "shell", "start"]
