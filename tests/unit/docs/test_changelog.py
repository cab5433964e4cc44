"""The changelog says of each release what somebody who updates must know first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[3] / "CHANGELOG.md").read_text()
RELEASES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def test_there_is_a_section_for_what_is_not_released_yet() -> None:
    assert next(iter(RELEASES)) == "Unreleased"


@pytest.mark.parametrize("release", RELEASES)
def test_each_release_says_what_changes_on_hosts_and_whether_engines_restart(release: str) -> None:
    before_the_list = RELEASES[release].split("\n- ")[0]
    assert re.search(r"^\*\*On hosts:\*\* \w.{10,}", before_the_list, re.MULTILINE)
    assert re.search(r"^\*\*Engines restart:\*\* (yes|no)\b", before_the_list, re.MULTILINE)
