"""A folder with an inventory of two engine hosts and a balancer, for commands that connect to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

INVENTORY = """
gpus = [("10.0.0.1", {}), ("10.0.0.2", {})]
balancers = ["10.0.0.9"]
"""
GROUP = "accelerator = 'h200'\naccelerator_count = 8\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, which commands run in: site.py, and group data of its group `gpus`."""
    (tmp_path / "group_data").mkdir()
    (tmp_path / "site.py").write_text(INVENTORY)
    (tmp_path / "group_data" / "gpus.py").write_text(GROUP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyinfra_cli.util.PYTHON_CODES", {})  # it remembers files by their relative name
    return tmp_path
