"""The lab's hub against the real huggingface_hub client, on 127.0.0.1."""

import hashlib
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lab.services import hub

pytestmark = pytest.mark.slow


NAME = "barewind-lab/Some-Model"
REVISION = "ab" * 20
LARGE = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[hub.Hub]:
    folder = tmp_path / "models" / NAME
    folder.mkdir(parents=True)
    (folder / "params.json").write_text("{}\n")
    (folder / "consolidated.safetensors").write_bytes(LARGE)
    index = hub.index(tmp_path / "models", {NAME: REVISION})
    (tmp_path / "models" / "index.json").write_text(json.dumps(index))
    made = hub.Hub(("127.0.0.1", 0), tmp_path / "models")
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def endpoint(server: hub.Hub) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def api(endpoint: str) -> HfApi:
    return HfApi(endpoint=endpoint, token=False)


def download(endpoint: str, tmp_path: Path, file: str = "consolidated.safetensors", revision: str = REVISION) -> Path:
    return Path(
        hf_hub_download(NAME, file, revision=revision, endpoint=endpoint, cache_dir=tmp_path / "cache", token=False)
    )


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as response:  # noqa: S310 - the hub of this test
        return response.status, dict(response.headers), response.read()


@pytest.mark.parametrize("revision", ["main", REVISION])
def test_model_info_tells_sizes_and_digests(api: HfApi, revision: str) -> None:
    info = api.model_info(NAME, revision=revision, files_metadata=True)
    assert info.sha == REVISION
    files = {sibling.rfilename: sibling for sibling in info.siblings or []}
    large, small = files["consolidated.safetensors"], files["params.json"]
    assert large.size == len(LARGE)
    assert large.lfs is not None
    assert large.lfs.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert large.lfs.size == len(LARGE)
    assert small.lfs is None
    assert small.size == 3
    assert small.blob_id == hashlib.sha1(b"blob 3\0{}\n").hexdigest()  # noqa: S324 - git's own


def test_model_info_without_blobs_names_files_only(api: HfApi) -> None:
    siblings = api.model_info(NAME).siblings or []
    assert {sibling.rfilename for sibling in siblings} == {"params.json", "consolidated.safetensors"}
    assert all(sibling.size is None for sibling in siblings)


def test_tree_lists_every_file(api: HfApi) -> None:
    sizes = {entry.path: entry.size for entry in api.list_repo_tree(NAME, recursive=True)}  # type: ignore[union-attr]
    assert sizes == {"params.json": 3, "consolidated.safetensors": len(LARGE)}


def test_download_of_one_file(endpoint: str, tmp_path: Path) -> None:
    path = download(endpoint, tmp_path)
    assert path.read_bytes() == LARGE
    assert REVISION in path.parts


def test_snapshot_takes_what_is_asked(endpoint: str, tmp_path: Path) -> None:
    folder = snapshot_download(
        NAME, revision="main", endpoint=endpoint, local_dir=tmp_path / "here", allow_patterns=["*.json"], token=False
    )
    assert sorted(path.name for path in Path(folder).iterdir() if path.is_file()) == ["params.json"]


def test_errors_are_the_clients_own(api: HfApi, endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("barewind-lab/Other")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(NAME, revision="cd" * 20)
    with pytest.raises(EntryNotFoundError):
        download(endpoint, tmp_path, "missing.json")


@pytest.mark.parametrize(
    ("asked", "content"),
    [("bytes=0-9", LARGE[:10]), ("bytes=2097142-", LARGE[-10:]), ("bytes=-10", LARGE[-10:])],
)
def test_ranges(endpoint: str, asked: str, content: bytes) -> None:
    url = f"{endpoint}/{NAME}/resolve/main/consolidated.safetensors"
    status, headers, body = get(url, Range=asked)
    assert (status, body) == (206, content)
    assert headers["Content-Range"].endswith(f"/{len(LARGE)}")


def test_range_beyond_the_end(endpoint: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="416"):
        get(f"{endpoint}/{NAME}/resolve/main/params.json", Range="bytes=100-")


def test_headers_of_a_large_file(endpoint: str) -> None:
    _, headers, _ = get(f"{endpoint}/{NAME}/resolve/main/consolidated.safetensors")
    digest = f'"{hashlib.sha256(LARGE).hexdigest()}"'
    assert headers["ETag"] == headers["X-Linked-Etag"] == digest
    assert headers["X-Linked-Size"] == str(len(LARGE))
    assert headers["X-Repo-Commit"] == REVISION
    assert not [name for name in headers if name.lower().startswith("x-xet")]


def test_corrupt_bytes_as_often_as_asked(server: hub.Hub, endpoint: str) -> None:
    server.faults.append({"path": "*/consolidated.safetensors", "kind": "corrupt", "times": 1})
    url = f"{endpoint}/{NAME}/resolve/main/consolidated.safetensors"
    assert get(url)[2] != LARGE
    assert get(url)[2] == LARGE


def test_status_fault(server: hub.Hub, api: HfApi) -> None:
    server.faults.append({"path": "/api/models/*", "kind": "status", "status": 503, "times": 1})
    with pytest.raises(HfHubHTTPError):
        api.model_info(NAME)
    assert api.model_info(NAME).sha == REVISION


def test_requests_are_recorded(server: hub.Hub, endpoint: str) -> None:
    get(f"{endpoint}/{NAME}/resolve/main/params.json")
    assert [(seen["method"], seen["status"]) for seen in server.requests] == [("GET", 200)]
    status, _, body = get(f"{endpoint}/_lab/requests")
    assert status == 200
    assert len(json.loads(body)) == 1


def test_gated_repository_wants_the_token(tmp_path: Path) -> None:
    name = hub.GATED[0]
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True)
    (folder / "params.json").write_text("{}")
    (tmp_path / "models" / "index.json").write_text(json.dumps(hub.index(tmp_path / "models", {name: "0" * 40})))
    made = hub.Hub(("127.0.0.1", 0), tmp_path / "models", token="right")
    threading.Thread(target=made.serve_forever, daemon=True).start()
    api = HfApi(endpoint=f"http://127.0.0.1:{made.server_address[1]}", token=False)
    try:
        assert api.model_info(name).sha == "0" * 40
        with pytest.raises(GatedRepoError):
            api.hf_hub_download(name, "params.json", local_dir=tmp_path / "without")
        with pytest.raises(GatedRepoError):
            api.hf_hub_download(name, "params.json", local_dir=tmp_path / "wrong", token="wrong")
        assert (
            Path(api.hf_hub_download(name, "params.json", local_dir=tmp_path / "x", token="right")).read_text() == "{}"
        )
    finally:
        made.shutdown()
