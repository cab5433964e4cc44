"""The wire to a registry: authorization, patience with one that is busy, and errors that say what to do."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Iterable, Mapping
from urllib.parse import urljoin

import requests

from barewind import images
from barewind.errors import BarewindError
from barewind.registry.auth import authorization

_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
_ATTEMPTS = 4  # of a request that a registry was too busy for
_PATIENCE = 120  # seconds to wait at most when a registry says how long
_BUSY = (429, 502, 503, 504)
sleep = time.sleep  # tests do not wait


class RegistryError(BarewindError):
    """A registry cannot do what was asked."""


class NotThere(RegistryError):
    """It has no such tag, digest or blob."""


class Refused(RegistryError):
    """It answered, but no."""


class Unreachable(RegistryError):
    """It did not answer, or broke off."""


class Connection:
    """Requests to one registry, as one of them needs it: one token at a time. May be used by several threads."""

    def __init__(
        self, registry: str, *, plain: bool = False, ca: str | None = None, what: str = "", hint: str = ""
    ) -> None:
        """`what` is what errors speak of; `hint` what they add when nothing answers; `ca` a file of certificates."""
        host = "registry-1.docker.io" if registry == images.DOCKER_HUB else registry
        self.registry = registry
        self.what = what or f"registry {registry}"
        self.base = f"{'http' if plain else 'https'}://{host}"
        self._hint = hint or "check its name and the network, and 'insecure_registries' if it speaks plain HTTP"
        self._ca = ca
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
            again = body is None or isinstance(body, bytes)
            if answer.status_code == 401 and again and not challenged:
                challenged = True
                self._answer_challenge(answer)
                continue
            attempt += 1
            wait = _wait(answer, attempt)
            if answer.status_code in _BUSY and again and attempt < _ATTEMPTS and wait <= _PATIENCE:
                answer.close()
                sleep(wait)
                continue
            with answer:
                raise self._error(answer, wait)

    def unreachable(self, error: Exception) -> Unreachable:
        """What to say when a connection failed."""
        return Unreachable(f"{self.what}: the registry did not answer ({_kind(error)}); {self._hint}.")

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
            raise Unreachable(f"{self.what}: {error}; correct 'mirror_ca'.") from error

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header is not None and str(request.url).startswith(self.base):  # an upload may go elsewhere
            request.headers["Authorization"] = self._header
        return request

    def _answer_challenge(self, answer: requests.Response) -> None:
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer.close()
        try:
            self._header = authorization(self._session(), self.registry, challenge)
        except (requests.RequestException, ValueError) as error:
            raise Refused(f"{self.what}: no token could be had ({_kind(error)}); check access to it.") from error

    def _error(self, answer: requests.Response, wait: float) -> RegistryError:
        if answer.status_code == 404:
            return NotThere(f"{self.what}: the registry has no such tag or digest; correct 'image' or the lock file.")
        detail = _detail(answer)
        said = f"{answer.status_code} ({detail})" if detail else str(answer.status_code)
        if answer.status_code == 429:
            later = f"try again in {wait:.0f} s" if wait > _PATIENCE else "try again later"
            return Refused(
                f"{self.what}: the registry answered {said}; check access to it: log in (docker login), or {later}."
            )
        advice = "check access to it" if answer.status_code < 500 else "its log says why; look at its disk first"
        return Refused(f"{self.what}: the registry answered {said}; {advice}.")


def _wait(answer: requests.Response, attempt: int) -> float:
    """Seconds until the next attempt: what the registry says, or twice as long each time."""
    said = answer.headers.get("Retry-After", "")
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return float(2 ** (attempt - 1))


def _kind(error: Exception) -> str:
    response = getattr(error, "response", None)
    return type(error).__name__ if response is None else str(response.status_code)


def _detail(answer: requests.Response) -> str:
    """The registry's own words, as the specification has them."""
    try:
        first = answer.json()["errors"][0]
        said = f"{first.get('message') or first.get('code')} {first.get('detail') or ''}"
        return " ".join(said.split())[:300]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, requests.RequestException):
        return ""
