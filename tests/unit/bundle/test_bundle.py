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

from barewind.bundle import about, layout, packages
from barewind.bundle.load import agree, check, push, put_weights
from barewind.bundle.save import save
from barewind.errors import BarewindError
from barewind.lock import file as lock_file
from barewind.lock.file import Lock
from barewind.lock.resolve import resolve
from barewind.mirror import contents as mirror
from barewind.mirror.contents import Mirror
from barewind.progress.transfers import Transfers
from barewind.registry import client, repository
from barewind.spec.keys import EngineSpec, MirrorSpec
from barewind.spec.site import Site
from tests.support.factories import balancer_spec, engine_spec, lab_spec
from tests.support.hub import COMMIT, FILES, REPOSITORY, LocalHub
from tests.support.registry_server import RegistryServer, running

pytestmark = pytest.mark.slow

VLLM = "vllm/vllm-openai"
LAYERS = tuple(hashlib.shake_128(bytes([number])).digest(200_000) for number in range(4))
WANTED = ("params.json", "consolidated.safetensors", "tekken.json")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RegistryServer]:
    monkeypatch.setattr(client, "sleep", lambda _: None)
    monkeypatch.setattr(repository, "CHUNK", 50_000)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running() as server:
        amd = server.image(VLLM, None, *LAYERS)
        server.index(VLLM, "nightly", amd64=amd, arm64=server.image(VLLM, None, b"arm"))
        yield server


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
def lock(site: Site, hub: LocalHub) -> Lock:
    resolved = resolve(site)
    lock_file.write(resolved, site.lock_file)
    hub.server.requests.clear()
    return resolved


def quiet() -> Transfers:
    return Transfers(Console(file=io.StringIO(), width=1000))


def save_bundle(site: Site, lock: Lock, directory: Path) -> str:
    """Save a bundle without a word; its identity."""
    return save(site, lock, directory, "prod", quiet())


@pytest.fixture
def bundle(site: Site, lock: Lock, tmp_path: Path) -> Path:
    """A whole bundle."""
    save_bundle(site, lock, tmp_path / "bundle")
    return tmp_path / "bundle"


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


# --- Saving ------------------------------------------------------------------------------------------------------------


def test_a_bundle_holds_everything_and_nothing_else(bundle: Path, lock: Lock, server: RegistryServer) -> None:
    (image,) = lock.images.values()
    by_name = files(bundle)
    manifest = json.loads(by_name[f"images/blobs/sha256/{str(image.platform_digest)[7:]}"])
    blobs = {
        manifest["config"]["digest"],
        *(layer["digest"] for layer in manifest["layers"]),
        str(image.platform_digest),
    }
    weights = {f"weights/{REPOSITORY}/resolve/{COMMIT}/{name}" for name in WANTED}
    assert set(by_name) == {
        "SHA256SUMS",
        "bundle.json",
        "barewind.lock.yaml",
        "packages.yaml",
        "images/oci-layout",
        "images/index.json",
        *(f"images/blobs/sha256/{blob[7:]}" for blob in blobs),
        *weights,
    }
    assert {name: by_name[f"weights/{REPOSITORY}/resolve/{COMMIT}/{name}"] for name in WANTED} == {
        name: FILES[name] for name in WANTED
    }
    index = json.loads(by_name["images/index.json"])
    assert [entry["digest"] for entry in index["manifests"]] == [image.platform_digest]
    assert index["manifests"][0]["annotations"] == {
        "org.opencontainers.image.ref.name": f"{server.name}/{VLLM}:nightly"
    }
    assert lock_file.read(bundle / "barewind.lock.yaml") == lock


def test_its_checksums_are_those_that_sha256sum_checks(bundle: Path) -> None:
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle, check=True).returncode == 0


def test_the_same_lock_makes_the_same_bundle_and_asks_for_no_blob_twice(
    site: Site, lock: Lock, bundle: Path, server: RegistryServer, hub: LocalHub, tmp_path: Path
) -> None:
    before = files(bundle)
    server.asked.clear()
    hub.server.requests.clear()
    identity = save_bundle(site, lock, bundle)
    assert files(bundle) == before
    assert server.requests("GET", "*/blobs/*") == []
    assert hub.downloads() == []
    assert save_bundle(site, lock, tmp_path / "another") == identity


def test_what_is_not_needed_any_more_leaves_the_bundle(site: Site, bundle: Path, server: RegistryServer) -> None:
    server.image(VLLM, "nightly", b"new")
    again = resolve(site)
    save_bundle(site, again, bundle)
    names = set(files(bundle))
    assert len([name for name in names if "/blobs/" in name]) == 3
    (bundle / "weights" / "old").mkdir()
    (bundle / "weights" / "old" / "x").write_text("x")
    save_bundle(site, again, bundle)
    assert set(files(bundle)) == names
    assert not (bundle / "weights" / "old").exists()


def test_a_transfer_that_broke_off_goes_on_where_it_was(
    site: Site, lock: Lock, server: RegistryServer, tmp_path: Path
) -> None:
    largest = max(LAYERS, key=len)
    digest = hashlib.sha256(largest).hexdigest()
    server.fault("GET", f"*/blobs/sha256:{digest}", "truncate", times=1)
    server.fault("GET", f"*/blobs/sha256:{digest}", "close", times=99)
    with pytest.raises(BarewindError, match="the registry did not answer"):
        save_bundle(site, lock, tmp_path / "bundle")
    part = tmp_path / "bundle" / "images" / "blobs" / "sha256" / f"{digest}.partial"
    there = part.stat().st_size
    assert 0 < there < len(largest)
    assert not (tmp_path / "bundle" / "SHA256SUMS").exists()

    server.faults.clear()
    server.asked.clear()
    save_bundle(site, lock, tmp_path / "bundle")
    (asked,) = server.requests("GET", f"*/blobs/sha256:{digest}")
    assert asked.range == f"bytes={there}-"
    assert part.with_suffix("").read_bytes() == largest


def test_a_part_that_is_wrong_is_thrown_away(site: Site, lock: Lock, tmp_path: Path) -> None:
    digest = hashlib.sha256(LAYERS[0]).hexdigest()
    part = tmp_path / "bundle" / "images" / "blobs" / "sha256" / f"{digest}.partial"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100_000)
    with pytest.raises(BarewindError, match="is damaged"):
        save_bundle(site, lock, tmp_path / "bundle")
    assert not part.exists()
    save_bundle(site, lock, tmp_path / "bundle")
    assert part.with_suffix("").read_bytes() == LAYERS[0]


def test_a_corrupted_layer_or_file_gets_no_name(
    site: Site, lock: Lock, server: RegistryServer, hub: LocalHub, tmp_path: Path
) -> None:
    directory = tmp_path / "bundle"
    server.fault("GET", "*/blobs/*", "corrupt")
    with pytest.raises(BarewindError, match="is damaged"):
        save_bundle(site, lock, directory)
    hub.fault("*/consolidated.safetensors", "corrupt", times=2)  # it is asked about, then for
    with pytest.raises(
        BarewindError, match=r"consolidated.safetensors from .*: is not what the lock says and was thrown away"
    ):
        save_bundle(site, lock, directory)
    for name, content in files(directory).items():
        if "/blobs/" in name and not name.endswith(".partial"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    assert not [name for name in files(directory) if name.endswith("consolidated.safetensors")]
    save_bundle(site, lock, directory)
    check(directory, quiet())


def test_a_hub_that_is_gone_or_wants_a_token(site: Site, lock: Lock, hub: LocalHub, tmp_path: Path) -> None:
    hub.fault("*/resolve/*", "status", status=403, times=1000)
    with pytest.raises(BarewindError, match=r"cannot be fetched: the hub lets nobody read this .*'hub_token_file'"):
        save_bundle(site, lock, tmp_path / "bundle")


def test_upstream_has_deleted_what_the_mirror_still_has(
    site: Site, lock: Lock, spec: EngineSpec, server: RegistryServer, tmp_path: Path
) -> None:
    with running() as fleets:
        mirrored = spec.model_copy(update={"mirror": fleets.name, "mirror_tls": False})
        with_mirror = Site({spec.host: mirrored}, {}, site.lock_file)
        mirror.fill(mirror.mirrors(with_mirror, lock)[0], "prod", bundle_time(), quiet())
        server.repositories.clear()
        save_bundle(with_mirror, lock, tmp_path / "bundle")
    check(tmp_path / "bundle", quiet())


def bundle_time() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 11, 22, tzinfo=UTC)


def test_what_is_not_locked_is_not_save_bundle(site: Site, tmp_path: Path) -> None:
    with pytest.raises(
        BarewindError, match=r"does not hold image .*:nightly, weights .*@main; run: barewind lock INVENTORY"
    ):
        save_bundle(site, Lock(), tmp_path / "bundle")


def test_a_directory_of_somebody_else_is_left_alone(site: Site, lock: Lock, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(BarewindError, match="holds something else; name an empty directory"):
        save_bundle(site, lock, tmp_path / "home")
    assert list(files(tmp_path / "home")) == ["thesis.tex"]


# --- The list of packages ----------------------------------------------------------------------------------------------


def test_packages_per_kind_of_host_and_system() -> None:
    specs = [
        engine_spec(host="a"),
        engine_spec(host="b", address="192.0.2.12"),
        engine_spec(host="c", accelerator="mi300x"),
        engine_spec(host="d", accelerator="h100", accelerator_drivers="external"),
    ]
    mirror_spec = MirrorSpec(host="m", groups=("mirrors",), address="10.0.0.5", mirror_tls=False)
    kinds = packages.listed(
        Site({spec.host: spec for spec in specs}, {"lb1": balancer_spec()}, "x", {"m": mirror_spec})
    )
    assert [name.partition(",")[0] for name in kinds] == [
        "engine hosts: h200",
        "engine hosts: mi300x",
        "engine hosts: h100",
        "balancers",
        "mirrors",
    ]
    nvidia = kinds["engine hosts: h200, managed drivers, Docker of the distribution"]["ubuntu 22.04"]
    assert nvidia["packages"]["nvidia-container-toolkit"].startswith("1.20.0-")
    assert any(version.startswith("580.126.09") for version in nvidia["packages"].values())
    assert any("developer.download.nvidia.com" in line for line in nvidia["repositories"])
    assert "&id" not in yaml.safe_dump(kinds)
    assert kinds["mirrors"]["debian 12"]["packages"] == {"docker-registry": "*", "nftables": "*"}


def test_the_balancers_packages_are_those_that_are_installed() -> None:
    from barewind.tasks.steps.balancer import PACKAGES

    assert set(packages.BALANCER_PACKAGES) == set(PACKAGES)


# --- Checking ----------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


CHANGES: dict[str, Callable[[Path], object]] = {
    "weights": lambda bundle: flip(bundle / "weights" / REPOSITORY / "resolve" / COMMIT / "consolidated.safetensors"),
    "layer": lambda bundle: flip(max((bundle / "images/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)),
    "index": lambda bundle: flip(bundle / "images" / "index.json"),
    "lock": lambda bundle: flip(bundle / "barewind.lock.yaml"),
    "missing": lambda bundle: (bundle / "weights" / REPOSITORY / "resolve" / COMMIT / "params.json").unlink(),
    "one too many": lambda bundle: (bundle / "weights" / "more.bin").write_text("x"),
    "link": lambda bundle: (bundle / "weights" / "link").symlink_to("/etc/passwd"),
    "no sums": lambda bundle: (bundle / "SHA256SUMS").unlink(),
    "truncated": lambda bundle: (bundle / "packages.yaml").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_bundle_that_is_changed_is_refused(bundle: Path, change: str) -> None:
    assert check(bundle, quiet()).fleet == "prod"
    CHANGES[change](bundle)
    with pytest.raises(BarewindError, match=str(bundle)):
        check(bundle, quiet())


def resum(bundle: Path) -> None:
    """What somebody does who changes a bundle and its checksums with it."""
    names = sorted(name for name in files(bundle) if name != "SHA256SUMS")
    sums = "".join(f"{hashlib.sha256((bundle / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (bundle / "SHA256SUMS").write_text(sums)


@pytest.mark.parametrize("change", ["weights", "layer", "missing"])
def test_changed_files_with_changed_checksums_still_are_not_what_the_lock_says(bundle: Path, change: str) -> None:
    CHANGES[change](bundle)
    resum(bundle)
    with pytest.raises(BarewindError, match=r"is not what its (lock|name) says; nothing of it was used"):
        check(bundle, quiet())


def test_a_bundle_has_an_id_to_compare_by_another_way(bundle: Path, site: Site, lock: Lock) -> None:
    identity = save_bundle(site, lock, bundle)
    assert check(bundle, quiet(), expected=identity.upper()).identity == identity
    with pytest.raises(BarewindError, match=f"is bundle {identity}, not 0000; nothing of it was used"):
        check(bundle, quiet(), expected="0000")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fleet": "x", "format": 2}'])
def test_a_bundle_of_another_format(bundle: Path, text: str) -> None:
    (bundle / "bundle.json").write_text(text)
    resum(bundle)
    with pytest.raises(BarewindError, match=r"is not what a bundle has|is of format 2, this Barewind reads 1"):
        check(bundle, quiet())


def test_a_bundle_without_its_layer(bundle: Path) -> None:
    max((bundle / "images/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size).unlink()
    resum(bundle)
    with pytest.raises(BarewindError, match=r"is missing; image .* is not complete; nothing of it was used"):
        check(bundle, quiet())


# --- Loading -----------------------------------------------------------------------------------------------------------


def test_images_reach_a_mirror_as_if_it_had_been_filled_from_upstream(
    bundle: Path, spec: EngineSpec, site: Site, lock: Lock, server: RegistryServer
) -> None:
    with running() as online, running() as offline:
        for target in (online, offline):
            with_mirror = Site(
                {spec.host: spec.model_copy(update={"mirror": target.name, "mirror_tls": False})}, {}, "x"
            )
            (filled,) = mirror.mirrors(with_mirror, lock)
            if target is online:
                mirror.fill(filled, "prod", bundle_time(), quiet())
            else:
                server.repositories.clear()  # there is no network
                push(check(bundle, quiet()), filled, bundle_time(), quiet())
        assert offline.repositories == online.repositories
        offline.asked.clear()
        push(check(bundle, quiet()), filled, bundle_time(), quiet())
        assert {request.method for request in offline.asked} == {"GET", "HEAD"}


def test_a_registry_named_by_hand_gets_every_image(bundle: Path, server: RegistryServer) -> None:
    with running() as target:
        push(check(bundle, quiet()), Mirror(target.name, True, None, 10**6), bundle_time(), quiet())
        assert list(target.repositories) == [f"{server.name.replace(':', '-')}/{VLLM}"]


def test_weights_are_put_where_hosts_find_them(bundle: Path, tmp_path: Path) -> None:
    checked = check(bundle, quiet())
    put_weights(checked, tmp_path / "nfs", quiet())
    target = tmp_path / "nfs" / REPOSITORY / "resolve" / COMMIT
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {name: FILES[name] for name in WANTED}
    (manifest,) = checked.lock.weights
    mounted = tmp_path / "nfs" / manifest.place
    assert mounted.resolve() == target.resolve()
    assert not mounted.readlink().is_absolute()

    flip(target / "consolidated.safetensors")
    (target / "tekken.json.partial").write_text("half")
    before = (target / "params.json").stat().st_mtime_ns
    put_weights(checked, tmp_path / "nfs", quiet())
    assert (target / "consolidated.safetensors").read_bytes() == FILES["consolidated.safetensors"]
    assert (target / "params.json").stat().st_mtime_ns == before


def test_weights_that_change_on_their_way_get_no_name(bundle: Path, tmp_path: Path) -> None:
    checked = check(bundle, quiet())
    CHANGES["weights"](bundle)
    with pytest.raises(BarewindError, match="changed on its way and was thrown away"):
        put_weights(checked, tmp_path / "nfs", quiet())
    assert not [name for name in files(tmp_path / "nfs") if "consolidated" in name]


def test_weights_for_which_there_is_no_room(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "nfs").write_text("a file")
    with pytest.raises(BarewindError, match="Not a directory; free space there, or name another directory"):
        put_weights(check(bundle, quiet()), tmp_path / "nfs", quiet())


def test_a_site_without_a_lock_gets_the_bundles(bundle: Path, site: Site, lock: Lock) -> None:
    Path(site.lock_file).unlink()
    checked = check(bundle, quiet())
    assert agree(checked, site)
    assert lock_file.read(site.lock_file) == lock
    assert not agree(checked, site)


def test_a_site_that_is_locked_to_something_else_refuses_the_bundle(
    bundle: Path, site: Site, lock: Lock, server: RegistryServer
) -> None:
    checked = check(bundle, quiet())
    server.image(VLLM, "nightly", b"new")
    lock_file.write(resolve(site), site.lock_file)
    before = Path(site.lock_file).read_text()
    with pytest.raises(
        BarewindError, match=r"does not hold what .*lock.yaml says: image .* locked, .* in the bundle. Nothing"
    ):
        agree(checked, site)
    assert Path(site.lock_file).read_text() == before


def test_a_layout_tells_what_is_missing(tmp_path: Path) -> None:
    empty = layout.Layout(tmp_path)
    with pytest.raises(BarewindError, match="No such file or directory; the bundle is not complete"):
        empty.manifest("sha256:" + "0" * 64)
    with pytest.raises(BarewindError, match="No such file or directory; the bundle is not complete"):
        list(empty.read(repository.Blob("sha256:" + "0" * 64, 1)))
    assert about.FORMAT == 1
