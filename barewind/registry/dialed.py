"""HTTP over connections that somebody else opens: to a registry that only its own host reaches."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError

Dial = Callable[[], socket.socket]  # opens a connection, or raises OSError


def session(dial: Dial) -> requests.Session:
    """A session whose plain HTTP goes over connections that `dial` opens, whatever the address; no proxy is asked."""
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", _Adapter(dial))
    return made


class _Adapter(HTTPAdapter):
    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        super().init_poolmanager(*arguments, **settings)
        dial = self._dial

        class Connection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                try:
                    return dial()
                except OSError as error:
                    raise NewConnectionError(self, str(error)) from error

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool}
