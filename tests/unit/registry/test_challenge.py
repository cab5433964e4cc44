"""What registries ask for, as their public answers have it; headers of one name stand behind each other, as HTTP has it."""

from __future__ import annotations

import pytest

from barewind.registry.challenge import read

BEARER = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"'
TOKEN = {"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:a/b:pull"}
BASIC = 'Basic realm="Registry Realm"'


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        (BEARER, [("bearer", TOKEN)]),
        (f"{BASIC}, {BEARER}", [("basic", {"realm": "Registry Realm"}), ("bearer", TOKEN)]),
        (f"{BEARER}, {BASIC}", [("bearer", TOKEN), ("basic", {"realm": "Registry Realm"})]),
        (f"{BEARER},{BASIC}", [("bearer", TOKEN), ("basic", {"realm": "Registry Realm"})]),
        ("Basic", [("basic", {})]),
        ("Negotiate, Basic", [("negotiate", {}), ("basic", {})]),
        ("Negotiate YII==, Basic realm=x", [("negotiate", {"yii": "="}), ("basic", {"realm": "x"})]),
        ("bearer realm = https://r/token , service = r", [("bearer", {"realm": "https://r/token", "service": "r"})]),
        (
            'Bearer Realm="https://r/t?a=b,c",error="invalid_token"',
            [("bearer", {"realm": "https://r/t?a=b,c", "error": "invalid_token"})],
        ),
        (
            r'Basic realm="the \"old\" one", Bearer realm="x"',
            [("basic", {"realm": 'the "old" one'}), ("bearer", {"realm": "x"})],
        ),
        # Harbor, GitLab, ECR, ACR, GHCR
        (
            'Bearer realm="https://harbor.example/service/token",service="harbor-registry",scope="repository:p/a:pull"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://harbor.example/service/token",
                        "service": "harbor-registry",
                        "scope": "repository:p/a:pull",
                    },
                )
            ],
        ),
        (
            'Bearer realm="https://gitlab.example/jwt/auth",service="container_registry",scope="repository:g/p:pull"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://gitlab.example/jwt/auth",
                        "service": "container_registry",
                        "scope": "repository:g/p:pull",
                    },
                )
            ],
        ),
        (
            'Basic realm="https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/",service="ecr.amazonaws.com"',
            [
                (
                    "basic",
                    {
                        "realm": "https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/",
                        "service": "ecr.amazonaws.com",
                    },
                )
            ],
        ),
        (
            'Bearer realm="https://lab.azurecr.io/oauth2/token",service="lab.azurecr.io",scope="repository:a:metadata_read"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://lab.azurecr.io/oauth2/token",
                        "service": "lab.azurecr.io",
                        "scope": "repository:a:metadata_read",
                    },
                )
            ],
        ),
        ('realm="x", Basic', [("basic", {})]),
        ('"', []),
    ],
)
def test_challenges(header: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    assert [(challenge.scheme, dict(challenge.parameters)) for challenge in read(header)] == challenges
