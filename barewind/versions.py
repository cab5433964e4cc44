"""Which of two versions is older: drivers, toolkits' and engines', as their makers write them.

Debian's packages are compared by dpkg: their versions have epochs and revisions of their own kind.
"""

from __future__ import annotations

from packaging.version import Version


def older(version: str, floor: str) -> bool:
    """Whether a version is below a floor; a candidate ("7.0rc1") never is, for what it lacks is not known.

    Raises:
        ValueError: one of them is no version.
    """
    given = Version(version)
    return not given.is_prerelease and given < Version(floor)
