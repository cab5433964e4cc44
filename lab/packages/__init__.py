"""Stand-ins for the vendors' apt repositories: packages of the real names and relations, signed by a key of the lab.

A package holds what a deploy meets: version, relations, units, maintainer scripts, and commands, whose code is in
lab/simulated/. Nothing in it is a vendor's.

    deb.py, repository.py, signing.py   the formats
    distribution.py, nvidia.py, toolkit.py, amd.py, docker_ce.py   the packages
    build.py   writes all of it into the cache, from where `services` serves it, and signs it
"""
