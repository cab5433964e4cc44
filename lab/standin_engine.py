"""The image of the stand-in engine (lab/standin/ says what that is): built and pushed to the lab's registry.

Three layers, each kept while what it is made of stays the same: Python with the few programs and libraries it needs,
out of the hosts' own Debian; the hub's client as the engine's lock has it (a deploy downloads weights inside the
engine's image); the program. As upstream's image it has the entry point `vllm serve`, the group `video`, the CUDA
version in its environment and the engine's version as a label. Left out of the hub's client: hf-xet, as the lab's hub does
not speak its protocol.

Tests make further tags with `variant`.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lab import base_image, docker, layers, paths, registry, state, topology
from lab.engine_image import LOCK
from lab.layers import SITE, Layer
from lab.progress import Steps
from lab.standin import arguments
from lab.standin import settings as program_settings

REPOSITORY, TAG = topology.STANDIN_IMAGE.removeprefix(f"{topology.REGISTRY}/").rsplit(":", 1)
RECIPE = 1  # raise it when what is not in a layer's parts changes
CLIENT = "huggingface-hub"
LEFT_OUT = ("hf-xet",)
HOME = "usr/local/lib/stand-in"
HERE = Path(__file__).parent
ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
    "CUDA_VERSION=13.0.1",
)

# Lists the files first, as links and what they point at; /lib is a link on Debian 12, and every file goes in once.
BASE = r"""
set -eu
python=$(readlink -f /usr/bin/python3)
library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
programs="$python /usr/bin/dash $(dpkg -L coreutils | sed -n 's,^\(/usr\)\?/bin/,/usr/bin/,p')"
{
    printf '%s\n' $programs /usr/bin/python3 /usr/bin/sh /bin /sbin /lib /lib64 /usr/sbin /tmp /root /run
    printf '%s\n' /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache /etc/os-release /usr/lib/os-release
    for shared in $(ldd $programs $library/lib-dynload/*.so | awk '/=> \// {print $3} /^\t\// {print $1}' | sort -u); do
        echo $shared
        readlink -f $shared
    done
    ls /lib/*/libgcc_s.so.1  # no program names it: the C library opens it when a thread ends
    find $library -type f ! -path '*/pydoc_data/*' ! -path '*/lib2to3/*' ! -path '*/test*/*' ! -name '*.opt-?.pyc'
    find /etc/ssl /usr/share/ca-certificates /usr/lib/locale/C.utf8 ! -type d
} | sed 's,^/lib/,/usr/lib/,; s,^/lib64/,/usr/lib64/,; s,^/,,' | sort -u > /tmp/files
exec tar --create --directory / --no-recursion --files-from /tmp/files
"""

# Bytecode is made by the Python that will run it, and never looked at twice.
COMPILED = """
set -eu
python3 -m compileall -q --invalidation-mode unchecked-hash -s /work -p / /work
exec tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1777593600 --directory /work .
"""

VLLM = f"""\
#!/usr/bin/python3
import sys
sys.path.insert(0, "/{HOME}")
from lab.standin.__main__ import main
sys.exit(main())
"""

HF = """\
#!/usr/bin/python3
import sys
from huggingface_hub.cli.hf import main
sys.exit(main())
"""


class Part(NamedTuple):
    """A layer to be: its name, what it is made of, and how it gets into the registry."""

    name: str
    key: str
    push: Callable[[], Layer]


def ensure(steps: Steps) -> None:
    """Have the image in the registry; quick when it is."""
    if not present():
        with steps.step("stand-in engine image"):
            build_and_push()


def present() -> bool:
    """Is this very image in the registry, whole?"""
    record = _record()
    digest = record.get("digest")
    if digest is None or record.get("key") != key():
        return False
    return registry.digest_of(TAG, REPOSITORY) == digest and registry.complete(TAG, REPOSITORY)


def key() -> str:
    """Names one state of the image."""
    return _hashed(str(RECIPE), repr(ENVIRONMENT), *(part.key for part in _parts()))


def build_and_push() -> str:
    """Make the layers that are missing and push the image; returns its digest."""
    kept = _record().get("layers", {})
    made: dict[str, Layer] = {}
    for part in _parts():
        before = kept.get(part.name)
        if before and before["key"] == part.key and registry.has_blob(before["digest"], REPOSITORY):
            made[part.name] = Layer(before["digest"], before["size"], before["diff_id"])
        else:
            made[part.name] = part.push()
    digest = registry.push_manifest(config(list(made.values())), [one.entry for one in made.values()], TAG, REPOSITORY)
    layers.collect_garbage()
    recorded = {part.name: {"key": part.key, **made[part.name]._asdict()} for part in _parts()}
    state.write_text(_file(), json.dumps({"key": key(), "digest": digest, "layers": recorded}))
    return digest


def variant(tag: str, *, version: str | None = None, env: Sequence[str] = ()) -> str:
    """Push the image once more under another tag and digest; returns the digest. Needs the image in the registry.

    + tag: "v2", ...
    + version: what the engine and the image's label say
    + env: settings, as in ["STANDIN_FAIL=crash"]; lab/standin/ lists them
    """
    said = [] if version is None else [f"STANDIN_VERSION={version}"]
    labels = {} if version is None else {registry.VERSION_LABEL: version}
    return registry.derive(tag, source=TAG, env=[*said, *env], labels=labels, repository=REPOSITORY)


def config(made: Sequence[Layer]) -> registry.Json:
    """The image's configuration on these layers."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-05-01T00:00:00Z",
        "config": {
            "Entrypoint": ["vllm", "serve"],
            "Env": list(ENVIRONMENT),
            "WorkingDir": "/vllm-workspace",
            "Labels": {registry.VERSION_LABEL: program_settings.VERSION},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in made]},
        "history": [{"created_by": f"barewind lab: {part.name}"} for part in _parts()],
    }


def requirements(lock: str) -> str:
    """Of a lock as `uv pip compile` writes it, the hub's client with all that it needs."""
    entries = re.findall(r"^([\w.-]+)(?:\[.*?\])?==.*(?:\n    .*)*", lock, re.MULTILINE)
    texts = re.findall(r"^[\w.-]+(?:\[.*?\])?==.*(?:\n    .*)*", lock, re.MULTILINE)
    needed_by = {
        name: set(re.findall(r"^    #(?: via)? +([\w.-]+)$", text, re.MULTILINE))
        for name, text in zip(entries, texts, strict=True)
    }
    wanted = {CLIENT}
    while more := {name for name, users in needed_by.items() if users & wanted} - wanted - set(LEFT_OUT):
        wanted |= more
    return "".join(f"{text}\n" for name, text in zip(entries, texts, strict=True) if name in wanted)


def program_files() -> dict[str, bytes]:
    """Path in the image -> content, of the program's layer."""
    sources = [HERE / "__init__.py", *sorted((HERE / "standin").glob("*.py"))]
    found = {f"{HOME}/lab/{path.relative_to(HERE)}": path.read_bytes() for path in sources}
    found[f"{HOME}/lab/standin/{arguments.IN_IMAGE.name}"] = json.dumps(arguments.schema()).encode()
    return found | {"usr/local/bin/vllm": VLLM.encode(), "usr/local/bin/hf": HF.encode()}


def _parts() -> list[Part]:
    lock = requirements(LOCK.read_text())
    files = program_files()
    contents = [part for name, content in files.items() for part in (name, content.decode())]
    base = base_image.key()
    return [
        Part("base", _hashed(BASE, base), lambda: layers.push(_in_host(BASE), REPOSITORY, level=6)),
        Part("hub client", _hashed(lock, COMPILED, base), lambda: _push_client(lock)),
        Part("engine", _hashed(COMPILED, base, *contents), lambda: _push_program(files)),
    ]


def _push_client(lock: str) -> Layer:
    def fill(root: Path) -> None:
        listed = root / "requirements.txt"
        listed.write_text(lock)
        layers.install(listed, root / SITE)
        listed.unlink()
        shutil.rmtree(root / SITE / "bin", ignore_errors=True)

    return _push_folder(fill)


def _push_program(files: dict[str, bytes]) -> Layer:
    def fill(root: Path) -> None:
        (root / "vllm-workspace").mkdir()
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if path.parent.name == "bin" else 0o644)

    return _push_folder(fill)


def _push_folder(fill: Callable[[Path], None]) -> Layer:
    root = layers.partial("standin")
    try:
        fill(root)
        return layers.push(_in_host(COMPILED, "--volume", f"{root}:/work"), REPOSITORY, level=6)
    finally:
        shutil.rmtree(root)


def _in_host(script: str, *options: str) -> list[str]:
    """Command that runs a script in a container with the hosts' own files."""
    fixed = ["--rm", "--label", docker.LABEL, "--network", "none", "--security-opt", "seccomp=unconfined"]
    return ["docker", "run", *fixed, *options, base_image.host_tag(), "sh", "-c", script]


def _file() -> Path:
    return paths.cache() / "standin.json"


def _record() -> registry.Json:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
