"""Stand-ins for the vendors' apt repositories: packages of the real names and relations, signed by a key of the lab.

A package holds what a deploy meets: its version, what it depends on and conflicts with, units, maintainer scripts, and
commands, whose code is in lab/simulated/. No package holds anything of a vendor's.

    deb.py, repository.py, signing.py   the formats
    distribution.py, nvidia.py, toolkit.py, amd.py, docker_ce.py   what there is
    build.py   everything into the cache, signed, served by `services`
"""
