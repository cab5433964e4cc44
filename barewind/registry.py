"""Registries: the digest a registry holds for a reference (OCI distribution API, token authentication)."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import requests

from barewind import images
from barewind.errors import BarewindError
from barewind.lock import LockedImage

_MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_TIMEOUT = 30  # seconds per request to a registry


def resolve(reference: str, *, insecure_registries: tuple[str, ...] = (), platform: str = "amd64") -> LockedImage:
    """Ask the registry for the digest behind a reference.

    Raises:
        BarewindError: the registry cannot be reached, refuses, or has no such image.
    """
    image = images.parse(reference)
    scheme = "http" if image.registry in insecure_registries else "https"
    host = "registry-1.docker.io" if image.registry == images.DOCKER_HUB else image.registry
    base = f"{scheme}://{host}/v2/{image.repository}"
    with requests.Session() as session:
        answer = _get(session, f"{base}/manifests/{image.digest or image.tag}", reference)
        digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()  # what a digest is, whatever a header says
        manifest = _document(answer, reference)
        if "manifests" in manifest:  # a multi-platform index: the size is that of our platform
            for entry in manifest["manifests"]:
                if entry.get("platform", {}).get("architecture") == platform:
                    manifest = _document(_get(session, f"{base}/manifests/{entry['digest']}", reference), reference)
                    break
            else:
                raise BarewindError(f"image {reference}: has no {platform} variant; name an image that has one.")
        environment = _environment(session, base, manifest, reference)
        return LockedImage(
            digest=digest,
            size=sum(layer["size"] for layer in manifest.get("layers", [])),
            cuda=environment.get("CUDA_VERSION"),  # set by the vendors' base images
            rocm=environment.get("ROCM_VERSION"),
        )


def _environment(session: requests.Session, base: str, manifest: dict[str, Any], reference: str) -> dict[str, str]:
    """The environment of the image's configuration; empty where the manifest names none."""
    digest = manifest.get("config", {}).get("digest")
    if digest is None:
        return {}
    answer = _get(session, f"{base}/blobs/{digest}", reference)
    if "sha256:" + hashlib.sha256(answer.content).hexdigest() != digest:
        raise BarewindError(f"image {reference}: its configuration is not what its digest says; lock again.")
    lines = _document(answer, reference).get("config", {}).get("Env") or []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _get(session: requests.Session, url: str, reference: str) -> requests.Response:
    try:
        answer = session.get(url, headers={"Accept": _MANIFEST_TYPES}, timeout=_TIMEOUT)
        if answer.status_code == 401 and "Authorization" not in session.headers:
            session.headers["Authorization"] = f"Bearer {_token(session, answer.headers.get('WWW-Authenticate', ''))}"
            answer = session.get(url, headers={"Accept": _MANIFEST_TYPES}, timeout=_TIMEOUT)
    except requests.RequestException as error:
        raise BarewindError(
            f"image {reference}: the registry did not answer ({type(error).__name__}); check its name and the network, "
            "and 'insecure_registries' if it speaks plain HTTP."
        ) from error
    if answer.status_code == 404:
        raise BarewindError(
            f"image {reference}: the registry has no such tag or digest; correct 'image' or the lock file."
        )
    if not answer.ok:
        raise BarewindError(f"image {reference}: the registry answered {answer.status_code}; check access to it.")
    return answer


def _document(answer: requests.Response, reference: str) -> dict[str, Any]:
    try:
        return dict(answer.json())
    except (ValueError, TypeError) as error:
        raise BarewindError(f"image {reference}: what answered is no registry (no JSON); check the name.") from error


def _token(session: requests.Session, challenge: str) -> str:
    """An anonymous pull token, as the registry's challenge says (token authentication specification)."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = fields.pop("realm", None)
    if not challenge.lower().startswith("bearer ") or realm is None:
        return ""
    answer = session.get(realm, params=fields, timeout=_TIMEOUT)
    answer.raise_for_status()
    document = answer.json()
    return str(document.get("token") or document.get("access_token") or "")
