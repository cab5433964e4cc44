"""Requests to a registry: authorization, patience while it is busy, and errors that say what to do."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Iterable, Mapping
from urllib.parse import urljoin

import requests

from barewind.errors import BarewindError
from barewind.registry import dialed
from barewind.registry.auth import authorization
from barewind.registry.logins import credentials, helper
from barewind.registry.reference import DOCKER_HUB

_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
_ATTEMPTS = 4  # of a request that a registry was too busy for
_PATIENCE = 120  # seconds to wait at most when a registry says how long
_BUSY = (429, 502, 503, 504)
sleep = time.sleep  # tests do not wait


class RegistryError(BarewindError):
    """A registry cannot do what was asked."""


class NotThere(RegistryError):
    """The registry has no such tag, digest or blob."""


class Refused(RegistryError):
    """The registry answered that it does not do this."""


class Unreachable(RegistryError):
    """The registry did not answer, or broke off."""


class Connection:
    """Requests to one registry. May be used by several threads."""

    def __init__(
        self,
        registry: str,
        *,
        plain: bool = False,
        ca: str | None = None,
        dial: dialed.Dial | None = None,
        subject: str = "",
        hint: str = "",
        login: str | None = None,
        scope: str = "",
    ) -> None:
        """`subject` begins the messages of errors; `hint` is added when nothing answers.

        `ca` is a file of certificates, `login` one that holds user:password, read when the registry asks for it. `dial` opens
        the connections, where the registry's address leads elsewhere. `scope` is what tokens are for (`repository:NAME`).
        """
        host = "registry-1.docker.io" if registry == DOCKER_HUB else registry
        self.registry = registry
        self.subject = subject or f"registry {registry}"
        self.base = f"{'http' if plain else 'https'}://{host}"
        self._hint = hint or "check its name and the network, and 'insecure_registries' if it speaks plain HTTP"
        self._ca = ca
        self._login = login
        self._plain = plain
        self._scope = scope
        self._dial = dial
        self._header: str | None = None
        self._local = threading.local()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        stream: bool = False,
        expected: Iterable[int] = (200,),
    ) -> requests.Response:
        """Send a request; `url` may be relative. A body that is no bytes is sent once, whatever the answer.

        Raises:
            NotThere: status 404.
            Refused: another status than those expected.
            Unreachable: no answer.
        """
        target = urljoin(self.base, url)
        challenged = False
        attempt = 0
        while True:
            answer = self._once(method, target, headers or {}, body, stream)
            if answer.status_code in expected:
                return answer
            repeatable = body is None or isinstance(body, bytes)
            if answer.status_code == 401 and repeatable and not challenged:
                challenged = True
                self._answer_challenge(answer, "pull" if method in ("GET", "HEAD") else "pull,push")
                continue
            attempt += 1
            wait = _wait(answer, attempt)
            if answer.status_code in _BUSY and repeatable and attempt < _ATTEMPTS and wait <= _PATIENCE:
                answer.close()
                sleep(wait)
                continue
            with answer:
                raise self._error(answer, wait)

    def unreachable(self, error: Exception) -> Unreachable:
        """The error of a connection that failed."""
        return Unreachable(f"{self.subject}: the registry did not answer ({_kind(error)}); {self._hint}.")

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None, stream: bool
    ) -> requests.Response:
        try:
            return self._session().request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                data=body,
                auth=self._authorize,
                stream=stream,
                timeout=_TIMEOUT,
                verify=self._ca or True,
            )
        except requests.RequestException as error:
            raise self.unreachable(error) from error
        except OSError as error:  # a certificate file that is not there
            raise Unreachable(f"{self.subject}: {error}; correct 'mirror_ca'.") from error

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = dialed.session(self._dial) if self._dial else requests.Session()
        session: requests.Session = self._local.session
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header is not None and str(request.url).startswith(self.base):  # an upload may go elsewhere
            request.headers["Authorization"] = self._header
        return request

    def _answer_challenge(self, answer: requests.Response, actions: str) -> None:
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer.close()
        try:
            self._header = authorization(
                self._session(),
                self.registry,
                challenge,
                scope=f"{self._scope}:{actions}" if self._scope else "",
                login_file=self._login,
                plain=self._plain,
            )
        except (requests.RequestException, ValueError) as error:
            if _kind(error) == "429":
                raise Refused(
                    f"{self.subject}: the token server has had too many requests (429); log in (registry_logins), or try "
                    "again later."
                ) from error
            raise Refused(f"{self.subject}: no token could be had ({_kind(error)}); {self._access()}.") from error

    def _access(self) -> str:
        """What to do about access, by whose login was shown."""
        if self._login is not None:
            return f"check the login in {self._login} (registry_logins): its rights to this repository, whether it has run out"
        if credentials(self.registry) is not None:
            left = "what `docker login` left on this machine was shown"
            return f"check access to it: {left}; log in anew, or name a login (registry_logins)"
        program = helper(self.registry)
        asked = f"; {program}, which docker asks here, is not asked" if program else ""
        return f"check access to it: no login was shown{asked}; name one (registry_logins: a file that holds user:password)"

    def _error(self, answer: requests.Response, wait: float) -> RegistryError:
        if answer.status_code == 404:
            return NotThere(
                f"{self.subject}: the registry has no such tag or digest; correct 'image' or the lock file."
            )
        detail = _detail(answer)
        status = f"{answer.status_code} ({detail})" if detail else str(answer.status_code)
        if answer.status_code == 405:
            return Refused(
                f"{self.subject}: the registry answered {status}: it can only be read at this address. A host of the group "
                "'mirrors' is filled over SSH (barewind mirror INVENTORY, or barewind bundle load DIRECTORY --to INVENTORY), if "
                "'mirror' names it by its address."
            )
        if answer.status_code == 429:
            later = f"try again in {wait:.0f} s" if wait > _PATIENCE else "try again later"
            return Refused(
                f"{self.subject}: the registry answered {status}; check access to it: log in (registry_logins), or {later}."
            )
        if answer.status_code in (401, 403):
            return Refused(f"{self.subject}: the registry answered {status}; {self._access()}.")
        advice = "check access to it" if answer.status_code < 500 else "its log says why; look at its disk first"
        return Refused(f"{self.subject}: the registry answered {status}; {advice}.")


def _wait(answer: requests.Response, attempt: int) -> float:
    """Seconds until the next attempt: those that the registry names, or twice as many each time."""
    retry_after = answer.headers.get("Retry-After", "")
    if retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return float(2 ** (attempt - 1))


def _kind(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return str(response.status_code)
    return str(error) if type(error) is ValueError else type(error).__name__


def _detail(answer: requests.Response) -> str:
    """The registry's own message, where the specification has it."""
    try:
        first = answer.json()["errors"][0]
        message = f"{first.get('message') or first.get('code')} {first.get('detail') or ''}"
        return " ".join(message.split())[:300]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, requests.RequestException):
        return ""
