"""What tests of every kind use."""

from __future__ import annotations

import pytest

from tests.support.free_port import free_port


@pytest.fixture
def unused_url() -> str:
    """An address of this machine where nothing listens."""
    return f"http://127.0.0.1:{free_port()}"
