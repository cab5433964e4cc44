"""Shell commands that pack a compile cache on the host that has one, and unpack it on the host that takes it.

What lies in a cache is a stranger's word: it is read and written without root's rights, and nothing but plain files and
directories is taken, without owners, modes and what else a file may have. A cache with a link or a device in it is refused whole.
"""

from __future__ import annotations

import shlex

from barewind.checksums import STAT, SUMS, VERIFIED
from barewind.compile_cache.plan import FILE, MOST, Cache, Packed, noted, seed_directory
from barewind.engines import ENGINES
from barewind.hosts.script import script, split
from barewind.plan.container import USER
from barewind.release.history import EVENTS_FILE, read_events


def pack(cache: Cache) -> str:
    """Shell command that packs the cache of a host whose engine answers, and prints size and SHA-256 of the file.

    It fails and says why where there is nothing to pack, or something that no other host may have. An engine that answers has
    compiled all it needs; one that still writes makes tar fail.
    """
    packed = shlex.quote(cache.packed_directory)
    health = shlex.quote(cache.url + ENGINES[cache.spec.engine].health_path)
    reader = _as(cache.owner)  # an engine cannot have root read what it could not read itself
    tar = f"{reader} tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=,a-s,-t"
    return f"""
set -eu
umask 077
fail() {{ rm -rf {packed}.partial; echo "$1" >&2; exit 1; }}
curl -fsS -m 5 -o /dev/null {health}
cd {shlex.quote(cache.directory)}
[ -n "$(ls -A .)" ] || fail "nothing is in it"
[ "$({reader} du -sb --apparent-size . | cut -f1)" -le {MOST} ] || fail "it is larger than compilers make it; it is not handed on"
rm -rf {packed} {packed}.partial
mkdir {packed}.partial
(ulimit -f {2 * MOST // 512}; {tar} -cf - . > {packed}.partial/{FILE}) || fail "it changes"
cd {packed}.partial
{_plain(FILE)}
sha256sum {FILE} > {SUMS}
{STAT} {FILE} > {VERIFIED}
mv -T {packed}.partial {packed}
stat -c %s {packed}/{FILE}
cut -d' ' -f1 {packed}/{SUMS}"""


def read_packed(output: str) -> Packed | None:
    """The file that `pack` has made, from its output; None if it has made none."""
    words = output.split()
    if len(words) != 2 or not words[0].isdigit() or len(words[1]) != 64:
        return None
    return Packed(int(words[0]), words[1])


def show_packed(cache: Cache) -> str:
    """Shell command that prints what a host's history tells of packed files, and the size of the one of this cache."""
    file = shlex.quote(f"{cache.packed_directory}/{FILE}")
    return script(events=f"""grep '"event": "packed"' {EVENTS_FILE}""", size=f"stat -c %s {file}")


def read_noted(output: str, cache: Cache) -> Packed | None:
    """The packed file of a cache by the history, from what `show_packed` printed; None where the host has none.

    Raises:
        FactProcessError: the output breaks off.
    """
    sections = split(output.splitlines())
    file = noted(read_events(sections.get("events", [])), cache.key)
    return file if file is not None and sections.get("size") == [str(file.size)] else None


def unpack(cache: Cache) -> str:
    """Shell command that makes a cache of the file that was fetched; whole or not at all."""
    directory, seed = shlex.quote(cache.directory), shlex.quote(seed_directory(cache))
    owned = "" if cache.owner == USER else f"chown -hR {cache.owner}:{cache.owner} {directory}.partial"
    return f"""
set -eu
umask 077
clear() {{ {remove_seed(cache)}; }}
trap clear EXIT
fail() {{ echo "$1" >&2; exit 1; }}
{_plain(f"{seed}/{FILE}")}
rm -rf {directory}.partial
install -d -m 0700 -o {USER} -g {USER} {directory}.partial
cd {directory}.partial
{_as(USER)} tar --no-same-owner --no-same-permissions -xf - < {seed}/{FILE}
{owned}
rmdir {directory} 2> /dev/null || true
mv -T {directory}.partial {directory}"""


def remove_seed(cache: Cache) -> str:
    """Shell command that removes the fetched file; a host that still sends it has it open."""
    seed = shlex.quote(seed_directory(cache))
    return f"rm -rf {seed} {seed}.parts {seed}.partial {shlex.quote(cache.directory)}.partial"


def remove_traces(cache: Cache) -> str:
    """Shell command that removes what giving the packed file has left beside it; the file itself stays."""
    packed = shlex.quote(cache.packed_directory)
    return f"rm -rf {packed}.parts {packed}.partial"


def _plain(file: str) -> str:
    """Lines of a script that end it, by its `fail`, if an archive holds anything but files and directories.

    GNU tar lists an entry in one line, whatever its name.
    """
    return f"""entries=$({_as(USER)} tar -tvf - < {file}) || fail "its archive cannot be read"
foreign=$(printf '%s\\n' "$entries" | grep -m 1 -v '^[-d]') || true
[ -z "$foreign" ] || fail "what is in it is no file and no directory ($foreign); it is not handed on"
entries="""


def _as(user: int) -> str:
    """What precedes a command to run it as a user without any rights; nothing for root."""
    return f"setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs" if user else ""
