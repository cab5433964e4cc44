"""How long weights take to be loaded on a host of the lab, from its disk and after they were read ahead:
python -m bench.read_ahead

The lab's own weights are too small to tell (65 MiB), so that files of random data stand for them. They are dropped from the page
cache, then a loader maps them and reads a byte of each page, as engines do; the second time what a rollout runs before the drain
(barewind/weights/read_ahead.py) comes before it. Nothing of Barewind is installed on the host.
"""

from __future__ import annotations

import argparse
from time import monotonic

from barewind.weights import read_ahead
from lab.hosts import hosts

_FOLDER = "/var/lib/barewind-bench"
_MAKE = (
    "mkdir -p {folder} && for n in 1 2 3 4; do head -c {size} /dev/urandom > {folder}/model-$n.safetensors; done; sync"
)
_DROP = """
import glob, os
for path in glob.glob("%s/*"):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
"""
_LOAD = """
import glob, mmap, time
begin = time.monotonic()
for path in sorted(glob.glob("%s/*")):
    with open(path, "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
    sum(pages[place] for place in range(0, len(pages), mmap.PAGESIZE))
print(time.monotonic() - begin)
"""


def main() -> None:
    """Print rows of a Markdown table: seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="engine1")
    parser.add_argument("--gib", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print("| GiB | load from disk | read ahead | load then |\n|---|---|---|---|")
    hosts.exec(chosen.host, _MAKE.format(folder=_FOLDER, size=chosen.gib * 2**28))
    try:
        for _ in range(chosen.rounds):
            _python(chosen.host, _DROP)
            cold = float(_python(chosen.host, _LOAD))
            _python(chosen.host, _DROP)
            begin = monotonic()
            hosts.exec(chosen.host, read_ahead.command([_FOLDER], chosen.gib * 2**30))
            ahead = monotonic() - begin
            warm = float(_python(chosen.host, _LOAD))
            print(f"| {chosen.gib} | {cold:.1f} | {ahead:.1f} | {warm:.1f} |", flush=True)
    finally:
        hosts.exec(chosen.host, f"rm -rf {_FOLDER}")


def _python(host: str, program: str) -> str:
    return hosts.exec(host, ["python3", "-c", program % _FOLDER]).stdout


if __name__ == "__main__":
    main()
