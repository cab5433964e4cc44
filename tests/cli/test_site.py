"""A site of a user's own: Barewind from its wheel, in an environment of its own, runs there as it does in a checkout."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from barewind.lock import file as lock
from tests.support.factories import engine_spec, locked
from tests.support.fake_fleet import Clone, quick_hosts
from tests.support.fake_runs import GPUS, up, upgrading
from tests.support.wheel import build, checked, command, install


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, tmp_path_factory.mktemp("environment"))


@pytest.fixture
def site(programs: Path, tmp_path: Path) -> Path:
    checked(str(programs / "barewind"), "init", "site", cwd=tmp_path)
    return tmp_path / "site"


def test_all_of_the_wheel_is_in_one_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"barewind"}
    assert not [name for name in names if "lab" in name.split("/") or "tests" in name.split("/")]


def test_a_new_site_says_what_to_do_first_and_can_be_planned_when_it_has_hosts(programs: Path, site: Path) -> None:
    barewind = str(programs / "barewind")
    empty = command(barewind, "plan", "inventory/prod.py", cwd=site)
    assert empty.returncode == 1
    assert "no host in it" in empty.stderr
    (site / "inventory/prod.py").write_text('h200 = ["10.0.0.1"]\nbalancers = ["10.0.0.9"]\n')
    (site / "group_data/h200.py").write_text('accelerator = "h200"\naccelerator_count = 8\n')
    planned = command(barewind, "plan", "inventory/prod.py", cwd=site)
    assert (planned.returncode, "10.0.0.1: 8 x h200" in planned.stdout) == (0, True), planned.stderr


def test_a_fleet_is_verified_from_there_and_what_is_not_right_is_told_once(programs: Path, site: Path) -> None:
    (site / "inventory/prod.py").write_text('h200 = [("gpu1", {"ssh_hostname": "127.0.0.1", "ssh_port": 9})]\n')
    (site / "known_hosts").touch()
    (site / "group_data/h200.py").write_text('accelerator = "h200"\naccelerator_count = 8\n')
    (site / "group_data/all.py").write_text('ssh_known_hosts_file = "known_hosts"\n')
    verify = (str(programs / "barewind"), "verify", "inventory/prod.py")
    unlocked = command(*verify, cwd=site)
    assert (unlocked.returncode, unlocked.stdout.strip()) == (1, "")
    assert re.fullmatch(
        r"ERROR: barewind\.lock\.yaml: does not hold .* run: barewind lock INVENTORY\s*", unlocked.stderr
    )

    lock.write(locked(engine_spec()), site / "barewind.lock.yaml")
    for environment in ({}, {"CI": "true"}):
        closed = command(*verify, cwd=site, env=environment)
        assert closed.returncode == 1
        assert closed.stdout.count("gpu1: cannot be connected to ([Errno 111] Connection refused). Next: ") == 1
        assert re.search(r"^1 failed, \d+ skipped", closed.stdout.splitlines()[-1])


def test_a_rollout_does_there_what_it_does_in_a_checkout(programs: Path, site: Path, tmp_path: Path) -> None:
    hosts = {"engines": [upgrading(number) for number in (1, 2)], "balancers": [up(*GPUS[:2])]}
    (tmp_path / "checkout").mkdir()
    clone = Clone(tmp_path / "checkout")
    clone.inventory(**hosts)
    (site / "inventory/prod.py").write_text((clone.path / "site.py").read_text())
    (site / "group_data/all.py").unlink()
    lock.write(locked(engine_spec()), site / "barewind.lock.yaml")

    there = command(
        str(programs / "pyinfra"), "inventory/prod.py", "deploy.py", "-y", "-v", cwd=site, env=quick_hosts()
    )
    here = clone.pyinfra("site.py", "deploy.py", "-y")
    assert (there.returncode, here.returncode) == (0, 0), there.stderr
    assert steps(there.stderr) == steps(here.stderr)
    assert len(steps(there.stderr)) > 20

    drained = command(
        str(programs / "pyinfra"),
        "inventory/prod.py",
        "tasks/drain.py",
        "-y",
        "--limit",
        GPUS[0],
        cwd=site,
        env=quick_hosts(),
    )
    assert drained.returncode == 0, drained.stderr


def steps(output: str) -> list[str]:
    return re.findall(r"Starting operation: (.*)", output)


def test_a_configuration_without_barewind_is_refused_before_anything(programs: Path, site: Path) -> None:
    (site / "inventory/prod.py").write_text(f"engines = {[upgrading(1)]!r}\nbalancers = {[up(GPUS[0])]!r}\n")
    (site / "group_data/all.py").unlink()
    lock.write(locked(engine_spec()), site / "barewind.lock.yaml")
    (site / "config.py").write_text("from pyinfra import config\n\nconfig.FAIL_PERCENT = 50\n")
    done = command(str(programs / "pyinfra"), "inventory/prod.py", "deploy.py", "-y", cwd=site, env=quick_hosts())
    assert done.returncode == 1
    assert "config.py" in done.stderr
    assert "barewind init" in done.stderr
    assert "Starting operation" not in done.stderr


def test_a_site_that_is_there_gets_what_it_lacks_and_keeps_what_it_has(programs: Path, site: Path) -> None:
    (site / "tasks/traffic.py").unlink()
    (site / "README.md").write_text("mine\n")
    told = checked(str(programs / "barewind"), "init", ".", cwd=site)
    assert (site / "tasks/traffic.py").exists()
    assert (site / "README.md").read_text() == "mine\n"
    assert "kept README.md: other than a new site's" in told


def test_a_folder_with_other_things_is_left_alone(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    done = command(str(programs / "barewind"), "init", ".", cwd=tmp_path)
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (1, ["thesis.tex"])
    assert "has thesis.tex in it and is no site; nothing was written" in done.stderr
