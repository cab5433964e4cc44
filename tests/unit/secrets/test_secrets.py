"""Files of secrets on this machine, and both keys that name one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from barewind import secrets
from barewind.errors import BarewindError
from barewind.lock.file import read_token
from barewind.mirror.plan import plan
from barewind.spec.keys import MirrorSpec
from tests.support.factories import engine_spec

TEXT = "-----BEGIN PRIVATE KEY-----\nsecret\n"


def plan_of_mirror(file: str) -> object:
    certificate = Path(file).with_name("mirror.pem")
    certificate.write_text("-----BEGIN CERTIFICATE-----\n")
    keys = {"mirror_certificate": str(certificate), "mirror_key": file}
    return plan(MirrorSpec(host="m1", groups=("mirrors",), address="10.0.0.5", **keys), [])


USERS: dict[str, Callable[[str], object]] = {
    "any_key": lambda file: secrets.read("any_key", file),
    "hub_token_file": lambda file: read_token(engine_spec(hub_token_file=file)),
    "mirror_key": plan_of_mirror,
}


@pytest.mark.parametrize("key", USERS)
@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (TEXT.encode(), 0o644, "mode 0644 lets others read it; run: chmod 600 {file}"),
        (TEXT.encode(), 0o640, "mode 0640 lets others read it; run: chmod 600 {file}"),
        (TEXT.encode(), 0o601, "mode 0601 lets others read it; run: chmod 600 {file}"),
        (b"", 0o600, "is empty; write the secret to it, or correct the key."),
        (b" \n", 0o600, "is empty; write the secret to it, or correct the key."),
        (b"\xff\xfe", 0o600, "is no text; correct the key."),
        (None, 0o600, "No such file or directory; write the secret to it, or correct the key."),
    ],
)
def test_a_secret_that_others_can_read_or_nobody_is_refused(
    tmp_path: Path, key: str, content: bytes | None, mode: int, said: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    with pytest.raises(BarewindError) as caught:
        USERS[key](str(file))
    assert str(caught.value) == f"{key} {file}: {said.format(file=file)}"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    (tmp_path / "secret").write_text(TEXT)
    (tmp_path / "secret").chmod(mode)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert secrets.read("any_key", "~/secret") == TEXT
