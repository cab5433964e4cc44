"""How an engine tries settings and is put back, in a shell with a systemd that stands in."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from barewind.plan.engine import EnginePlan
from barewind.release.unit import engine_unit
from barewind.tune import commands
from tests.support.factories import engine_spec, plan
from tests.support.shell import Programs, Shell

OTHER = {"engine_args": {"seed": 7}, "max_num_seqs": 16}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs) -> Path:
    """A host whose systemd writes down what it is told."""
    monkeypatch.setattr(commands, "drop_in_file", lambda made: f"{tmp_path}/drop-ins/{made.names.unit}.d/zz.conf")
    monkeypatch.setattr(commands, "_HEARD", str(tmp_path / "heard"))
    told = f'echo "$@" >> {tmp_path}/told'
    programs(systemctl=f'{told}; [ "$1" != is-active ]', systemd_run=told, docker=told)
    return tmp_path


def told(host: Path) -> list[str]:
    file = host / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [line for line in lines if not line.startswith("reset-failed")]


def test_a_candidate_is_started_by_a_drop_in_and_put_back_once(host: Path, shell: Shell) -> None:
    made = plan()
    unit = made.names.unit
    assert shell(commands.attempt(made, plan(engine_spec(**OTHER)))).returncode == 0
    assert told(host) == ["daemon-reload", f"kill {made.names.container}", f"restart {unit}"]
    file = Path(commands.drop_in_file(made))
    assert "--seed 7" in file.read_text()
    assert oct(file.stat().st_mode)[-3:] == "600"

    assert shell(commands.put_back(made)).returncode == 0
    assert told(host) == ["daemon-reload", f"kill {made.names.container}", f"restart {unit}"]
    assert not file.exists()
    assert shell(commands.put_back(made)).returncode == 0
    assert told(host) == []  # somebody was faster, or nothing was tried


def test_a_drop_in_says_all_of_a_start_anew_and_nothing_else() -> None:
    made = plan(engine_spec(**OTHER))
    text = commands.drop_in(made)
    unit = engine_unit(made)
    (start,) = re.findall(r"^ExecStart=(?:.*\\\n)*.*$", unit, re.MULTILINE)
    assert start in text
    for line in re.findall(r"^(?:ExecStartPre|EnvironmentFile)=.*$", unit, re.MULTILINE):
        assert line in text.splitlines()
    assert text.splitlines()[1:5] == ["[Service]", "EnvironmentFile=", "ExecStartPre=", "ExecStart="]
    assert "ExecStop" not in text
    assert "delete table inet barewind_engine_stopping" in text  # what the release's own drop-in adds


def test_secrets_stay_those_of_the_release(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("abc\n")
    secret.chmod(0o600)
    text = commands.drop_in(plan(engine_spec(engine_secrets={"VLLM_API_KEY": str(secret)})))
    assert "StandardInput" not in text
    assert "abc" not in text


def test_engines_of_one_host_have_a_drop_in_each() -> None:
    made = plan(engine_spec(replicas=2, replica=1, engine_port=8001))
    assert commands.drop_in_file(made) == "/run/systemd/system/barewind-engine@1.service.d/zz-barewind-tune.conf"
    assert "${BAREWIND_ENGINE_PORT}" in commands.drop_in(made)


def loop(made: EnginePlan) -> str:
    """What the host's service runs."""
    return commands.begin(made).partition("/bin/sh -c ")[2]


@pytest.mark.slow
def test_the_host_puts_the_engine_back_when_nobody_is_heard_of(
    host: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "PATIENCE", 3)
    monkeypatch.setattr(commands, "_LOOK", 0.2)
    made = plan()
    assert shell(commands.begin(made)).returncode == 0
    assert "--unit=barewind-tune" in told(host)[-1]
    assert shell(commands.attempt(made, plan(engine_spec(**OTHER)))).returncode == 0
    assert shell(commands.heard()).returncode == 0
    told(host)
    begun = time.monotonic()
    assert shell(f"sh -c {loop(made)}").returncode == 0
    assert time.monotonic() - begun >= 2
    assert told(host) == ["daemon-reload", "kill barewind-engine", f"restart {made.names.unit}"]
    assert shell(commands.heard()).returncode != 0  # it has given up on this run


def test_a_second_tuner_is_refused(host: Path, shell: Shell, programs: Programs) -> None:
    programs(systemctl="exit 0")
    done = shell(commands.begin(plan()))
    assert done.returncode == 1
    assert "another tuner is at work here" in done.stderr
