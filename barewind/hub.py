"""The model hub: which files a revision has, with size and SHA-256 (Hugging Face API)."""

from __future__ import annotations

import hashlib
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from barewind.errors import BarewindError
from barewind.weights import Manifest, WeightFile


def resolve(
    model: str, revision: str, layout: str, patterns: tuple[str, ...], *, endpoint: str, token: str | None
) -> Manifest:
    """Ask the hub which files a revision has, and hash those it gives no SHA-256 for (the small ones).

    Raises:
        BarewindError: the hub cannot be reached, or has no such repository, revision or file.
    """
    api = HfApi(endpoint=endpoint, token=token or False)
    where = f"{model}@{revision} on {endpoint}"
    try:
        info = api.model_info(model, revision=revision, files_metadata=True)
        chosen = [file for file in info.siblings or [] if any(fnmatch(file.rfilename, one) for one in patterns)]
        if not chosen:
            raise BarewindError(
                f"weights {where}: no file of the {layout} layout ({', '.join(patterns)}); check the model id."
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
    except RevisionNotFoundError as error:
        raise BarewindError(
            f"weights {where}: no such revision; correct 'model_revision' or 'draft_revision'."
        ) from error
    except RepositoryNotFoundError as error:
        raise BarewindError(
            f"weights {where}: no such repository, or it is gated and the token does not open it; check the id and "
            "'hub_token_file'."
        ) from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise BarewindError(
            f"weights {where}: the hub did not answer ({type(error).__name__}); check 'hub_endpoint' and the network."
        ) from error
    return Manifest(model=model, requested=revision, revision=str(info.sha), layout=layout, files=files)
