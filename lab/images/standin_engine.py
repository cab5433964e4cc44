"""The images of the stand-in engine (lab/standin/), one for each engine: built, and pushed to the lab's registry.

They are the same three layers, each pushed again only when what it is made of changes: Python with the few programs and
libraries that it needs, out of the hosts' Debian; the Python packages that the program imports and the hub's client (a deploy
downloads weights inside the engine's image), as the engine's lock has them; the program. As upstream's they have the group
`video` and the CUDA version in their environment. vLLM's has the entry point `vllm serve` and the engine's version as a label,
SGLang's no entry point, the command `python3 -m sglang.launch_server`, and the version in its environment. Left out of the
hub's client: hf-xet, as the lab's hub does not speak its protocol.

Tests make further tags with `variant`.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lab import paths, state, topology
from lab.images import base_image, layers
from lab.images.layers import SITE, Layer
from lab.images.vllm_image import LOCK
from lab.machine import docker
from lab.progress import Steps
from lab.services import registry
from lab.standin import options, sglang, vllm

RECIPE = 1  # to be raised when something changes that is in no layer's key
PACKAGES = ("h11", "prometheus-client", "huggingface-hub")  # with all that they need
LEFT_OUT = ("hf-xet",)
HOME = "usr/local/lib/stand-in"
LAB = Path(__file__).parents[1]
ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
    "CUDA_VERSION=13.0.1",
)


class Image(NamedTuple):
    """An image that stands for an engine's. `entrypoint`, `directory` and where the version stands are upstream's."""

    name: str
    version: str
    directory: str
    entrypoint: tuple[str, ...] = ()
    version_variable: str | None = None  # of its environment; None: the version is a label

    @property
    def repository(self) -> str:
        """Its repository in the lab's registry."""
        return self.name.removeprefix(f"{topology.REGISTRY}/").rpartition(":")[0]

    @property
    def tag(self) -> str:
        """Its tag."""
        return self.name.rpartition(":")[2]

    def labels(self, version: str) -> dict[str, str]:
        """Labels that say the engine's version."""
        return {} if self.version_variable else {registry.VERSION_LABEL: version}

    def variables(self, version: str) -> list[str]:
        """Environment that says the engine's version."""
        return [f"{self.version_variable}={version}"] if self.version_variable else []


VLLM = Image(topology.STANDIN_IMAGE, vllm.DIALECT.version, "/vllm-workspace", entrypoint=("vllm", "serve"))
SGLANG = Image(
    topology.STANDIN_SGLANG_IMAGE,
    sglang.DIALECT.version,
    "/sgl-workspace/sglang",
    version_variable="SGLANG_VERSION",
)
IMAGES = (VLLM, SGLANG)
REPOSITORY, TAG = VLLM.repository, VLLM.tag

# Lists the files first, links and what they point at; /lib is a link on Debian 12, and every file is packed once.
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

# Bytecode is compiled by the Python that will run it, and not compared with its source again.
COMPILED = """
set -eu
python3 -m compileall -q --invalidation-mode unchecked-hash -s /work -p / /work
exec tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1777593600 --directory /work .
"""

STARTER = f"""\
#!/usr/bin/python3
import sys
sys.path.insert(0, "/{HOME}")
from lab.standin.__main__ import main
sys.exit(main("%s", sys.argv[1:]))
"""

HF = """\
#!/usr/bin/python3
import sys
from huggingface_hub.cli.hf import main
sys.exit(main())
"""


class Part(NamedTuple):
    """A layer that is to be pushed. `key`: digest of all that it is made of."""

    name: str
    key: str
    push: Callable[[], Layer]


def ensure(steps: Steps) -> None:
    """Push the images unless the registry has them."""
    if not present():
        with steps.step("stand-in engine image"):
            build_and_push()


def present() -> bool:
    """Whether the registry holds images of this key, with all their layers."""
    record = _record()
    digests = record.get("digests", {})
    if record.get("key") != key():
        return False
    return all(
        image.name in digests
        and registry.digest_of(image.tag, image.repository) == digests[image.name]
        and registry.complete(image.tag, image.repository)
        for image in IMAGES
    )


def key() -> str:
    """Digest of all that the images are made of."""
    return _hashed(str(RECIPE), repr(ENVIRONMENT), repr(IMAGES), *(part.key for part in _parts()))


def layer_digests() -> list[str]:
    """Digests of the layers that the images in the registry are made of, the lowest first."""
    return [layer["digest"] for layer in _record().get("layers", {}).values()]


def build_and_push() -> None:
    """Push the layers that are missing, then the images."""
    kept = _record().get("layers", {})
    pushed: dict[str, Layer] = {}
    for part in _parts():
        before = kept.get(part.name)
        if before and before["key"] == part.key and registry.has_blob(before["digest"], REPOSITORY):
            pushed[part.name] = Layer(before["digest"], before["size"], before["diff_id"])
        else:
            pushed[part.name] = part.push()
    stack = list(pushed.values())
    digests = {image.name: _push(image, stack) for image in IMAGES}
    registry.collect_garbage()
    recorded = {part.name: {"key": part.key, **pushed[part.name]._asdict()} for part in _parts()}
    state.write_text(_file(), json.dumps({"key": key(), "digests": digests, "layers": recorded}))


def variant(tag: str, *, version: str | None = None, env: Sequence[str] = (), image: Image = VLLM) -> str:
    """Push an image, which the registry must have, under another tag; returns its new digest.

    + tag: "v2", ...
    + version: of the engine, also where the image says it
    + env: settings, such as ["STANDIN_FAIL=crash"]; lab/standin/__init__.py lists them
    + image: which one
    """
    settings = [] if version is None else [f"STANDIN_VERSION={version}", *image.variables(version)]
    labels = {} if version is None else image.labels(version)
    repository = image.repository
    return registry.derive(tag, source=image.tag, env=[*settings, *env], labels=labels, repository=repository)


def config(stack: Sequence[Layer], image: Image = VLLM) -> registry.Json:
    """Configuration of an image of these layers."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-05-01T00:00:00Z",
        "config": {
            "Entrypoint": list(image.entrypoint) or None,
            "Env": [*ENVIRONMENT, *image.variables(image.version)],
            "WorkingDir": image.directory,
            "Labels": image.labels(image.version),
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in stack]},
        "history": [{"created_by": f"barewind lab: {part.name}"} for part in _parts()],
    }


def _push(image: Image, stack: Sequence[Layer]) -> str:
    """Push an image of layers that vLLM's repository holds; returns its digest."""
    if image.repository != REPOSITORY:
        for layer in stack:
            registry.mount_blob(layer.digest, REPOSITORY, image.repository)
    entries = [layer.entry for layer in stack]
    return registry.push_manifest(config(stack, image), entries, image.tag, image.repository)


def requirements(lock: str) -> str:
    """The image's packages with all that they need, out of a lock that `uv pip compile` wrote."""
    names = re.findall(r"^([\w.-]+)(?:\[.*?\])?==.*(?:\n    .*)*", lock, re.MULTILINE)
    entries = re.findall(r"^[\w.-]+(?:\[.*?\])?==.*(?:\n    .*)*", lock, re.MULTILINE)
    needed_by = {
        name: set(re.findall(r"^    #(?: via)? +([\w.-]+)$", text, re.MULTILINE))
        for name, text in zip(names, entries, strict=True)
    }
    wanted = set(PACKAGES)
    while more := {name for name, users in needed_by.items() if users & wanted} - wanted - set(LEFT_OUT):
        wanted |= more
    return "".join(f"{text}\n" for name, text in zip(names, entries, strict=True) if name in wanted)


def program_files() -> dict[str, bytes]:
    """Files of the program's layer: path in the image -> content."""
    sources = [LAB / "__init__.py", *sorted((LAB / "standin").rglob("*.py"))]
    files = {f"{HOME}/lab/{path.relative_to(LAB)}": path.read_bytes() for path in sources}
    for dialect in (vllm.DIALECT, sglang.DIALECT):
        recorded = json.dumps(options.recorded(dialect.options)).encode()
        files[f"{HOME}/lab/standin/{options.in_image(dialect.options).name}"] = recorded
    return files | {
        "usr/local/bin/vllm": (STARTER % "vllm").encode(),
        f"{SITE}/sglang/__init__.py": b"",
        f"{SITE}/sglang/launch_server.py": (STARTER % "sglang").encode(),
        "usr/local/bin/hf": HF.encode(),
    }


def _parts() -> list[Part]:
    lock = requirements(LOCK.read_text())
    files = program_files()
    contents = [part for name, content in files.items() for part in (name, content.decode())]
    base = base_image.key()
    return [
        Part("base", _hashed(BASE, base), lambda: layers.push(_in_host(BASE), REPOSITORY, level=6)),
        Part("packages", _hashed(lock, COMPILED, base), lambda: _push_packages(lock)),
        Part("engine", _hashed(COMPILED, base, *contents), lambda: _push_program(files)),
    ]


def _push_packages(lock: str) -> Layer:
    def fill(root: Path) -> None:
        requirements_file = root / "requirements.txt"
        requirements_file.write_text(lock)
        layers.install(requirements_file, root / SITE)
        requirements_file.unlink()
        shutil.rmtree(root / SITE / "bin", ignore_errors=True)

    return _push_folder(fill)


def _push_program(files: dict[str, bytes]) -> Layer:
    def fill(root: Path) -> None:
        for image in IMAGES:
            (root / image.directory.lstrip("/")).mkdir(parents=True)
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
    """Command that runs a script in a container of the hosts' image."""
    fixed = ["--rm", "--label", docker.LABEL, "--network", "none", "--security-opt", "seccomp=unconfined"]
    return ["docker", "run", *fixed, *options, base_image.host_tag(), "sh", "-c", script]


def _file() -> Path:
    return paths.cache() / "standin.json"


def _record() -> registry.Json:
    try:
        record = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
