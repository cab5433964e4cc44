"""Saving a bundle, checking it, loading it: registry and hub of this machine, and what goes wrong on the way."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from barewind import bundle, lock, mirror, resolver
from barewind.bundle import layout, packages
from barewind.bundle.load import agree, check, push, put_weights
from barewind.bundle.save import save
from barewind.errors import BarewindError
from barewind.lock import Lock
from barewind.mirror import Mirror
from barewind.registry import client, repository
from barewind.site import Site
from barewind.spec import EngineSpec, MirrorSpec
from barewind.transfers import Transfers
from tests.unit.conftest import COMMIT, FILES, REPOSITORY, LocalHub
from tests.unit.factories import balancer_spec, engine_spec, lab_spec
from tests.unit.registry_server import RegistryServer, running

VLLM = "vllm/vllm-openai"
LAYERS = tuple(hashlib.shake_128(bytes([number])).digest(200_000) for number in range(4))
WANTED = ("params.json", "consolidated.safetensors", "tekken.json")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RegistryServer]:
    monkeypatch.setattr(client, "sleep", lambda _: None)
    monkeypatch.setattr(repository, "CHUNK", 50_000)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running() as one:
        amd = one.image(VLLM, None, *LAYERS)
        one.index(VLLM, "nightly", amd64=amd, arm64=one.image(VLLM, None, b"arm"))
        yield one


@pytest.fixture
def spec(server: RegistryServer, hub: LocalHub) -> EngineSpec:
    return lab_spec(
        image=f"{server.name}/{VLLM}:nightly",
        insecure_registries=[server.name],
        hub_endpoint=hub.url,
        model=REPOSITORY,
        model_revision="main",
        speculative=False,
    )


@pytest.fixture
def site(spec: EngineSpec, tmp_path: Path) -> Site:
    return Site({spec.host: spec}, {"lb1": balancer_spec()}, str(tmp_path / "lock.yaml"))


@pytest.fixture
def held(site: Site, hub: LocalHub) -> Lock:
    made = resolver.resolve(site)
    lock.write(made, site.lock_file)
    hub.server.requests.clear()
    return made


def quiet() -> Transfers:
    return Transfers(Console(file=io.StringIO(), width=1000))


def saved(site: Site, held: Lock, directory: Path) -> str:
    return save(site, held, directory, "prod", quiet())


@pytest.fixture
def made(site: Site, held: Lock, tmp_path: Path) -> Path:
    """A whole bundle."""
    saved(site, held, tmp_path / "bundle")
    return tmp_path / "bundle"


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


# --- Saving ------------------------------------------------------------------------------------------------------------


def test_a_bundle_holds_everything_and_nothing_else(made: Path, held: Lock, server: RegistryServer) -> None:
    (image,) = held.images.values()
    found = files(made)
    manifest = json.loads(found[f"images/blobs/sha256/{str(image.platform_digest)[7:]}"])
    blobs = {manifest["config"]["digest"], *(one["digest"] for one in manifest["layers"]), str(image.platform_digest)}
    weights = {f"weights/{REPOSITORY}/resolve/{COMMIT}/{name}" for name in WANTED}
    assert set(found) == {
        "SHA256SUMS",
        "bundle.json",
        "barewind.lock.yaml",
        "packages.yaml",
        "images/oci-layout",
        "images/index.json",
        *(f"images/blobs/sha256/{one[7:]}" for one in blobs),
        *weights,
    }
    assert {name: found[f"weights/{REPOSITORY}/resolve/{COMMIT}/{name}"] for name in WANTED} == {
        name: FILES[name] for name in WANTED
    }
    index = json.loads(found["images/index.json"])
    assert [one["digest"] for one in index["manifests"]] == [image.platform_digest]
    assert index["manifests"][0]["annotations"] == {
        "org.opencontainers.image.ref.name": f"{server.name}/{VLLM}:nightly"
    }
    assert lock.read(made / "barewind.lock.yaml") == held


def test_its_checksums_are_those_that_sha256sum_checks(made: Path) -> None:
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made, check=True).returncode == 0


def test_the_same_lock_makes_the_same_bundle_and_asks_for_no_blob_twice(
    site: Site, held: Lock, made: Path, server: RegistryServer, hub: LocalHub, tmp_path: Path
) -> None:
    before = files(made)
    server.asked.clear()
    hub.server.requests.clear()
    identity = saved(site, held, made)
    assert files(made) == before
    assert server.said("GET", "*/blobs/*") == []
    assert hub.downloads() == []
    assert saved(site, held, tmp_path / "another") == identity


def test_what_is_not_needed_any_more_leaves_the_bundle(site: Site, made: Path, server: RegistryServer) -> None:
    server.image(VLLM, "nightly", b"new")
    again = resolver.resolve(site)
    saved(site, again, made)
    names = set(files(made))
    assert len([name for name in names if "/blobs/" in name]) == 3
    (made / "weights" / "old").mkdir()
    (made / "weights" / "old" / "x").write_text("x")
    saved(site, again, made)
    assert set(files(made)) == names
    assert not (made / "weights" / "old").exists()


def test_a_transfer_that_broke_off_goes_on_where_it_was(
    site: Site, held: Lock, server: RegistryServer, tmp_path: Path
) -> None:
    largest = max(LAYERS, key=len)
    digest = hashlib.sha256(largest).hexdigest()
    server.fault("GET", f"*/blobs/sha256:{digest}", "truncate", times=1)
    server.fault("GET", f"*/blobs/sha256:{digest}", "close", times=99)
    with pytest.raises(BarewindError, match="the registry did not answer"):
        saved(site, held, tmp_path / "bundle")
    part = tmp_path / "bundle" / "images" / "blobs" / "sha256" / f"{digest}.partial"
    there = part.stat().st_size
    assert 0 < there < len(largest)
    assert not (tmp_path / "bundle" / "SHA256SUMS").exists()

    server.faults.clear()
    server.asked.clear()
    saved(site, held, tmp_path / "bundle")
    (asked,) = server.said("GET", f"*/blobs/sha256:{digest}")
    assert asked.range == f"bytes={there}-"
    assert part.with_suffix("").read_bytes() == largest


def test_a_part_that_is_wrong_is_thrown_away(site: Site, held: Lock, tmp_path: Path) -> None:
    digest = hashlib.sha256(LAYERS[0]).hexdigest()
    part = tmp_path / "bundle" / "images" / "blobs" / "sha256" / f"{digest}.partial"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100_000)
    with pytest.raises(BarewindError, match="is damaged"):
        saved(site, held, tmp_path / "bundle")
    assert not part.exists()
    saved(site, held, tmp_path / "bundle")
    assert part.with_suffix("").read_bytes() == LAYERS[0]


def test_a_corrupted_layer_or_file_gets_no_name(
    site: Site, held: Lock, server: RegistryServer, hub: LocalHub, tmp_path: Path
) -> None:
    directory = tmp_path / "bundle"
    server.fault("GET", "*/blobs/*", "corrupt")
    with pytest.raises(BarewindError, match="is damaged"):
        saved(site, held, directory)
    hub.fault("*/consolidated.safetensors", "corrupt", times=2)  # it is asked about, then for
    with pytest.raises(
        BarewindError, match=r"consolidated.safetensors from .*: is not what the lock says and was thrown away"
    ):
        saved(site, held, directory)
    for name, content in files(directory).items():
        if "/blobs/" in name and not name.endswith(".partial"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    assert not [name for name in files(directory) if name.endswith("consolidated.safetensors")]
    saved(site, held, directory)
    check(directory, quiet())


def test_a_hub_that_is_gone_or_wants_a_token(site: Site, held: Lock, hub: LocalHub, tmp_path: Path) -> None:
    hub.fault("*/resolve/*", "status", status=403, times=1000)
    with pytest.raises(BarewindError, match=r"cannot be fetched .*Check hub_endpoint, hub_token_file and the network"):
        saved(site, held, tmp_path / "bundle")


def test_upstream_has_deleted_what_the_mirror_still_has(
    site: Site, held: Lock, spec: EngineSpec, server: RegistryServer, tmp_path: Path
) -> None:
    with running() as fleets:
        mirrored = spec.model_copy(update={"mirror": fleets.name, "mirror_tls": False})
        its = Site({spec.host: mirrored}, {}, site.lock_file)
        mirror.fill(mirror.mirrors(its, held)[0], "prod", bundle_time(), quiet())
        server.repositories.clear()
        saved(its, held, tmp_path / "bundle")
    check(tmp_path / "bundle", quiet())


def bundle_time() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 11, 22, tzinfo=UTC)


def test_what_is_not_locked_is_not_saved(site: Site, tmp_path: Path) -> None:
    with pytest.raises(
        BarewindError, match=r"does not hold image .*:nightly, weights .*@main; run: barewind lock INVENTORY"
    ):
        saved(site, Lock(), tmp_path / "bundle")


def test_a_directory_of_somebody_else_is_left_alone(site: Site, held: Lock, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(BarewindError, match="holds something else; name an empty directory"):
        saved(site, held, tmp_path / "home")
    assert list(files(tmp_path / "home")) == ["thesis.tex"]


# --- The list of packages ----------------------------------------------------------------------------------------------


def test_packages_per_kind_of_host_and_system() -> None:
    specs = [
        engine_spec(host="a"),
        engine_spec(host="b", address="192.0.2.12"),
        engine_spec(host="c", accelerator="mi300x"),
        engine_spec(host="d", accelerator="h100", accelerator_drivers="external"),
    ]
    its = MirrorSpec(host="m", groups=("mirrors",), address="10.0.0.5", mirror_tls=False)
    found = packages.listed(Site({one.host: one for one in specs}, {"lb1": balancer_spec()}, "x", {"m": its}))
    assert [name.partition(",")[0] for name in found] == [
        "engine hosts: h200",
        "engine hosts: mi300x",
        "engine hosts: h100",
        "balancers",
        "mirrors",
    ]
    nvidia = found["engine hosts: h200, managed drivers, Docker of the distribution"]["ubuntu 22.04"]
    assert nvidia["packages"]["nvidia-container-toolkit"].startswith("1.20.0-")
    assert any(version.startswith("580.126.09") for version in nvidia["packages"].values())
    assert any("developer.download.nvidia.com" in one for one in nvidia["repositories"])
    assert "&id" not in yaml.safe_dump(found)
    assert found["mirrors"]["debian 12"]["packages"] == {"docker-registry": "*", "nftables": "*"}


def test_the_balancers_packages_are_those_that_are_installed() -> None:
    from tasks.balancer import PACKAGES

    assert set(packages.BALANCER_PACKAGES) == set(PACKAGES)


# --- Checking ----------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


CHANGES: dict[str, Callable[[Path], object]] = {
    "weights": lambda made: flip(made / "weights" / REPOSITORY / "resolve" / COMMIT / "consolidated.safetensors"),
    "layer": lambda made: flip(max((made / "images/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)),
    "index": lambda made: flip(made / "images" / "index.json"),
    "lock": lambda made: flip(made / "barewind.lock.yaml"),
    "missing": lambda made: (made / "weights" / REPOSITORY / "resolve" / COMMIT / "params.json").unlink(),
    "one too many": lambda made: (made / "weights" / "more.bin").write_text("x"),
    "link": lambda made: (made / "weights" / "link").symlink_to("/etc/passwd"),
    "no sums": lambda made: (made / "SHA256SUMS").unlink(),
    "truncated": lambda made: (made / "packages.yaml").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_bundle_that_is_changed_is_refused(made: Path, change: str) -> None:
    assert check(made, quiet()).fleet == "prod"
    CHANGES[change](made)
    with pytest.raises(BarewindError, match=str(made)):
        check(made, quiet())


def resum(made: Path) -> None:
    """What somebody does who changes a bundle and its checksums with it."""
    names = sorted(name for name in files(made) if name != "SHA256SUMS")
    sums = "".join(f"{hashlib.sha256((made / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (made / "SHA256SUMS").write_text(sums)


@pytest.mark.parametrize("change", ["weights", "layer", "missing"])
def test_changed_files_with_changed_checksums_still_are_not_what_the_lock_says(made: Path, change: str) -> None:
    CHANGES[change](made)
    resum(made)
    with pytest.raises(BarewindError, match=r"is not what its (lock|name) says; nothing of it was used"):
        check(made, quiet())


def test_a_bundle_has_an_id_to_compare_by_another_way(made: Path, site: Site, held: Lock) -> None:
    identity = saved(site, held, made)
    assert check(made, quiet(), expected=identity.upper()).identity == identity
    with pytest.raises(BarewindError, match=f"is bundle {identity}, not 0000; nothing of it was used"):
        check(made, quiet(), expected="0000")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fleet": "x", "format": 2}'])
def test_a_bundle_of_another_format(made: Path, text: str) -> None:
    (made / "bundle.json").write_text(text)
    resum(made)
    with pytest.raises(BarewindError, match=r"is not what a bundle has|is of format 2, this Barewind reads 1"):
        check(made, quiet())


def test_a_bundle_without_its_layer(made: Path) -> None:
    max((made / "images/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size).unlink()
    resum(made)
    with pytest.raises(BarewindError, match=r"is missing; image .* is not complete; nothing of it was used"):
        check(made, quiet())


# --- Loading -----------------------------------------------------------------------------------------------------------


def test_images_reach_a_mirror_as_if_it_had_been_filled_from_upstream(
    made: Path, spec: EngineSpec, site: Site, held: Lock, server: RegistryServer
) -> None:
    with running() as online, running() as offline:
        for target in (online, offline):
            its = Site({spec.host: spec.model_copy(update={"mirror": target.name, "mirror_tls": False})}, {}, "x")
            (one,) = mirror.mirrors(its, held)
            if target is online:
                mirror.fill(one, "prod", bundle_time(), quiet())
            else:
                server.repositories.clear()  # there is no network
                push(check(made, quiet()), one, bundle_time(), quiet())
        assert offline.repositories == online.repositories
        offline.asked.clear()
        push(check(made, quiet()), one, bundle_time(), quiet())
        assert {one.method for one in offline.asked} == {"GET", "HEAD"}


def test_a_registry_named_by_hand_gets_every_image(made: Path, server: RegistryServer) -> None:
    with running() as target:
        push(check(made, quiet()), Mirror(target.name, True, None, 10**6), bundle_time(), quiet())
        assert list(target.repositories) == [f"{server.name.replace(':', '-')}/{VLLM}"]


def test_weights_are_put_where_hosts_find_them(made: Path, tmp_path: Path) -> None:
    found = check(made, quiet())
    put_weights(found, tmp_path / "nfs", quiet())
    target = tmp_path / "nfs" / REPOSITORY / "resolve" / COMMIT
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {name: FILES[name] for name in WANTED}
    (manifest,) = found.held.weights
    mounted = tmp_path / "nfs" / manifest.place
    assert mounted.resolve() == target.resolve()
    assert not mounted.readlink().is_absolute()

    flip(target / "consolidated.safetensors")
    (target / "tekken.json.partial").write_text("half")
    before = (target / "params.json").stat().st_mtime_ns
    put_weights(found, tmp_path / "nfs", quiet())
    assert (target / "consolidated.safetensors").read_bytes() == FILES["consolidated.safetensors"]
    assert (target / "params.json").stat().st_mtime_ns == before


def test_weights_that_change_on_their_way_get_no_name(made: Path, tmp_path: Path) -> None:
    found = check(made, quiet())
    CHANGES["weights"](made)
    with pytest.raises(BarewindError, match="changed on its way and was thrown away"):
        put_weights(found, tmp_path / "nfs", quiet())
    assert not [name for name in files(tmp_path / "nfs") if "consolidated" in name]


def test_weights_for_which_there_is_no_room(made: Path, tmp_path: Path) -> None:
    (tmp_path / "nfs").write_text("a file")
    with pytest.raises(BarewindError, match="Not a directory; free space there, or name another directory"):
        put_weights(check(made, quiet()), tmp_path / "nfs", quiet())


def test_a_site_without_a_lock_gets_the_bundles(made: Path, site: Site, held: Lock) -> None:
    Path(site.lock_file).unlink()
    found = check(made, quiet())
    assert agree(found, site)
    assert lock.read(site.lock_file) == held
    assert not agree(found, site)


def test_a_site_that_is_locked_to_something_else_refuses_the_bundle(
    made: Path, site: Site, held: Lock, server: RegistryServer
) -> None:
    found = check(made, quiet())
    server.image(VLLM, "nightly", b"new")
    lock.write(resolver.resolve(site), site.lock_file)
    before = Path(site.lock_file).read_text()
    with pytest.raises(
        BarewindError, match=r"does not hold what .*lock.yaml says: image .* locked, .* in the bundle. Nothing"
    ):
        agree(found, site)
    assert Path(site.lock_file).read_text() == before


def test_a_layout_tells_what_is_missing(tmp_path: Path) -> None:
    empty = layout.Layout(tmp_path)
    with pytest.raises(BarewindError, match="No such file or directory; the bundle is not complete"):
        empty.manifest("sha256:" + "0" * 64)
    with pytest.raises(BarewindError, match="No such file or directory; the bundle is not complete"):
        list(empty.read(repository.Blob("sha256:" + "0" * 64, 1)))
    assert bundle.FORMAT == 1
