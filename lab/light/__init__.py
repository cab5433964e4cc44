"""Docker's stand-in on light hosts: `docker` and `dockerd` with the subcommands that Barewind uses, containers by runc.

Real: the registry's manifest and configuration of an image, checked by digest; namespaces, control group, user, capabilities,
seccomp, limits and mounts of a container, which runc makes as it does for Docker. Stands in: layers are not downloaded, but come
unpacked from the lab's machine, read-only; an image of other layers is refused. Containers run in the foreground with --rm and
the host's network, as Barewind's do. What it does not know it refuses, with a message and Docker's exit status; nothing is
passed over in silence. Nothing here may need more than Python's own library.
"""
