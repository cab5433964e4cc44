"""An upgrade of real engines to another image of theirs, and the way back, under load."""

from __future__ import annotations

from pathlib import Path

from lab.images.engine_image import EngineImage
from lab.services import registry
from tests.support.commands import Site, data
from tests.support.lab import LAB, running_image
from tests.support.load import under_load


def upgrade_and_way_back(fleet: tuple[str, ...], image: EngineImage, folder: Path, *, least: int, streams: int) -> None:
    """Hosts take an image that differs from `image` in nothing but its digest, one after the other, and go back: no request is
    lost. `least` and `streams` are those of the load; `folder` takes the lock file."""
    registry.derive("next", repository=image.repository, source=image.tag)
    reference = f"{image.reference.rpartition(':')[0]}:next"
    site = Site(LAB.inventory, tuple(data(image=reference, lock_file=str(folder / "next.lock.yaml"))))
    assert site.barewind("lock").status == 0
    before = {host: running_image(host) for host in fleet}
    with under_load(least=least, streams=streams, balancers=["lb1"], exact=False) as load:
        upgraded = site.deploy()
        between = {host: running_image(host) for host in fleet}
        back = site.pyinfra("tasks/rollback.py")
    assert (upgraded.status, back.status) == (0, 0)
    assert load.lost == []
    assert load.fewest["lb1"] >= 1
    assert len(set(between.values())) == 1
    assert not set(between.values()) & set(before.values())
    assert {host: running_image(host) for host in fleet} == before
    for run in (upgraded, back):
        for host in fleet:
            assert f"[{host}] start: " in run.output
            told = ("of weights are in the page cache", "the weights are in the page cache already")
            assert any(
                line for line in run.output.splitlines() if f"[{host}] " in line and any(t in line for t in told)
            )
    assert LAB.deploy().changed == set()
