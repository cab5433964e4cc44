"""Docker's stand-in on light hosts: what it takes, what it tells runc, and that it refuses the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.light import bundle, command, containers, images, processes, pull, run, store
from lab.light.errors import DockerError
from lab.light.options import parse
from lab.light.template import render

IMAGE = {
    "id": "sha256:cc",
    "config": {
        "Entrypoint": ["vllm", "serve"],
        "Env": ["PATH=/usr/bin", "STANDIN_VERSION=1"],
        "Labels": {"org.opencontainers.image.version": "0.32.0"},
        "WorkingDir": "/vllm-workspace",
    },
}
UNIT = [
    "--pids-limit=5120",
    "--name=barewind-engine",
    "--rm",
    "--pull=never",
    "--network=host",
    "--ipc=private",
    "--shm-size=8g",
    "--user=64000:64000",
    "--cap-drop=ALL",
    "--read-only",
    "--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777,size=4g",
    "--ulimit=stack=67108864",
    "--security-opt=no-new-privileges",
    "--log-driver=none",
    "--volume=/var/lib/weights:/models:ro",
    "--volume=/var/cache:/cache",
    "--env=A=b=c",
    "--env=STANDIN_VERSION=2",
    "--label=barewind.release=0123",
    "image@sha256:aa",
    "/models",
    "--port",
    "8000",
]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that runs, on a host with nothing on it."""
    for name, place in {"IMAGES": "images", "CONTAINERS": "containers", "RUN": "run", "DAEMON": "daemon.json"}.items():
        monkeypatch.setattr(store, name, tmp_path / place)
    monkeypatch.setattr(store, "LAYERS", tmp_path / "layers")
    store.write(store.DAEMON, {"insecure-registries": ["10.0.0.2:5000"], "runtimes": {}, "process": processes.ours()})


def specified(words: list[str], image: dict[str, Any] = IMAGE) -> dict[str, Any]:
    values, (reference, *rest) = parse(words, run.OPTIONS, run.SHORT)
    assert reference == "image@sha256:aa"
    shown = {"Config": bundle.config(values, image, rest, "light1"), "HostConfig": bundle.host_config(values)}
    return {**shown, "spec": bundle.spec("ab" * 32, values, shown, Path("/root"))}


def test_a_container_gets_what_the_unit_asks_for() -> None:
    made = specified(UNIT)
    process, linux = made["spec"]["process"], made["spec"]["linux"]
    assert process["args"] == ["vllm", "serve", "/models", "--port", "8000"]
    assert process["user"] == {"uid": 64000, "gid": 64000, "additionalGids": []}
    assert {"A=b=c", "STANDIN_VERSION=2", "PATH=/usr/bin"} <= set(process["env"])
    assert process["cwd"] == "/vllm-workspace"
    assert process["noNewPrivileges"]
    assert set(map(tuple, process["capabilities"].values())) == {()}
    assert process["rlimits"] == [{"type": "RLIMIT_STACK", "soft": 67108864, "hard": 67108864}]
    assert made["spec"]["root"]["readonly"]
    mounts = {mount["destination"]: mount for mount in made["spec"]["mounts"]}
    assert (mounts["/models"]["source"], "ro" in mounts["/models"]["options"]) == ("/var/lib/weights", True)
    assert "rw" in mounts["/cache"]["options"]
    assert "size=4g" in mounts["/tmp"]["options"]
    assert f"size={8 << 30}" in mounts["/dev/shm"]["options"]
    assert linux["cgroupsPath"].endswith("ab" * 32)  # a process' control group tells its container
    assert linux["resources"]["pids"] == {"limit": 5120}
    assert {"type": "ipc"} in linux["namespaces"]
    assert {"type": "network"} not in linux["namespaces"]
    assert linux["seccomp"]["syscalls"]
    assert made["Config"]["Labels"] == {"barewind.release": "0123", "org.opencontainers.image.version": "0.32.0"}
    assert made["Config"]["Cmd"] == ["/models", "--port", "8000"]
    assert made["HostConfig"]["Ulimits"] == [{"Name": "stack", "Soft": 67108864, "Hard": 67108864}]


def test_secrets_come_by_standard_input_through_a_shell() -> None:
    made = specified(["--interactive", "--entrypoint=/bin/sh", "image@sha256:aa", "-c", "read x"])
    assert made["spec"]["process"]["args"] == ["/bin/sh", "-c", "read x"]
    assert made["Config"]["OpenStdin"]


def test_an_init_becomes_the_first_process_and_root_keeps_dockers_capabilities() -> None:
    made = specified(["--init", "--ipc=host", "--group-add=44", "--cap-drop=KILL", "image@sha256:aa", "/m"])
    process = made["spec"]["process"]
    assert process["args"] == ["/sbin/docker-init", "--", "vllm", "serve", "/m"]
    assert process["user"]["additionalGids"] == [44]
    assert "CAP_CHOWN" in process["capabilities"]["effective"]
    assert "CAP_KILL" not in process["capabilities"]["effective"]
    assert {"type": "ipc"} not in made["spec"]["linux"]["namespaces"]


@pytest.mark.parametrize(
    "words",
    [
        *(
            "frobnicate",
            "image prune",
            "network ls",
            "run --gpus=all i",
            "run --rm -d i",
            "run --rm --network=bridge i",
        ),
        *("ps --filter=name=x", "rm name", "image ls --format={{.ID}}", "pull debian:12", "--context=x ps", ""),
        *("run --rm --network=host --pull=never --log-driver=none --security-opt=label=disable i", "exec -t x sh"),
    ],
)
def test_what_is_not_known_ends_with_a_message_and_a_status(
    daemon: None, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert command.main(["docker", *words.split()]) != 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "not known here" in err


@pytest.mark.parametrize(
    "option", ["--volume=name:/x", "--user=nobody", "--env=HOME", "--shm-size=8x", "--cap-add=ALL"]
)
def test_values_that_are_not_known_are_refused(option: str) -> None:
    with pytest.raises(DockerError, match="not known here"):
        specified([option, "image@sha256:aa"])


@pytest.mark.parametrize("words", ["info", "ps", "image ls", "inspect x", "version", "stop x"])
def test_without_a_daemon_nothing_is_told(daemon: None, capsys: pytest.CaptureFixture[str], words: str) -> None:
    store.DAEMON.unlink()
    assert command.main(["docker", *words.split()]) == 1
    assert "Cannot connect to the Docker daemon" in capsys.readouterr().err


def test_facts_about_the_daemon(daemon: None, capsys: pytest.CaptureFixture[str]) -> None:
    template = "{{json .RegistryConfig.IndexConfigs}}\n{{json .Runtimes}}"
    assert command.main(["docker", "info", "-f", template]) == 0
    indexes, runtimes = map(json.loads, capsys.readouterr().out.splitlines())
    assert [name for name, index in indexes.items() if not index["Secure"]] == ["10.0.0.2:5000"]
    assert list(runtimes) == ["runc"]


def test_facts_about_images(daemon: None, capsys: pytest.CaptureFixture[str]) -> None:
    store.write(store.IMAGES / "a.json", {**IMAGE, "name": "r:5000/engine", "digest": "sha256:aa", "layers": []})
    assert images.image(["inspect", "-f", "present", "r:5000/engine@sha256:aa"]) == 0
    assert capsys.readouterr().out == "present\n"
    assert images.image(["inspect", "-f", "present", "r:5000/engine@sha256:bb"]) == 1
    assert capsys.readouterr() == ("", "Error: No such image: r:5000/engine@sha256:bb\n")
    assert images.image(["ls", "--digests", "--no-trunc", "--format", "{{json .}}"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row == {"Repository": "r:5000/engine", "Tag": "<none>", "Digest": "sha256:aa", "ID": "sha256:cc"}
    assert images.image(["rm", "r:5000/engine@sha256:aa"]) == 0
    assert store.images() == []


def test_a_container_that_ended_while_its_command_was_killed_is_gone(
    daemon: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "discard", lambda name: gone.append(name))
    gone: list[str] = []
    common = {"image": "sha256:cc", "Config": {"Image": "i", "Labels": {"l": "x"}}, "HostConfig": {}}
    here = {"id": "a" * 64, "name": "here", "client": processes.ours(), "process": processes.ours()}
    ended = {"id": "b" * 64, "name": "ended", "client": "1 1", "process": "1 1"}
    for container in (here, ended):
        store.write(store.CONTAINERS / str(container["id"]) / "container.json", {**container, **common})
    assert containers.ps(["-aq", "--no-trunc"]) == 0
    assert capsys.readouterr().out == "a" * 64 + "\n"
    assert gone == ["b" * 64]
    assert containers.inspect(["-f", '{{index .Config.Labels "l"}} {{.State.Running}}', "here"]) == 0
    assert capsys.readouterr().out == "x true\n"


def test_an_image_of_layers_that_are_not_here_is_refused(daemon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = {"layers": [{"digest": "sha256:11"}, {"digest": "sha256:22"}], "config": {"digest": "sha256:cc"}}
    monkeypatch.setattr(pull, "_document", lambda *_: {**manifest, "config": {"digest": "sha256:cc"}})
    (store.LAYERS / "11").mkdir(parents=True)
    with pytest.raises(DockerError, match=r"layer sha256:22 .* is not on this host"):
        list(pull.pull("10.0.0.2:5000/engine@sha256:aa"))
    assert store.images() == []
    (store.LAYERS / "22").mkdir()
    monkeypatch.setattr(pull, "_document", lambda *_: manifest | {"config": {"digest": "sha256:cc"}})
    assert [status for _, status in pull.pull("10.0.0.2:5000/engine@sha256:aa")] == ["Already exists"] * 2
    assert [image["name"] for image in store.images()] == ["10.0.0.2:5000/engine"]


def test_a_registry_that_the_daemon_does_not_go_by_is_refused(daemon: None) -> None:
    with pytest.raises(DockerError, match="insecure-registries"):
        list(pull.pull("docker.io/vllm/vllm-openai@sha256:aa"))


def test_templates() -> None:
    document = {"A": {"B": [1], "on": True}, "L": {"k": "v"}}
    assert render("present", document) == "present"
    assert render('{{json .A.B}} {{index .L "k"}} {{index .L "none"}} {{.A.on}}', document) == "[1] v  true"
    for template in ("{{range .A}}", "{{.A.B}}", "{{len .A}}"):
        with pytest.raises(DockerError, match="not known here"):
            render(template, document)
    with pytest.raises(DockerError, match="no entry for key 'C'"):
        render("{{.A.C}}", document)
