"""Secrets that were planted stay out of what leaves the machine; what is none stays in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barewind.spec.site import HostEntry
from barewind.support.concealment import Concealment, known_secrets

PLANTED = "Xq7-planted-Zr9"
KEY = " ".join(("PRIVATE", "KEY"))  # so that nobody takes this file for one that holds a key


def entry(**data: Any) -> HostEntry:
    return HostEntry(name="gpu1", groups=("gpus",), data=data, origins={})


@pytest.mark.parametrize(
    "text",
    [
        f"the engine said {PLANTED} for no reason",
        f"url=http://{PLANTED}/x",
        f'{{"a": ["{PLANTED}"]}}',
    ],
)
def test_a_secret_that_is_known_is_taken_out_wherever_it_stands(text: str) -> None:
    hidden = Concealment([PLANTED]).text(text)
    assert PLANTED not in hidden
    assert hidden == text.replace(PLANTED, "...")


@pytest.mark.parametrize(
    "text",
    [
        f"VLLM_API_KEY={PLANTED}",
        f"export MY_PASSWORD='{PLANTED}'",
        f'"api_key": "{PLANTED}"',
        f"password: {PLANTED}",
        f"db-password = {PLANTED}",
        f"vllm serve --api-key {PLANTED} --port 8000",
        f'"argv": ["--hf-token", "{PLANTED}"]',
        f"--admin-api-key={PLANTED}",
        f"Authorization: Bearer {PLANTED}",
        f"X-Api-Key: {PLANTED}",
        f"Cookie: session={PLANTED}; other=1",
        f"https://ann:{PLANTED}@registry.example/v2/",
        f"GET /v1/models?token={PLANTED}",
        f"-----BEGIN OPENSSH {KEY}-----\n{PLANTED}\n-----END OPENSSH {KEY}-----",
        f"-----BEGIN {KEY}-----\n{PLANTED}\ncut off",
    ],
)
def test_what_is_named_or_written_like_a_secret_is_taken_out(text: str) -> None:
    assert PLANTED not in Concealment([]).text(text)


@pytest.mark.parametrize("token", ["hf_" + "a" * 30, "sk-" + "b" * 20, "nvapi-" + "c" * 24, "glpat-" + "d" * 20])
def test_what_has_the_form_of_a_token_is_taken_out(token: str) -> None:
    assert token not in Concealment([]).text(f"got {token} from somewhere")


@pytest.mark.parametrize(
    "text",
    [
        "--max-num-batched-tokens 16384 --tokenizer-mode mistral",
        '"kv_token_capacity": 369040',
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "engine_port = 8000",
        "2026-11-29T10:00:00+0000 gpu1 vllm[12]: Avg prompt throughput: 12.0 tokens/s, Running: 3 reqs",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Concealment([PLANTED]).text(text) == text


def test_the_files_of_a_site_and_the_passwords_in_its_keys_are_known(tmp_path: Path) -> None:
    for name, content in {"hub": "hub-secret\n", "login": "ann:login-secret\n", "key": "engine-secret"}.items():
        (tmp_path / name).write_text(content)
    site = [
        entry(
            hub_token_file=str(tmp_path / "hub"),
            registry_logins={"registry.example": str(tmp_path / "login")},
            engine_secrets={"VLLM_API_KEY": str(tmp_path / "key")},
            ssh_password="ssh-secret",
            ssh_key="/home/ann/.ssh/id",
        ),
        entry(hub_token_file=str(tmp_path / "missing")),
    ]
    hidden = Concealment(known_secrets(site)).text("hub-secret login-secret engine-secret ssh-secret /home/ann/.ssh/id")
    assert hidden == "... ... ... ... /home/ann/.ssh/id"


def test_keys_show_all_but_secrets() -> None:
    keys = Concealment([PLANTED]).keys(
        {
            "accelerator_count": 8,
            "ssh_password": "short",
            "engine_env": {"HF_TOKEN": "abc", "NCCL_DEBUG": "INFO"},
            "open_ports": [9100, 9400],
            "x_note": f"ask {PLANTED}",
            "ssh_key": "~/.ssh/id",
        }
    )
    assert keys == {
        "accelerator_count": 8,
        "ssh_password": "...",
        "engine_env": {"HF_TOKEN": "...", "NCCL_DEBUG": "INFO"},
        "open_ports": [9100, 9400],
        "x_note": "ask ...",
        "ssh_key": "~/.ssh/id",
    }
