"""The tutorial, from nothing: every command of the page, as a reader runs them, and what it says that they see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import pages
from tests.support.commands import ROOT, command

pytestmark = pytest.mark.full


def test_the_tutorial_shows_what_one_sees(tmp_path: Path) -> None:
    assert command("barewind", "lab", "down").status == 0
    try:
        bundle = {"/tmp/support-bundle.tar.gz": str(tmp_path / "bundle.tar.gz")}
        pages.run("docs/tutorial.md", ROOT, os.environ | {"TERM": "xterm-256color"}, instead=bundle)
    finally:
        assert command("barewind", "lab", "down").status == 0
