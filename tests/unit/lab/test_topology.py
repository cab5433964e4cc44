"""The lab's map."""

from pathlib import Path

import pytest

from lab import paths, state, topology


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def addresses() -> dict[str, str]:
    return {host.name: host.address for host in topology.current()}


def test_default_when_the_lab_is_down() -> None:
    assert addresses() == {"lb1": "172.30.77.10", "engine1": "172.30.77.21", "engine2": "172.30.77.22"}


def test_running_lab_is_what_was_recorded() -> None:
    state.save(state.Lab(engines=3, balancers=2))
    assert list(addresses()) == ["lb1", "lb2", "engine1", "engine2", "engine3"]
    assert addresses()["lb2"] == "172.30.77.11"
    assert addresses()["engine3"] == "172.30.77.23"


def test_record_of_no_use_counts_as_down() -> None:
    paths.state().mkdir(parents=True)
    (paths.state() / "lab.json").write_text('{"engines": 99, "balancers": 1}')
    assert len(addresses()) == 3
    (paths.state() / "lab.json").write_text('{"engi')
    assert len(addresses()) == 3
    assert state.load() is None


def test_record_of_an_earlier_version_still_counts() -> None:
    paths.state().mkdir(parents=True)
    (paths.state() / "lab.json").write_text('{"engines": 1, "balancers": 2, "http_port": 8081}')
    assert list(addresses()) == ["lb1", "lb2", "engine1"]
    assert state.load() == state.Lab(engines=1, balancers=2, http_port=8081)


def test_hosts_with_simulated_accelerators() -> None:
    state.save(state.Lab(engines=0, hopper=2, blackwell=1, mi300x=1))
    assert addresses() == {
        "lb1": "172.30.77.10",
        "hopper1": "172.30.77.31",
        "hopper2": "172.30.77.32",
        "blackwell1": "172.30.77.41",
        "mi300x1": "172.30.77.51",
    }
    assert topology.find("hopper2").kind == "hopper"
    assert topology.find("hopper2").role == "engine"
    loaded = state.load()
    assert loaded is not None
    assert [host.name for host in loaded.simulated] == ["hopper1", "hopper2", "blackwell1", "mi300x1"]


def test_the_system_of_hosts_without_simulated_accelerators() -> None:
    state.save(state.Lab(engines=1, hopper=1, mirrors=1, sglang=1, light=1, system="debian-13"))
    assert {host.name: host.system for host in topology.current()} == {
        "lb1": "debian-13",
        "engine1": "debian-13",
        "hopper1": "debian-12",
        "mirror1": "debian-13",
        "sglang1": "debian-13",
        "light1": "debian-12",
    }
    assert topology.SERVICES_HOST.system == "debian-12"
    with pytest.raises(ValueError, match="system must be one of debian-12, debian-13, not debian-11"):
        topology.layout(system="debian-11")


def test_light_hosts() -> None:
    state.save(state.Lab(engines=0, light=20))
    assert len(addresses()) == 21
    assert (addresses()["light1"], addresses()["light20"]) == ("172.30.77.100", "172.30.77.119")
    loaded = state.load()
    assert loaded is not None
    assert loaded.stands_in
    assert loaded.simulated == ()
    assert topology.find("light7").light
    most = topology.layout(engines=topology.MAX_ENGINES, light=topology.MAX_LIGHT)
    assert len({host.address for host in most}) == len(most)
    assert most[-1].address == "172.30.77.249"


@pytest.mark.parametrize(
    "sizes",
    [{"engines": 0}, {"engines": 6}, {"balancers": 0}, {"balancers": 3}, {"hopper": 5}, {"mi300x": -1}, {"light": 151}],
)
def test_sizes_out_of_range(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(sizes))} must be [01] to"):
        topology.layout(**sizes)


def test_find_names_what_there_is() -> None:
    assert topology.find("services").address == "172.30.77.2"
    with pytest.raises(KeyError, match="lb1, engine1, engine2"):
        topology.find("engine9")


def test_revisions_are_full_commit_ids() -> None:
    assert all(len(revision) == 40 and int(revision, 16) for revision in topology.REVISIONS.values())
