"""modprobe, modinfo, lsmod, rmmod, depmod and systemd-modules-load for the simulated modules.

Modules that they do not know are left to the real programs, if there are any. They differ from kmod's in that they know
only the options that scripts use, and that modules are text files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lab.simulated import host, modules

REAL = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")


def main(argv: list[str]) -> int:
    """Run the program that this was called as; returns the exit status."""
    command = Path(argv[0]).name
    words = argv[1:]
    if command == "lsmod":
        return lsmod()
    if command == "modules-load":  # in the place of systemd-modules-load
        return _each(modules.listed(), remove=False, quiet=False)
    if command == "depmod":
        return 0  # text files need no index
    if command == "modinfo":
        return modinfo(words)
    if command == "rmmod":
        return _each([word for word in words if not word.startswith("-")], remove=True, quiet=False)
    return modprobe(words)


def modprobe(words: list[str]) -> int:
    """Run modprobe: load, or with -r unload; with -n only look; -a and -b as in kmod's."""
    flags = {letter for word in words if word.startswith("-") and not word.startswith("--") for letter in word[1:]}
    flags |= {word for word in words if word.startswith("--")}
    names = [word for word in words if not word.startswith("-") and "=" not in word]
    if not flags & {"a", "--all", "r", "--remove"}:
        names = names[:1]  # the rest are parameters
    if flags & {"b", "--use-blacklist"}:
        names = [name for name in names if not modules.blacklisted(name)]
    if flags & {"n", "--dry-run", "--show"}:
        names = [name for name in names if modules.on_disk(name) is None]
        return _missing("modprobe", names[0]) if names else 0
    return _each(names, remove=bool(flags & {"r", "--remove"}), quiet=bool(flags & {"q", "--quiet"}))


def _each(names: list[str], *, remove: bool, quiet: bool) -> int:
    for name in names:
        if not modules.on_disk(name) and not host.loaded(name):
            if (Path("/sys/module") / name.replace("-", "_")).exists():
                continue  # the machine's own kernel has it already
            if real := _real("modprobe"):
                return subprocess.call([real, *(["-r"] if remove else []), name])
            return 1 if quiet else _missing("modprobe", name)
        try:
            modules.unload(name) if remove else modules.load(name)
        except modules.Refused as refused:
            if remove:
                print(f"modprobe: FATAL: {refused}.", file=sys.stderr)
            else:
                print(f"modprobe: ERROR: could not insert '{name.replace('-', '_')}': {refused}", file=sys.stderr)
            return 1
        except FileNotFoundError:
            pass  # not loaded: nothing to unload
    return 0


def _missing(program: str, name: str) -> int:
    print(f"{program}: FATAL: Module {name} not found in directory /lib/modules/{host.release()}", file=sys.stderr)
    return 1


def modinfo(words: list[str]) -> int:
    """Run modinfo: all fields, or the field after -F; -n for the file."""
    field, release, names = "", host.release(), []
    rest = iter(words)
    for word in rest:
        if word in ("-F", "--field"):
            field = next(rest, "")
        elif word.startswith("--field="):
            field = word.split("=", 1)[1]
        elif word in ("-k", "--set-version"):
            release = next(rest, "")
        elif word in ("-n", "--filename"):
            field = "filename"
        elif word in ("-l", "--license", "-d", "--description", "-a", "--author"):
            field = {"l": "license", "d": "description", "a": "author"}[word.lstrip("-")[0]]
        elif not word.startswith("-"):
            names.append(word)
    for name in names:
        path = modules.on_disk(name, release)
        if path is None:
            if real := _real("modinfo"):
                return subprocess.call([real, *words])
            print(f"modinfo: ERROR: Module {name} not found.", file=sys.stderr)
            return 1
        values = {"filename": str(path), **modules.fields(path)}
        if field:
            if field in values:
                print(values[field])
        else:
            for key, value in values.items():
                print(f"{key + ':':<16}{value}")
    return 0


def lsmod() -> int:
    """Run lsmod, for the simulated modules alone."""
    print("Module                  Size  Used by")
    for name in modules.loaded_modules():
        print(f"{name:<20} {16384:>8}  0")
    return 0


def _real(program: str) -> str | None:
    """Path of the real program, if kmod is installed."""
    return next((path for folder in REAL if os.access(path := f"{folder}/{program}", os.X_OK)), None)
