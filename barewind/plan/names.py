"""The names of what runs on an engine host: unit, container and its label, files, firewall table.

A host that runs one engine has the names below. Of several, its replicas, each has names of its own, by its number.
"""

from __future__ import annotations

from dataclasses import dataclass

from barewind.hosts.paths import PROGRAMS, SETTINGS

UNIT = "barewind-engine.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
DROP_IN_FILE = f"{UNIT_FILE}.d/barewind.conf"  # holds for every release, also for the unit of an older one
FIREWALL_FILE = f"{SETTINGS}/engine.nft"
FIREWALL_TABLE = "barewind_engine"
STOPPING_FILE = f"{SETTINGS}/engine-stopping.nft"
STOPPING_TABLE = "barewind_engine_stopping"
CHECK_PROGRAM = f"{PROGRAMS}/check-weights"
ADDED_FILES_DIR = f"{PROGRAMS}/container"  # what containers find in a folder of their own
ADMIN_KEY_PROGRAM = f"{PROGRAMS}/admin-key"
ADMIN_KEY_DIR = "/run/barewind/engine"  # of the host: gone with a restart, as the key is with each start
PREPARE_PROGRAM = f"{PROGRAMS}/prepare-container"
HOST_OPTIONS = "BAREWIND_HOST_OPTIONS"  # variable of the unit: options of `docker run` that depend on the host
HOST_OPTIONS_FILE = "/run/barewind/engine-options"  # sets it; made before each start
DIVIDE_PROGRAM = f"{PROGRAMS}/divide-host"
HOST_PART = "BAREWIND_HOST_PART"  # likewise: those that give an engine a part of its host's accelerators
ENGINE_PORT = "BAREWIND_ENGINE_PORT"  # likewise: the port of one of several engines of a host
HOST_PART_FILE = "/run/barewind/engine-part"  # sets the two; made before each start
CONTAINER = "barewind-engine"
RELEASES = f"{SETTINGS}/releases"  # what a host keeps of each release
RELEASE_LABEL = "barewind.release"  # of the container
UNIT_FILES = "/etc/systemd/system/barewind-engine*.service"  # every engine's, as a pattern of a shell
UNITS = "barewind-engine.service 'barewind-engine@*.service'"  # every engine's, in a shell command


@dataclass(frozen=True)
class EngineNames:
    """What belongs to one engine of a host. `stopping_table` is of nft, the other files and directories are the host's."""

    unit: str = UNIT
    unit_file: str = UNIT_FILE
    drop_in_file: str = DROP_IN_FILE
    container: str = CONTAINER
    stopping_file: str = STOPPING_FILE
    stopping_table: str = STOPPING_TABLE
    admin_key_dir: str = ADMIN_KEY_DIR
    host_part_file: str = HOST_PART_FILE


def names_of(unit: str) -> EngineNames:
    """The names of the engine whose unit this is."""
    number = unit.removesuffix(".service").partition("@")[2]
    return engine_names(int(number) if number else None)


def engine_names(replica: int | str | None) -> EngineNames:
    """The names of a host's only engine (None), of one of several by its number, or, for "%i", what systemd puts its number into.

    With "%i" they stand in units: these are the same for all replicas of a host that serve the same release.
    """
    if replica is None:
        return EngineNames()
    unit = f"barewind-engine@{replica}.service"
    unit_file = f"/etc/systemd/system/{unit}"
    return EngineNames(
        unit=unit,
        unit_file=unit_file,
        drop_in_file=f"{unit_file}.d/barewind.conf",
        container=f"{CONTAINER}-{replica}",
        stopping_file=f"{SETTINGS}/engine-stopping-{replica}.nft",
        stopping_table=f"{STOPPING_TABLE}_{replica}",
        admin_key_dir=f"{ADMIN_KEY_DIR}-{replica}",
        host_part_file=f"{HOST_PART_FILE}-{replica}",
    )
