"""Kernel modules of accelerators: what runs, and what `modprobe` would load."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict


class Module(TypedDict):
    """A kernel module's versions; None where there is none.

    `flavour` tells makes of one version apart: "open" or "proprietary" (NVIDIA), "dkms" or "kernel" (AMD).
    """

    loaded: str | None
    installed: str | None
    flavour: str | None


class Modinfo(TypedDict):
    """What modinfo says of the module that would be loaded, "" for nothing; `kernel` is the release of the one that runs."""

    version: str
    license: str
    file: str
    kernel: str


def section(names: Iterable[str]) -> str:
    """The part of a host's script that asks modinfo about modules."""
    fields = "".join(
        f'echo "{name} version=$(modinfo -F version {name})"; echo "{name} license=$(modinfo -F license {name})"\n'
        f'echo "{name} file=$(modinfo -n {name})"\n'
        for name in names
    )
    return f'PATH="$PATH:/usr/sbin:/sbin"\n{fields}echo "kernel=$(uname -r)"\n'


def modinfo(lines: Iterable[str], name: str) -> Modinfo:
    """What that part printed about one module."""
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return {
        "version": values.get(f"{name} version", ""),
        "license": values.get(f"{name} license", ""),
        "file": values.get(f"{name} file", ""),
        "kernel": values.get("kernel", ""),
    }
