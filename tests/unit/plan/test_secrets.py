"""Secrets of an engine: from a file of the controller into the container, and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from barewind.engines import ENGINES
from barewind.errors import BarewindError
from barewind.gate import plan as gates
from barewind.gate.facts import GateObservation
from barewind.plan import secrets
from barewind.plan.document import as_json
from barewind.plan.engine import EnginePlan, plan_site
from barewind.release.history import serving
from barewind.release.record import read_record, record_of, secrets_file
from barewind.release.unit import engine_unit
from barewind.rollout.rollback import missing, show_missing
from barewind.spec.site import Site
from tests.support.factories import engine_spec, locked, plan
from tests.support.shell import Programs, Shell
from tests.support.units import exec_start

pytestmark = pytest.mark.slow

SECRET = "hf_x y'\"$HOME%h\\n#;`id`ß"  # noqa: S105 - what shells and systemd stumble over
Plan = Callable[..., EnginePlan]


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    """The plan of a host with a secret by file."""

    def make(secret: str = SECRET, name: str = "HF_TOKEN", **changes: Any) -> EnginePlan:
        file = tmp_path / "secret"
        file.write_text(secret + "\n")
        file.chmod(0o600)
        return plan(engine_spec(engine_secrets={name: str(file)}, **changes))

    return make


@pytest.mark.parametrize("engine", ENGINES)
def test_a_secret_is_in_none_of_what_anybody_can_read(planned: Plan, engine: str) -> None:
    made = planned(engine=engine)
    unit = engine_unit(made)
    record = record_of(made, unit)
    shown = [unit, record.text, repr(made), repr(asdict(made)), json.dumps(as_json(made)), repr(secrets_file(made))]
    forms = (SECRET, "hf_x", base64.b64encode(SECRET.encode()).decode(), hashlib.sha256(SECRET.encode()).hexdigest())
    for text in shown:
        assert not [form for form in forms if form in text]
    assert not [text for text in (unit, record.text, json.dumps(as_json(made))) if made.secrets["HF_TOKEN"] in text]
    assert as_json(made)["secrets"] == ["HF_TOKEN"]
    assert read_record(record.text) == record
    assert record.secrets == ("HF_TOKEN",)


def test_its_file_on_the_host_is_for_root_alone(planned: Plan) -> None:
    made = planned()
    file = secrets_file(made)
    assert file is not None
    assert (file.path, file.mode) == (f"/etc/barewind/releases/{made.release}.secrets", "600")
    assert f"StandardInput=file:{file.path}\n" in engine_unit(made)
    assert SECRET not in file.write_command()
    # Its SHA-256, which facts show, is no means to guess a secret by: what scrypt makes of it is in the file as well.
    assert file.content.splitlines()[0] == f"# {made.secrets['HF_TOKEN']}"


def test_a_rotated_secret_is_another_release_and_nothing_else_is(planned: Plan) -> None:
    first, second, again = planned("one"), planned("two"), planned("one")
    assert first.release == again.release != second.release
    assert planned("one", name="B").release != first.release
    assert first.command == second.command
    caches = [[word for word in made.container if word.endswith(":/cache")] for made in (first, second)]
    assert caches[0] == caches[1], "what is compiled is the same"


def test_hosts_without_secrets_stay_as_they_were() -> None:
    made = plan(engine_spec())
    assert made.arguments == made.command.argv
    assert secrets_file(made) is None
    assert "StandardInput" not in engine_unit(made)
    assert not {"--interactive", "--entrypoint=/bin/sh"} & set(made.container)
    assert "secrets" not in json.loads(record_of(made, engine_unit(made)).text)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("secret", [SECRET, "x", " padded ", "a=b=c", "#x", "-n", "x" * 90_000])
def test_the_engine_gets_it_byte_for_byte_and_nothing_of_its_input(planned: Plan, shell: str, secret: str) -> None:
    made = planned(secret)
    file = secrets_file(made)
    assert file is not None
    words = exec_start(engine_unit(made))
    at = words.index("-c")
    assert words[at - 1] == made.pinned_image
    assert words[at + 3 : at + 5] == ["vllm", "serve"]
    assert words[at + 5 :] == made.command.argv
    program = "import os, sys, json; print(json.dumps([dict(os.environ), sys.stdin.read(), sys.argv[1:]]))"
    done = subprocess.run(
        [shell, "-c", words[at + 1], words[at + 2], sys.executable, "-c", program, *made.command.argv],
        input=file.content,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    environment, rest, argv = json.loads(done.stdout)
    assert environment["HF_TOKEN"] == secret
    assert set(environment) - {"PWD", "SHLVL", "_", "LC_CTYPE", "OLDPWD"} == {"PATH", "HF_TOKEN"}
    assert rest == ""
    assert argv == made.command.argv


@pytest.mark.parametrize("given", ["", "# mark\n", "# mark\nHF_TOKEN=x\n", "# mark\nHF_TOKEN=x\n."])
def test_an_engine_does_not_start_without_all_of_them(given: str) -> None:
    done = subprocess.run(
        ["sh", "-c", secrets.LAUNCH, "x", "echo", "it starts"], input=given, capture_output=True, text=True
    )
    whole = given.endswith("\n.")  # a last line without its end is whole all the same: read says 1, and has it
    assert (done.returncode, done.stdout) == ((0, "it starts\n") if whole else (78, ""))
    assert ("did not arrive whole" in done.stderr) is not whole


def test_every_engine_knows_what_its_image_would_start() -> None:
    for engine in ENGINES.values():
        assert engine.entrypoint or engine.image_entrypoint


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("x\n", 0o644, "mode 0644 lets others read it; run: chmod 600"),
        ("", 0o600, "is empty"),
        ("a\nb\n", 0o600, "holds more than one line, or control characters; write the secret alone to it"),
        ("a\tb", 0o600, "holds more than one line"),
        ("x" * 100_001, 0o600, "holds more than 100000 bytes"),
        (None, 0o600, "No such file or directory; write the secret to it"),
    ],
)
def test_a_file_that_will_not_do_is_refused_with_its_hosts(
    tmp_path: Path, content: str | None, mode: int, message: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    specs = {name: engine_spec(host=name, engine_secrets={"HF_TOKEN": str(file)}) for name in ("gpu1", "gpu2")}
    with pytest.raises(BarewindError) as caught:
        plan_site(Site(specs, {}, "x.yaml"), locked(*specs.values()))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"gpu1, gpu2: engine_secrets['HF_TOKEN'] {file}: ")
    assert message in line


def test_a_secret_that_changes_under_a_run_is_told(planned: Plan) -> None:
    made = planned()
    Path(made.spec.engine_secrets["HF_TOKEN"]).write_text("another")
    with pytest.raises(BarewindError, match="gpu-h1: a file of 'engine_secrets' was changed while this ran"):
        secrets_file(made)


def test_a_rollback_wants_the_secrets_of_then(planned: Plan, shell: Shell, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("barewind.plan.secrets.RELEASES", str(tmp_path))
    made = planned()
    record = record_of(made, engine_unit(made))
    path = f"{tmp_path}/{made.release}.secrets"
    lacking = shell(show_missing(record)).stdout
    assert path in lacking.split()
    (problem,) = [problem for problem in missing("g1", record, lacking) if path in problem]
    assert problem.endswith("is not there any more; nobody else knows its secrets: deploy with those of today")
    Path(path).write_text("x")
    assert path not in shell(show_missing(record)).stdout.split()


def test_secrets_go_with_the_record_that_they_belong_to() -> None:
    assert 'rm -f "$r.json" "$r.unit" "$r.secrets"' in serving("0123456789ab")


def test_the_gate_shows_the_engines_own_key(
    planned: Plan, shell: Shell, programs: Programs, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("barewind.plan.secrets.RELEASES", str(tmp_path))
    made = planned("key of the engine", name="VLLM_API_KEY")
    file = secrets_file(made)
    assert file is not None
    Path(file.path).write_text(file.content)
    # As curl does: a header from its input where it is told so.
    programs(
        curl='echo "$*" >> argv; case "$*" in *"-H @-"*) cat >> headers ;; esac; printf "{}\\n200\\n"',
        systemctl="echo",
        docker=":",
        journalctl=":",
    )
    for gate in (gates.of(made), gates.of_record(record_of(made, engine_unit(made)), made)):
        (tmp_path / "headers").unlink(missing_ok=True)
        command = GateObservation().command(gate)
        assert "key of the engine" not in command
        shell(f"cd {tmp_path}; PATH={tmp_path}/bin:$PATH; {command}")
        headers = (tmp_path / "headers").read_text().splitlines()
        assert set(headers) == {"Authorization: Bearer key of the engine"}
        assert len(headers) >= 2  # the list of models, and each probe
    assert "key of the engine" not in (tmp_path / "argv").read_text()
    assert gates.of(planned(name="HF_TOKEN")).header is None


def test_what_older_code_let_through_is_concealed_in_records() -> None:
    """Plans with such arguments are refused: a record would not show them even so."""
    made = plan(engine_spec(engine_args={"api-key": "plain-words", "otlp-traces-endpoint": "http://u:pass@x"}))
    record = record_of(made, engine_unit(made))
    assert not re.search("plain-words|u:pass", record.text)
    assert record.unit_sha256 == hashlib.sha256(engine_unit(made).encode()).hexdigest()
