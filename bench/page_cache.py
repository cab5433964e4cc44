"""How much memory the weights take that several engines of a host read: measured on the host, and inside each container.

The stand-in engine reads no weights. So a program in each engine's container does what a loader does: it maps every file of
weights there and reads all of its pages. What is measured:

- resident: bytes of these files in the host's page cache (mincore), before and after; they are dropped from it first
- mapped: bytes that each program has of them in its own address space (Rss of /proc/PID/smaps), summed
- share: the same, a page that n of them have counted as 1/n for each (Pss), summed
- charged: by how much the file pages of each container's control group grew (memory.stat), summed
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from lab import topology
from lab.hosts import hosts

_MODELS = """docker inspect -f '{{range .Mounts}}{{.Source}} {{.Destination}}
{{end}}' barewind-engine-0 | sed -n 's, /models.*,,p'"""

# Arguments: `drop` or `look`, then directories. Prints bytes in the page cache, and of the files.
_RESIDENT = """
import ctypes, glob, mmap, os, sys
files = {os.path.realpath(path) for folder in sys.argv[2:] for path in glob.glob(folder + "/**/*.safetensors", recursive=True)}
libc, page, resident = ctypes.CDLL(None), mmap.PAGESIZE, 0
for path in files:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if sys.argv[1] == "drop":
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        memory = mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    pages = (ctypes.c_ubyte * ((size + page - 1) // page))()
    address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    if libc.mincore(address, ctypes.c_size_t(size), pages):
        sys.exit(path + ": mincore failed")
    resident += sum(each & 1 for each in pages) * page
print(resident, sum(os.path.getsize(path) for path in files))
"""

# Maps all, reads a byte of each page, says so, waits for a line, and says what it has.
_READER = """
import glob, json, mmap, os
def charged():
    for path in ("/sys/fs/cgroup/memory/memory.stat", "/sys/fs/cgroup/memory.stat"):
        if os.path.exists(path):
            found = dict(line.split() for line in open(path))
            return int(found.get("total_cache") or found["file"])
before, maps = charged(), []
for path in sorted({os.path.realpath(path) for path in glob.glob("/models/**/*.safetensors", recursive=True)}):
    with open(path, "rb") as file:
        maps.append(mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ))
    sum(maps[-1][place] for place in range(0, len(maps[-1]), mmap.PAGESIZE))
print("read", flush=True)
input()
own, found = False, {"Rss": 0, "Pss": 0}
for line in open("/proc/self/smaps"):
    first, *rest = line.split()
    if not first.endswith(":"):
        own = line.rstrip().endswith(".safetensors")
    elif own and first[:-1] in found:
        found[first[:-1]] += int(rest[0]) * 1024
print(json.dumps({"mapped": found["Rss"], "share": found["Pss"], "charged": charged() - before}), flush=True)
input()
"""


@dataclass(frozen=True)
class PageCache:
    """Bytes, as the module says; `files`: the size of the weights. `programs`: one for each engine."""

    programs: int
    files: int
    before: int
    after: int
    mapped: int
    share: int
    charged: int


def measure(host: str, count: int) -> PageCache:
    """Measure on a host with so many engines."""
    folders = hosts.exec(host, _MODELS).stdout.split()
    before, files = _resident(host, "drop", folders)
    container = topology.find(host).container
    readers = [
        subprocess.Popen(
            [
                "docker",
                "exec",
                "-i",
                container,
                "docker",
                "exec",
                "-i",
                f"barewind-engine-{number}",
                "python3",
                "-c",
                _READER,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        for reader in readers:
            if _line(reader) != "read":
                raise RuntimeError("a program that reads weights has ended; see above")
        own = []
        for reader in readers:
            _say(reader)
            own.append(json.loads(_line(reader)))
        after, _ = _resident(host, "look", folders)
    finally:
        for reader in readers:
            reader.communicate("\n")
    mapped, share, charged = (sum(found[key] for found in own) for key in ("mapped", "share", "charged"))
    return PageCache(count, files, before, after, mapped, share, charged)


def print_row(found: PageCache) -> None:
    """Print a row of a Markdown table, in MiB."""
    values = (found.files, found.before, found.after, found.mapped, found.share, found.charged)
    print(f"| {found.programs} | " + " | ".join(f"{value / 2**20:.1f}" for value in values) + " |")


def print_head() -> None:
    """Print the head of that table."""
    print("\n| engines | weights, MiB | resident before | resident after | mapped, sum | share, sum | charged, sum |")
    print("|---|---|---|---|---|---|---|")


def _resident(host: str, what: str, folders: list[str]) -> tuple[int, int]:
    resident, size = hosts.exec(host, ["python3", "-c", _RESIDENT, what, *folders]).stdout.split()
    return int(resident), int(size)


def _line(reader: subprocess.Popen[str]) -> str:
    return reader.stdout.readline().strip() if reader.stdout else ""


def _say(reader: subprocess.Popen[str]) -> None:
    if reader.stdin:
        reader.stdin.write("\n")
        reader.stdin.flush()
