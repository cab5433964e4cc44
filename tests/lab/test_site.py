"""A site of a user's own, with Barewind from its wheel: it goes on with a fleet that a checkout has deployed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.commands import ROOT
from tests.support.lab import STANDIN, started
from tests.support.wheel import build, checked, command, install

PRINT_GROUPS = """import json, runpy, sys
groups = runpy.run_path(sys.argv[1])
print(json.dumps({name: groups[name] for name in ("engines", "balancers")}))
"""


def test_a_deploy_from_the_wheel_changes_nothing_on_what_a_checkout_has_deployed(fleet: None, tmp_path: Path) -> None:
    programs = install(build(tmp_path), tmp_path)
    checked(str(programs / "barewind"), "init", "site", cwd=tmp_path)
    site = tmp_path / "site"
    groups = json.loads(checked(str(ROOT / ".venv/bin/python"), "-c", PRINT_GROUPS, STANDIN.inventory, cwd=ROOT))
    text = "".join(f"{name} = {list(map(tuple, hosts))!r}\n" for name, hosts in groups.items())
    (site / "inventory/prod.py").write_text(text)
    before = [started("engine1"), started("engine2")]

    deploy = command(str(programs / "pyinfra"), "inventory/prod.py", "deploy.py", "-y", cwd=site)
    assert deploy.returncode == 0, deploy.stderr
    assert "changed" not in deploy.stderr.split("Results:")[1]
    assert [started("engine1"), started("engine2")] == before
    status = command(str(programs / "barewind"), "status", "inventory/prod.py", cwd=site)
    assert (status.returncode, "Every host serves the planned release" in status.stdout) == (0, True), status.stdout

    verified = command(str(programs / "barewind"), "verify", "inventory/prod.py", cwd=site)
    assert verified.returncode == 0, verified.stdout
    assert re.search(r"^\d{2,} passed", verified.stdout.splitlines()[-1])
