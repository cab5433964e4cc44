"""The model hub: which files a revision has, with size and SHA-256 (Hugging Face API)."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from barewind.catalog import Layout
from barewind.errors import BarewindError
from barewind.lock.manifest import Manifest, WeightFile, lacking
from barewind.secrets import concealed

_WEIGHTS = ".safetensors"
# How a question to the hub fails; ValueError: what answered is no JSON, or other JSON than the hub's.
FAILURES = (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError, TypeError, KeyError, AttributeError)


def resolve(
    model: str, revision: str, layout: Layout, patterns: tuple[str, ...], *, endpoint: str, token: str | None
) -> Manifest:
    """The manifest of a revision as the hub lists it; files without a SHA-256 there (the small ones) are fetched and hashed.

    Raises:
        BarewindError: the hub cannot be reached, or has no such repository, revision or file.
    """
    api = HfApi(endpoint=endpoint, token=token or False)
    subject = f"{model}@{revision} on {endpoint}"
    try:
        info = api.model_info(model, revision=revision, files_metadata=True)
        chosen = [file for file in info.siblings or [] if any(fnmatch(file.rfilename, pattern) for pattern in patterns)]
        if not chosen:
            raise BarewindError(
                f"weights {subject}: no file of the {layout} layout ({', '.join(patterns)}); check the model id."
            )
        if missing := lacking([file.rfilename for file in chosen], patterns):
            others = sorted(
                file.rfilename
                for file in info.siblings or []
                if file not in chosen and file.rfilename.endswith(_WEIGHTS)
            )
            held = f"; it has weights in another layout ({', '.join(others[:3])})" if others else ""
            raise BarewindError(
                f"weights {subject}: no complete {layout} layout: no file is called {' or '.join(missing)}{held}; name another "
                "repository or revision, or an engine that loads what is there."
            )
        files: dict[str, WeightFile] = {}
        with tempfile.TemporaryDirectory() as scratch:
            for file in chosen:
                if file.lfs is not None:
                    files[file.rfilename] = WeightFile(size=file.lfs.size, sha256=file.lfs.sha256)
                else:
                    path = Path(api.hf_hub_download(model, file.rfilename, revision=info.sha, local_dir=scratch))
                    content = path.read_bytes()
                    files[file.rfilename] = WeightFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    except FAILURES as error:
        raise BarewindError(f"weights {subject}: {explained(error, with_token=token is not None)}.") from error
    return Manifest(model=model, requested=revision, revision=str(info.sha), layout=layout, files=files)


def explained(error: Exception, *, with_token: bool) -> str:
    """What a failure of a question to the hub means, and what to do about it; without a full stop."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        return explained(
            error.__cause__, with_token=with_token
        )  # the client looks for a copy of its own before it says why
    told = _told(error)
    token = "'hub_token_file'" if with_token else "'hub_token_file' (no token was shown)"
    if isinstance(error, RevisionNotFoundError):
        return "no such revision; correct 'model_revision' or 'draft_revision'"
    if isinstance(error, DisabledRepoError):
        return f"the hub has disabled this repository{told}; name another one"
    if isinstance(error, GatedRepoError):
        accept = "ask for access on its page on the hub with the token's account, then lock again"
        return f"the repository is gated, and this token does not open it{told}; {accept}; check {token}"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
    if isinstance(error, RepositoryNotFoundError) or (status == 401 and not with_token):
        return f"no such repository, or it is gated and the token does not open it; check the id and {token}"
    if status == 401:
        return f"the hub does not take the token{told}: it is wrong, revoked or has run out; write a new one to {token}"
    if status == 403 and not with_token:
        return (
            f"the hub lets nobody read this repository without a token{told}; name the file of one in 'hub_token_file'"
        )
    if status == 403:
        rights = "a fine-grained token must name this repository, or be allowed to read public gated ones"
        return f"the token may not read this repository{told}; {rights}; check {token}"
    if status == 429:
        waited = _wait(error.response.headers) if isinstance(error, HfHubHTTPError) else ""
        return f"the hub has had too many requests from here{told}; try again {waited}; with a token it takes more: {token}"
    if status is not None and status >= 500:
        return f"the hub did not answer, or fails itself ({status}{told}); try again later, or check 'hub_endpoint'"
    if status is not None:
        return f"the hub refuses with {status}{told}; check the id and 'hub_endpoint'"
    if isinstance(error, ValueError | TypeError | KeyError | AttributeError):
        return "what answered is no hub (no JSON of one): a proxy's or a login page; check 'hub_endpoint' and what stands between"
    return f"the hub did not answer ({type(error).__name__}); check 'hub_endpoint' and the network"


def _told(error: Exception) -> str:
    """The hub's own words in brackets, if any."""
    response = error.response if isinstance(error, HfHubHTTPError) else None
    words = " ".join(str(response.headers.get("X-Error-Message", "")).split()) if response is not None else ""
    return f" ({concealed(words[:200])})" if words else ""


def _wait(headers: Mapping[str, str]) -> str:
    """When the hub says that it can be asked again: seconds of Retry-After, or of the draft's `RateLimit: ...;t=55`."""
    given = re.fullmatch(r"(\d{1,6})|.*;t=(\d{1,6}).*", headers.get("Retry-After") or headers.get("RateLimit") or "")
    return f"in {given[1] or given[2]} s" if given else "in some minutes"
