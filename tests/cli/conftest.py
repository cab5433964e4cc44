"""The real `pyinfra` command on pyinfra's @fake hosts: order, batches and aborts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_fleet import Clone


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A user's clone of the repository."""
    return Clone(tmp_path)
