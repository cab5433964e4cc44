"""Names of groups that almost say what a host is; groups that contradict each other; group data that reaches nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barewind.errors import BarewindError
from barewind.site import inventory
from barewind.site.files import told
from barewind.site.groups import meant_role
from barewind.site.notes import notes
from barewind.site.read import read_site
from barewind.spec.site import Site

ENGINE = 'engines = [("h1", {"ssh_hostname": "192.0.2.1"})]\n'
ALL = "accelerator = 'h100'\naccelerator_count = 8\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "group_data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyinfra_cli.util.PYTHON_CODES", {})  # it remembers files by their relative name
    return tmp_path


def site(folder: Path, text: str, **group_data: str) -> Site:
    (folder / "site.py").write_text(text)
    for group, content in group_data.items():
        (folder / "group_data" / f"{group}.py").write_text(content)
    return read_site(inventory.load("site.py"))


def refused(folder: Path, text: str, **group_data: str) -> list[str]:
    with pytest.raises(BarewindError) as caught:
        site(folder, text, **group_data)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("group", "role"),
    [
        ("balancer", "balancers"),
        ("Balancers", "balancers"),
        ("ballancers", "balancers"),
        ("balancers_eu", "balancers"),
        ("load_balancers", "balancers"),
        ("loadbalancer", "balancers"),
        ("lb", "balancers"),
        ("haproxy", "balancers"),
        ("mirror", "mirrors"),
        ("mirors", "mirrors"),
        ("mirrors2", "mirrors"),
        ("registry", "mirrors"),
    ],
)
def test_a_group_that_almost_says_what_its_hosts_are(folder: Path, group: str, role: str) -> None:
    (line,) = refused(folder, f'{ENGINE}{group} = [("lb1", {{"ssh_hostname": "192.0.2.2"}})]\n', all=ALL)
    assert line.startswith(f"group '{group}': did you mean '{role}'?")
    assert line.endswith("(on lb1)")


@pytest.mark.parametrize(
    "group", ["engines", "hopper", "mi300x", "prod", "gpus", "blue", "green", "canary", "eu_west", "rack12"]
)
def test_other_groups_hold_engine_hosts(folder: Path, group: str) -> None:
    assert list(site(folder, f'{group} = [("h1", {{"ssh_hostname": "192.0.2.1"}})]\n', all=ALL).engines) == ["h1"]


def test_a_group_within_balancers_may_be_called_so(folder: Path) -> None:
    text = f'{ENGINE}_lb = [("lb1", {{"ssh_hostname": "192.0.2.2"}})]\nbalancers = _lb\nbalancers_eu = _lb\n'
    assert list(site(folder, text, all=ALL).balancers) == ["lb1"]


def test_the_name_of_the_file_makes_no_balancers(folder: Path) -> None:
    (folder / "balancers.py").write_text(ENGINE)
    with pytest.raises(
        BarewindError, match=r"^balancers.py: every host is in group 'balancers' by the name of the file"
    ):
        inventory.load("balancers.py")


@given(name=st.from_regex(r"[A-Za-z_]{1,16}", fullmatch=True))
def test_a_role_itself_is_never_taken_for_another(name: str) -> None:
    assert meant_role(name) in (None, "balancers", "mirrors")
    assert meant_role("balancers") is None
    assert meant_role("mirrors") is None


@given(
    place=st.integers(0, 8),
    letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz_"),
    role=st.sampled_from(["balancers", "mirrors"]),
)
def test_a_letter_too_many_is_seen(place: int, letter: str, role: str) -> None:
    assert meant_role(role[:place] + letter + role[place:]) == role


TWO_GROUPS = 'a = [("h1", {"ssh_hostname": "192.0.2.1"})]\nb = ["h1"]\n'


def test_two_groups_that_name_two_accelerators_are_refused(folder: Path) -> None:
    (line,) = refused(folder, TWO_GROUPS, a=ALL, b="accelerator = 'h200'\n")
    assert line.startswith(
        "key 'accelerator': is 'h100' in group 'a' and 'h200' in group 'b'; take the host out of all but one"
    )
    assert line.endswith("(on h1)")


def test_a_hosts_own_word_is_stronger_than_its_groups(folder: Path) -> None:
    text = TWO_GROUPS.replace('"192.0.2.1"', '"192.0.2.1", "accelerator": "b200"')
    assert site(folder, text, a=ALL, b="accelerator = 'h200'\n").engines["h1"].accelerator == "b200"


def test_other_keys_that_groups_answer_differently_are_told(folder: Path) -> None:
    planned = site(folder, TWO_GROUPS, a=ALL + "channel = 'stable'\n", b="channel = 'nightly'\naccelerator = 'h100'\n")
    assert planned.engines["h1"].channel == "nightly"
    assert notes(planned) == [
        "key 'channel': is 'stable' in group 'a' and 'nightly' in group 'b'; 'nightly' holds, as 'b' comes last (on h1)"
    ]


def test_group_data_that_reaches_nobody_is_told(folder: Path) -> None:
    planned = site(
        folder, ENGINE + "balancers = []\n", all=ALL, engine="channel = 'stable'\n", balancers="queue_timeout = 5\n"
    )
    assert planned.engines["h1"].channel == "nightly"
    assert told("site.py", ["engines", "site"]) == [
        "group_data/engine.py (did you mean 'engines'?): no group of that name in this inventory, so the keys there reach no host"
    ]


def test_group_data_of_every_group_is_passed_over(folder: Path) -> None:
    site(folder, ENGINE, all=ALL, engines="channel = 'stable'\n", site="reboot_timeout = 60\n")
    assert told("site.py", ["engines"]) == []
