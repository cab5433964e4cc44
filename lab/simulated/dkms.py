"""dkms: "builds" the simulated modules. It stands for the real dkms, which would compile for minutes.

Paths (/usr/src/NAME-VERSION, /var/lib/dkms, /lib/modules/RELEASE/updates/dkms), messages, exit statuses and refusals are
the same: without kernel headers nothing is built, a failed build is "Bad return status". A source tree is
a folder of text files, see modules.py; a file `build-fails` in it makes its build fail.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lab.simulated import host, modules

TREE = Path("/var/lib/dkms")
SOURCES = Path("/usr/src")
MODULES = Path("/lib/modules")


def main(argv: list[str]) -> int:
    """Run add, build, install, remove, autoinstall or status, with NAME/VERSION or -m NAME -v VERSION, and -k RELEASE."""
    name, version, release, action, rest = "", "", host.release(), "", iter(argv[1:])
    for word in rest:
        if word in ("-m", "-v", "-k", "--kernelver"):
            value = next(rest, "")
            name, version = (value, version) if word == "-m" else (name, value if word == "-v" else version)
            release = value if word in ("-k", "--kernelver") else release
        elif not word.startswith("-"):
            if action:
                name, _, version = word.partition("/")
            else:
                action = word
    if action == "status":
        return status()
    if action == "autoinstall":
        return max((install(*known, release) for known in added()), default=0)
    if action == "add":
        return add(name, version)
    if action in ("build", "install"):
        return add(name, version) or install(name, version, release)
    if action == "remove":
        return remove(name, version)
    print(f"Error! Unknown action: {action}", file=sys.stderr)
    return 1


def added() -> list[tuple[str, str]]:
    """Names and versions of the source trees that were added."""
    return sorted((path.parent.name, path.name) for path in TREE.glob("*/*") if (path / "source").is_symlink())


def add(name: str, version: str) -> int:
    """Add a source tree; returns the exit status."""
    source, known = SOURCES / f"{name}-{version}", TREE / name / version
    if not (source / "dkms.conf").exists():
        print(f"Error! Could not find module source directory.\nDirectory: {source} does not exist.", file=sys.stderr)
        return 2
    if not (known / "source").is_symlink():
        known.mkdir(parents=True, exist_ok=True)
        (known / "source").symlink_to(source)
        print(f"Creating symlink {known}/source -> {source}")
    return 0


def install(name: str, version: str, release: str) -> int:
    """Build modules and put them where modprobe looks; returns the exit status."""
    known, source = TREE / name / version, SOURCES / f"{name}-{version}"
    if (known / release).exists():
        return 0
    if not (MODULES / release / "build").exists():
        print(
            f"Error! Your kernel headers for kernel {release} cannot be found at /lib/modules/{release}/build or "
            f"/lib/modules/{release}/source.\nPlease install the linux-headers-{release} package.",
            file=sys.stderr,
        )
        return 21
    _signing_key()
    print("Building module:\nCleaning build area...\nmake...")
    if (source / "build-fails").exists() or host.knobs().get("build_fails"):
        log = known / "build" / "make.log"
        host.write(log, f"DKMS make.log for {name}-{version} for kernel {release} (x86_64)\nmake: *** Error 2\n")
        print(
            f"(bad exit status: 2)\nError! Bad return status for module build on kernel: {release} (x86_64)\n"
            f"Consult {log} for more information.",
            file=sys.stderr,
        )
        return 10
    target = MODULES / release / "updates" / "dkms"
    target.mkdir(parents=True, exist_ok=True)
    for module in sorted((source / "modules").glob("*.ko")):
        print(f"{module.name}:\n - Installing to {target}/")
        shutil.copyfile(module, target / module.name)
    (known / release).mkdir()
    print("depmod...")
    index(release)
    return 0


def remove(name: str, version: str) -> int:
    """Remove a tree and its built modules; what is loaded stays loaded."""
    known, source = TREE / name / version, SOURCES / f"{name}-{version}"
    for release in (path.name for path in known.glob("*") if path.name not in ("source", "build")):
        for module in (source / "modules").glob("*.ko"):
            built = MODULES / release / "updates" / "dkms" / module.name
            if built.exists() and modules.fields(built) == modules.fields(module):
                built.unlink()
        index(release)
    shutil.rmtree(known, ignore_errors=True)
    return 0


def index(release: str) -> None:
    """List the modules as depmod does. The container toolkit watches the list for new drivers."""
    root = MODULES / release
    names = sorted(str(path.relative_to(root)) for path in root.glob("**/*.ko"))
    host.write(root / "modules.dep", "".join(f"{name}:\n" for name in names))


def status() -> int:
    """Print a line per tree and kernel."""
    for name, version in added():
        releases = [path.name for path in (TREE / name / version).iterdir() if path.name not in ("source", "build")]
        for release in releases:
            print(f"{name}/{version}, {release}, x86_64: installed")
        if not releases:
            print(f"{name}/{version}: added")
    return 0


def _signing_key() -> None:
    """Make the key that modules are signed with; with Secure Boot a person has to enrol it at the console."""
    for name in ("mok.key", "mok.pub"):
        if not (TREE / name).exists():
            host.write(TREE / name, "a key of the lab\n")
