"""The text of a key: random, recognizable, and never kept."""

from __future__ import annotations

import hashlib

import pytest

from barewind import secrets
from barewind.keys import text

KEY = "sk-bw-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg37cCQ0"  # 43 characters, then base 62 of crc32, as zlib has it


def test_a_key_is_recognized_by_its_form_and_its_check() -> None:
    assert text.is_key(KEY)
    assert len(KEY) == 6 + 43 + 6


@pytest.mark.parametrize(
    "other",
    [
        "",
        "sk-bw-",
        KEY[:-1],
        KEY + "0",
        KEY[:-1] + "1",
        KEY.replace("A", "B"),
        KEY.replace("sk-bw-", "sk-"),
        KEY + "\n",
    ],
)
def test_what_is_no_key_is_not(other: str) -> None:
    assert not text.is_key(other)


def test_keys_are_new_each_time_and_have_the_form() -> None:
    made = {text.new() for _ in range(200)}
    assert len(made) == 200
    assert all(text.is_key(each) for each in made)
    assert len({character for each in made for character in each[6:49]}) == 62


def test_scanners_find_it() -> None:
    made = text.new()
    assert secrets.looks_like_one(made)
    assert secrets.concealed(f"the key is {made}!") == "the key is ...!"


def test_what_is_kept_is_what_haproxy_compares_with() -> None:
    assert text.sha256(KEY) == hashlib.sha256(KEY.encode()).hexdigest()
    assert text.hint(KEY) == "cCQ0"
