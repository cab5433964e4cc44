"""Images of real engines: locked Python packages on the hosts' Debian, pushed to the lab's registry when a lab first needs them.

What is true of one engine alone stands in lab/images/vllm_image.py and lab/images/sglang_image.py.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab import paths, state, topology
from lab.images import base_image, layers
from lab.images.layers import SITE
from lab.machine import docker
from lab.progress import Steps
from lab.services import registry

WORKING_DIRECTORY = "vllm-workspace"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_TORCH_WHEELS = "torch-2.13.0+cpu-*.whl"

ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
    "OMP_NUM_THREADS=1",
    "OMP_WAIT_POLICY=PASSIVE",
    "DO_NOT_TRACK=1",
)

# Files that are not read at run time: small but many, and every host would unpack them.
NEVER_READ = ("**/tests/**/*", "**/*.pyi", "**/*.h", "**/*.hpp", "**/*.dist-info/licenses/**/*", "**/locales/**/*.mo")

# Files of the base that a container with a single Python program does not need.
NOT_IN_ENGINE = (
    "var/lib/dpkg",
    "var/lib/apt",
    "var/cache",
    "usr/lib/systemd",
    "usr/share/perl",
    "usr/share/zoneinfo",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/share/bash-completion",
)

_HF = """\
#!/usr/bin/python3
import sys
from huggingface_hub.cli.hf import main
sys.exit(main())
"""


@dataclass(frozen=True)
class EngineImage:
    """An engine's image.

    + name: of its record and its folder in the cache
    + reference: where it is pushed, with its tag
    + requirements: locked packages, as text
    + version: of the engine, for the image's label
    + entrypoint: empty where upstream's image has none
    + environment: beside what all engines have
    + left_out: files and folders of the packages that the engine never imports
    + kept_only: folder -> the names that stay in it
    + adapt: changes packages (first argument) and the image's root (second) into what runs on a processor
    + warm: Python program that imports what a server imports, for the sake of the bytecode
    + warm_mounts: folders of the root that it writes to beside the packages
    + debian: Debian packages beside those of the hosts' image
    + debian_left_out: files and folders of these that are not needed
    + never_read: files of the Python packages that are not read at run time, as patterns
    + made_of: what else an image of this name differs by
    """

    name: str
    reference: str
    requirements: Callable[[], str]
    version: str
    entrypoint: tuple[str, ...]
    environment: tuple[str, ...]
    left_out: Callable[[], tuple[str, ...]]
    adapt: Callable[[Path, Path], None]
    warm: str
    kept_only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warm_mounts: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()
    debian_left_out: tuple[str, ...] = ()
    never_read: tuple[str, ...] = NEVER_READ
    made_of: Callable[[], tuple[str, ...]] = tuple

    @property
    def repository(self) -> str:
        """Its repository in the lab's registry."""
        return self.reference.removeprefix(f"{topology.REGISTRY}/").rpartition(":")[0]

    @property
    def tag(self) -> str:
        """Its tag."""
        return self.reference.rpartition(":")[2]

    def key(self) -> str:
        """Digest of all that the image is made of."""
        parts = (self.requirements(), self.warm, repr(self._environment), base_image.key(), *self.made_of())
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def recorded(self) -> str | None:
        """Digest under which an image of this key was pushed; None when it has to be built."""
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return None
        return str(record["digest"]) if record.get("key") == self.key() else None

    def present(self) -> bool:
        """Whether the registry holds an image of this key, with all its layers."""
        digest = self.recorded()
        if digest is None or registry.digest_of(self.tag, self.repository) != digest:
            return False
        return registry.complete(self.tag, self.repository)

    def install_packages(self) -> Path:
        """Install the locked packages into the cache; returns their folder. Needs no Docker."""
        done = paths.cache() / f"{self.name}-{self.key()}"
        if done.exists():
            return done
        for old in paths.cache().glob(f"{self.name}-*"):
            shutil.rmtree(old, ignore_errors=True)
        root = layers.partial(self.name)
        requirements = root / "requirements.txt"
        requirements.write_text(self.requirements())
        layers.install(requirements, root / SITE, *_torch_source())
        requirements.unlink()
        self._trim(root / SITE)
        add_command(root, "hf", _HF)
        (root / WORKING_DIRECTORY).mkdir()
        self.adapt(root / SITE, root)
        root.rename(done)
        return done

    def build_and_push(self, steps: Steps) -> None:
        """Import the packages once for their bytecode, and push the image to the lab's registry."""
        root = self.install_packages()
        with steps.step(f"{self.name} image: first imports"):
            self._warm_up(root)
        with steps.step(f"{self.name} image: push"):
            pushed = [layers.push(tar, self.repository) for tar in (self._base_files(), layers.folder(root))]
            config = {
                "architecture": "amd64",
                "os": "linux",
                "created": "2026-05-01T00:00:00Z",
                "config": {
                    "Entrypoint": list(self.entrypoint),
                    "Env": list(self._environment),
                    "WorkingDir": f"/{WORKING_DIRECTORY}",
                    "Labels": {registry.VERSION_LABEL: self.version},
                },
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in pushed]},
                "history": [{"created_by": "barewind lab: base"}, {"created_by": f"barewind lab: {self.name}"}],
            }
            digest = registry.push_manifest(config, [layer.entry for layer in pushed], self.tag, self.repository)
        registry.collect_garbage()
        state.write_text(self._record, json.dumps({"key": self.key(), "digest": digest}))
        shutil.rmtree(root, ignore_errors=True)

    @property
    def _environment(self) -> tuple[str, ...]:
        return (*ENVIRONMENT, *self.environment)

    @property
    def _record(self) -> Path:
        return paths.cache() / f"{self.name}.json"

    def _trim(self, site: Path) -> None:
        for name in self.left_out():
            _remove(site / name)
        for pattern in self.never_read:
            for path in site.glob(pattern):
                if path.is_file():
                    path.unlink()
        for folder, kept in self.kept_only.items():
            for path in (site / folder).iterdir():
                if path.name not in kept:
                    _remove(path)

    def _warm_up(self, root: Path) -> None:
        name = f"barewind-lab-build-{os.getpid()}"
        docker.remove_container(name)
        options = ["--rm", "--name", name, "--label", docker.LABEL, "--network", "none"]
        options += ["--security-opt", "seccomp=unconfined"]
        mounts = [f"--volume={root / folder}:/{folder}" for folder in (SITE, *self.warm_mounts)]
        environment = [part for pair in self._environment if "BYTECODE" not in pair for part in ("--env", pair)]
        program = ["python3", "-c", self.warm]
        docker.docker(
            "run", *options, *mounts, *environment, base_image.with_packages(self.debian), *program, timeout=600
        )

    def _base_files(self) -> list[str]:
        """Command that writes the base image's files as a tar archive."""
        excludes = [f"--exclude=./{name}" for name in (*NOT_IN_ENGINE, *self.debian_left_out)]
        options = ["--rm", "--label", docker.LABEL, "--network", "none", "--security-opt", "seccomp=unconfined"]
        tar = ["tar", "--create", "--one-file-system", "--directory", "/", *excludes, "."]
        return ["docker", "run", *options, base_image.with_packages(self.debian), *tar]


def add_command(root: Path, name: str, script: str) -> None:
    """Add a program to an image's root."""
    path = root / "usr/local/bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _torch_source() -> list[str]:
    """Options of `uv pip` for torch's CPU build: a folder that the environment names and that has it, else PyTorch's index."""
    for variable in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        for folder in os.environ.get(variable, "").replace(",", " ").split():
            if list(Path(folder).glob(_TORCH_WHEELS)):
                return ["--find-links", folder]
    return ["--extra-index-url", TORCH_INDEX, "--index-strategy", "unsafe-best-match"]
