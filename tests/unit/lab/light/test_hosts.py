"""Light hosts: how many fit, what they start with, and the package that is Docker to them."""

from __future__ import annotations

import re

import pytest

from barewind.docker.plan import docker_plan
from lab.errors import LabError
from lab.hosts import light_host
from lab.packages import light
from tests.support.factories import lab_spec


def test_more_than_the_memory_carries_is_refused_with_what_it_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light_host, "available_mib", lambda: 2048 + 10 * light_host.MIB)
    light_host.check(10, 0)
    light_host.check(15, 5)
    light_host.check(5, 20)  # fewer than there are
    with pytest.raises(LabError, match=r"1000 light hosts need \d+ GiB of memory.*`--light 10` at most"):
        light_host.check(1000, 0)


def test_another_program_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = light.package()
    assert re.fullmatch(r"20\.10\.24\+dfsg1-1\+lab[0-9a-f]{8}", before.version)
    assert before.version in light_host.files("key")["/etc/apt/preferences.d/lab"][0]
    assert before == light.package()
    monkeypatch.setattr(light, "_UNIT", light._UNIT + "\n")
    assert light.package().version != before.version


def test_what_a_deploy_installs_is_there_or_in_the_package() -> None:
    """Their apt knows the lab's repository only."""
    here = {*light_host.PACKAGES, light.package().name, "ca-certificates"}  # the last is every host's
    assert {package.name for package in docker_plan(lab_spec(), "debian 12").packages} <= here


def test_programs_need_nothing_but_pythons_library() -> None:
    names = {path.rpartition("/")[2] for path in light.package().files if "/lab/light/" in path}
    assert "command.py" in names
    for file in light.package().files.values():
        foreign = re.findall(r"^\s*(?:from|import) (?!lab\.light)(lab\S*|barewind\S*)", file.content, re.MULTILINE)
        assert foreign == []
