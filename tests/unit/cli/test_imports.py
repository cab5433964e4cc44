"""Commands as processes of their own: what they import before gevent, pyinfra's, changes the standard library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_fleet import Clone, balancer, engine, responses

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_nothing_has_used_ssl_before_gevent_changes_it() -> None:
    """gevent warns of it, and TLS may fail then."""
    done = python("-c", "from barewind.cli.main import main; main()", "plan", "inventory/prod.py")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "module", ["barewind.spec.keys", "barewind.site.inventory", "barewind.plan.engine", "barewind.lock.file"]
)
def test_what_every_run_imports_needs_no_http_library(module: str) -> None:
    """It is slow to import."""
    done = python("-c", f"import sys, {module}; print({{'requests', 'urllib3', 'httpx', 'ssl'}} & sys.modules.keys())")
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")


def test_a_run_that_fetches_nothing_needs_neither_the_http_library_nor_bars() -> None:
    steps = ", ".join(f"barewind.tasks.steps.{file.stem}" for file in (ROOT / "tasks" / "steps").glob("[a-z]*.py"))
    done = python(
        "-c", f"import pyinfra_cli.main, sys, {steps}; print({{'requests', 'rich.progress'}} & sys.modules.keys())"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")


def test_a_run_whose_hosts_have_their_images_asks_no_registry(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    clone.inventory(engines=[engine(1, responses(image=["present"]))], balancers=[balancer()])
    command = (
        "import sys; from pyinfra_cli.main import main\n"
        "try: main()\n"
        "finally: print({'requests', 'rich.progress'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, "site.py", "deploy.py", "--dry"],
        cwd=clone.path,
        env=clone.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "set()"), done.stderr
