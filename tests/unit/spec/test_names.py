"""Hostile names and texts: refused at plan in one printable line, or handed on byte for byte as one argument."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barewind.errors import BarewindError
from barewind.plan.engine import plan_host
from barewind.release.unit import engine_unit
from barewind.secrets import looks_like_one
from barewind.site.conflicts import conflicts
from barewind.site.read import read_site
from barewind.spec.names import group_name_problem, host_name_problem
from barewind.spec.site import HostEntry
from tests.support.factories import engine_entry, entry, locked
from tests.support.units import exec_start

HOSTILE = {
    "newline": "a\nb",
    "carriage return": "a\rb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "tab": "a\tb",
    "semicolon": "a;b",
    "lone semicolon": ";",
    "hash": "a #b",
    "space": "a b",
    "quote": 'a"b',
    "apostrophe": "a'b",
    "command": "$(touch /x)",
    "backticks": "`touch /x`",
    "specifier": "%h%n",
    "dash": "-x",
    "dashes": "--privileged",
    "letters": "größe",
    "digits": "٣",
    "empty": "",
    "dots": "/a/../b",
    "100 kB": "a" * 100_001,
}
# Keys whose values become words of commands and lines of files, or parts of paths and URLs: each text as it is would be wrong.
NAMES = (
    *("model_revision", "draft_revision", "served_model_name", "image", "data_dir", "hub_endpoint", "mirror"),
    *("nvidia_driver", "nvidia_container_toolkit", "docker_version", "rocm_release", "docker_repository", "address"),
    *("weights_path", "engine", "model", "draft", "accelerator", "to", "release"),
)
LISTS = ("insecure_registries", "accept_risks", "evaluation_env")
REFUSED_EVERYWHERE = ("newline", "carriage return", "tab", "100 kB")


def refusal(name: str = "10.0.0.7", **data: Any) -> str:
    """What the plan says; empty where it takes the value."""
    try:
        site = read_site([engine_entry(name, **{"address": "10.0.0.7"} | data)])
    except BarewindError as error:
        return str(error)
    assert not list(conflicts(site.engines[name]))
    return ""


def check_message(message: str, key: str) -> None:
    assert message, "was taken"
    (line,) = message.split("\n")
    assert line.isprintable()
    assert line.isascii()
    assert f"key '{key}" in line
    assert "10.0.0.7" in line
    assert len(line) < 700


@pytest.mark.parametrize("text", [text for kind, text in HOSTILE.items()], ids=list(HOSTILE))
@pytest.mark.parametrize("key", NAMES)
def test_a_name_is_never_more_than_a_name(key: str, text: str) -> None:
    extra: dict[str, Any] = {"weights_source": "path"} if key == "weights_path" else {}
    check_message(refusal(**{key: text} | extra), key)


@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
@pytest.mark.parametrize("key", LISTS)
def test_so_are_names_in_lists(key: str, text: str) -> None:
    check_message(refusal(**{key: [text]}), key)


@pytest.mark.parametrize("text", [*HOSTILE.values(), "a" * 256, "gpu1 192.0.2.66:80 #", "../x", "a/../b"])
def test_a_hosts_name_is_a_name(text: str) -> None:
    with pytest.raises(BarewindError) as caught:
        read_site([engine_entry(text, address="10.0.0.7"), engine_entry("good", address="10.0.0.8")])
    (line,) = str(caught.value).split("\n")
    assert re.match("host name ['\"]", line)
    assert line.endswith("rename the host in the inventory")
    assert line.isprintable()
    assert line.isascii()
    assert len(line) < 300


@pytest.mark.parametrize(
    "name",
    [
        "gpu-h1",
        "10.0.0.1",
        "fd00::1",
        "gpu1.rack2.example",
        "@local",
        "@ssh/gpu1",
        "@fake/x",
        "@docker/debian:12",
        "a_b+c",
    ],
)
def test_names_that_pyinfra_knows_are_legal(name: str) -> None:
    assert host_name_problem(name) is None


@pytest.mark.parametrize("group", ["größe", "a b", "../x", "a\nb"])
def test_a_groups_name_is_a_name(group: str) -> None:
    host = HostEntry("10.0.0.7", (group,), {"accelerator": "h200", "accelerator_count": 8})
    with pytest.raises(BarewindError, match=r"^group name '[ -~]+': only ASCII"):
        read_site([host])


@pytest.mark.parametrize("address", ["fe80::1%eth0", "fe80::1%\n    server evil 192.0.2.66:80", "10.0.0.1\n"])
def test_an_address_is_an_address(address: str) -> None:
    check_message(refusal(address=address), "address")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_revision", "refs/pr/12"),
        ("model_revision", "c" * 40),
        ("served_model_name", "mistral/medium@2"),
        ("data_dir", "/srv/barewind-1.5/x_y"),
        ("image", "docker.io/vllm/vllm-openai:v0.32.0-cu129"),
        ("image", "[fd00::5]:5000/vllm/vllm-openai:v0.32.0@sha256:" + "5e" * 32),
        ("image", "localhost:5000/a__b/c-d.e:1"),
        ("hub_endpoint", "http://[fd00::5]:8000"),
        ("hub_token_file", "~/Größe der Token/hf"),
    ],
)
def test_good_names_are_taken(key: str, value: str) -> None:
    assert refusal(**{key: value}) == ""


@pytest.mark.parametrize("file", ["", "a\nb", "a\u2028b", " ", "x "])
def test_a_file_of_this_machine_has_a_printable_name(file: str) -> None:
    check_message(refusal(hub_token_file=file), "hub_token_file")


@pytest.mark.parametrize("kind", HOSTILE)
def test_free_text_is_refused_or_arrives_byte_for_byte(kind: str) -> None:
    text = HOSTILE[kind]
    for data in (
        {"engine_env": {"A": text}},
        {"engine_args": {"generation-config": text}},
        {"engine_args": {"hf-overrides": {"a": text}}},
    ):
        message = refusal(**data)
        in_json = "hf-overrides" in data.get("engine_args", {})
        if kind in REFUSED_EVERYWHERE and not (in_json and kind != "100 kB"):  # JSON writes them as \n and the like
            check_message(message, *data)
            continue
        if message:
            check_message(message, *data)
            continue
        spec = read_site([engine_entry("10.0.0.7", **data)]).engines["10.0.0.7"]
        argv = exec_start(engine_unit(plan_host(spec, locked(spec))))
        if "engine_env" in data:
            assert f"--env=A={text}" in argv
        elif in_json:
            assert json.loads(argv[argv.index("--hf-overrides") + 1]) == {"a": text}
        else:
            assert argv[argv.index("--generation-config") + 1] == text


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_name_of_an_option_or_variable_is_a_name(kind: str) -> None:
    if kind not in ("dash", "dashes"):
        check_message(refusal(engine_args={HOSTILE[kind]: 1}), "engine_args")
    check_message(refusal(engine_env={HOSTILE[kind]: "1"}), "engine_env")
    check_message(refusal(engine_secrets={HOSTILE[kind]: "/x"}), "engine_secrets")


def test_a_balancers_and_a_mirrors_names_are_checked_too() -> None:
    hosts = [engine_entry("good"), entry("a;b", "balancers"), entry("c\nd", "mirrors")]
    with pytest.raises(BarewindError) as caught:
        read_site(hosts)
    assert re.findall(r"host name (\S+):", str(caught.value)) == ["'a;b'", r"'c\nd'"]


@pytest.mark.parametrize("zone", ["eth0", "a b", "x\n  server evil 192.0.2.66:80", ";", "x\ntable inet evil"])
@pytest.mark.parametrize(("key", "group"), [("trusted_clients", "balancers"), ("mirror_clients", "mirrors")])
def test_a_network_has_no_zone_which_could_be_any_text(key: str, group: str, zone: str) -> None:
    hosts = [engine_entry("10.0.0.7"), entry("10.0.0.8", group, **{key: [f"fe80::%{zone}/64"]})]
    with pytest.raises(BarewindError) as refused:
        read_site(hosts)
    (line,) = (line for line in str(refused.value).splitlines() if key in line)
    assert line.isprintable()
    assert "without a zone" in line


@pytest.mark.parametrize("key", ["engine_secrets", "hub_token_file", "lock_file", "mirror_ca"])
def test_a_file_in_the_home_of_nobody_is_refused_in_words(key: str) -> None:
    file = "~nobody-of-this-name/x"
    (line,) = refusal(**{key: {"HF_TOKEN": file} if key == "engine_secrets" else file}).splitlines()
    assert f"key '{key}" in line
    assert "whom this machine does not know" in line


# --- Generated ---

# Letters that shells, systemd, HAProxy, nft, YAML and terminals read as more than letters, beside those of names.
PARTS = st.sampled_from(
    [
        "\n",
        "\r",
        "\x00",
        "\x1b[31m",
        "\u2028",
        " ",
        ";",
        "#",
        '"',
        "'",
        "$",
        "`",
        "%",
        "\\",
        "--",
        "..",
        "/",
        "{",
        "}",
        "@",
    ]
)
TEXTS = st.text(max_size=12) | st.lists(PARTS | st.text("abcXYZ019._:/-", max_size=4), max_size=5).map("".join)
SAFE = re.compile(r"[A-Za-z0-9_@\[][A-Za-z0-9_.:/@+~%\[\]-]*|/[A-Za-z0-9_./+-]*", re.ASCII)


@given(key=st.sampled_from(NAMES), text=TEXTS)
def test_any_text_as_a_name_is_a_plain_word_or_refused(key: str, text: str) -> None:
    extra: dict[str, Any] = {"weights_source": "path"} if key == "weights_path" else {}
    message = refusal(**{key: text} | extra)
    if message:
        for line in message.split("\n"):
            assert line.isprintable()
            assert line.isascii()
        assert f"key '{key}" in message
    else:
        assert SAFE.fullmatch(text), text
        assert not re.search(r"(^|/)\.\.?(/|$)", text)


@given(text=TEXTS)
def test_any_text_as_a_hosts_or_a_groups_name_is_a_plain_word_or_refused(text: str) -> None:
    for problem in (host_name_problem(text), group_name_problem(text)):
        assert problem is None or (problem.isprintable() and problem.isascii())
        assert problem is not None or SAFE.fullmatch(text)


@given(text=TEXTS)
def test_any_free_text_is_refused_or_arrives_byte_for_byte(text: str) -> None:
    if refusal(engine_env={"A": text}):
        assert not text.isprintable() or looks_like_one(text) or re.search(r"[\x00-\x1f\x7f]", text)
        return
    spec = read_site([engine_entry("10.0.0.7", engine_env={"A": text})]).engines["10.0.0.7"]
    assert f"--env=A={text}" in exec_start(engine_unit(plan_host(spec, locked(spec))))
