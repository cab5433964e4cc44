"""Hosts as a person names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barewind.discover.targets import Target, configured, named, unique
from barewind.errors import BarewindError


@pytest.mark.parametrize(
    ("word", "name", "ssh"),
    [
        ("gpu1", "gpu1", {}),
        ("gpu1.example.com", "gpu1.example.com", {}),
        ("ann@gpu1", "gpu1", {"ssh_user": "ann"}),
        ("10.0.0.5:2222", "10.0.0.5", {"ssh_port": 2222}),
        ("ann@10.0.0.5:2222", "10.0.0.5", {"ssh_user": "ann", "ssh_port": 2222}),
        ("fd00::5", "fd00::5", {}),
        ("ann@[fd00::5]:2222", "fd00::5", {"ssh_user": "ann", "ssh_port": 2222}),
        ("[fd00::5]", "fd00::5", {}),
    ],
)
def test_a_word_names_host_user_and_port(word: str, name: str, ssh: dict[str, Any]) -> None:
    assert named([word]) == [Target(name, ssh)]


@pytest.mark.parametrize(
    "word", ["", "a b", "@gpu1", "ann@", "gpu1:0", "gpu1:70000", "gpu1:ssh", "a;b", "-oProxyCommand=x", "größe"]
)
def test_what_is_no_host_is_refused(word: str) -> None:
    with pytest.raises(BarewindError, match=r"write|rename"):
        named([word])


CONFIG = """
Host gpu-* !gpu-old
    User ops
Host gpu-1
    HostName 10.0.0.1
Host gpu-2 gpu-two
    HostName 10.0.0.2
Host web
    HostName 10.0.0.9
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config"
    file.write_text(CONFIG)
    return file


def test_hosts_of_the_ssh_configuration_that_fit_are_named_and_patterns_are_none(config: Path) -> None:
    assert [target.name for target in configured(config, ["gpu-?", "web"])] == ["gpu-1", "gpu-2", "web"]


def test_a_pattern_that_fits_nothing_is_told_with_what_there_is(config: Path) -> None:
    with pytest.raises(BarewindError, match=r"no Host fits 'node\*'; there are: gpu-1, gpu-2, gpu-two, web\."):
        configured(config, ["node*"])


def test_a_configuration_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BarewindError, match="No such file or directory; name the hosts instead"):
        configured(tmp_path / "config", ["*"])


def test_a_host_named_twice_is_one_and_in_two_places_is_refused() -> None:
    assert unique(named(["gpu1", "gpu2", "gpu1"])) == named(["gpu1", "gpu2"])
    with pytest.raises(BarewindError, match="gpu1: named twice"):
        unique(named(["gpu1", "ann@gpu1"]))
