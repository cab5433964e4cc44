"""Access to a registry: the header that its challenge asks for."""

from __future__ import annotations

import requests

from barewind.registry import challenge as challenges
from barewind.registry.challenge import Challenge
from barewind.registry.logins import LOGINS_KEY, Login, credentials, encoded
from barewind.secrets import read_login

_TIMEOUT = 30  # seconds
_CLIENT = "barewind"


def authorization(
    session: requests.Session,
    registry: str,
    challenge: str,
    *,
    scope: str = "",
    login_file: str | None = None,
    plain: bool = False,
) -> str | None:
    """The Authorization header that a challenge asks for, or None where there is nothing to offer.

    Without credentials the token is an anonymous one, which public images are pulled with. Of several ways Bearer is taken.

    + challenge: the value of WWW-Authenticate
    + scope: what a token is for where the challenge does not say, such as `repository:NAME:pull`
    + login_file: file on this machine that holds user:password, instead of what `docker login` left
    + plain: the registry speaks plain HTTP, and so may its token server

    Raises:
        requests.RequestException: the token server does not answer, or refuses.
        ValueError: the token server would get the password over plain HTTP, or what it answered holds no token.
        BarewindError: the file cannot be read, or others can read it.
    """
    asked = challenges.read(challenge)
    login = credentials(registry) if login_file is None else Login(*read_login(LOGINS_KEY, login_file))
    for wanted in asked:
        if wanted.scheme == "bearer" and wanted.realm:
            return f"Bearer {_token(session, wanted, scope, login, plain=plain)}"
    if login is not None and login.password and any(wanted.scheme == "basic" for wanted in asked):
        return "Basic " + encoded(login.user, login.password)
    return None


def _token(session: requests.Session, challenge: Challenge, scope: str, login: Login | None, *, plain: bool) -> str:
    """A token of a Bearer challenge's server (distribution.github.io/distribution/spec/auth/token and .../auth/oauth)."""
    if login is not None and not plain and not challenge.realm.startswith("https://"):
        raise ValueError("the token server speaks plain HTTP")
    given = challenge.parameters
    fields = {name: given[name] for name in ("service", "scope") if given.get(name)}
    if scope:
        fields.setdefault("scope", scope)
    if login is not None and login.identity_token:
        form = {"grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": _CLIENT, **fields}
        answer = session.post(challenge.realm, data=form, auth=_Anonymous(), timeout=_TIMEOUT)
    else:
        user = (login.user, login.password) if login is not None else _Anonymous()
        answer = session.get(challenge.realm, params=fields, auth=user, timeout=_TIMEOUT)
    answer.raise_for_status()
    document = answer.json()
    token = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    if not isinstance(token, str):
        raise ValueError("the token server answered without a token")  # noqa: TRY004 - callers wait for this one
    return token


class _Anonymous(requests.auth.AuthBase):
    """Keeps requests from adding what a .netrc says."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request
