"""Where the files come from in the first place: the model hub through its own client, or a mirror laid out as the hub is.

Parts are fetched by HTTP range with the client's `http_get`, which takes a broken connection up where it broke; where the hub
keeps a file in Xet storage and the image has the client for it, the same bytes are streamed from there.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from barewind.remote.job import FileSet, Job, Part
from barewind.remote.rate import Rate
from barewind.remote.store import Store, StoreError

_CHUNK = 2**20  # bytes handed on at a time


class EndpointError(Exception):
    """The endpoint did not give a part. `wait`: seconds it asks for; `final`: asking again is of no use."""

    def __init__(self, text: str, *, wait: float | None = None, final: bool = False) -> None:
        super().__init__(text)
        self.wait = wait
        self.final = final


@dataclass
class Sink:
    """Takes the bytes of one part as a file would: writes them to the store, counts and hashes them."""

    part: Part
    store: Store
    rate: Rate
    received: Callable[[int], None]

    def __post_init__(self) -> None:
        self.at = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """The next bytes of the part.

        Raises:
            EndpointError: more came than was asked for.
        """
        if self.at + len(data) > self.part.size:
            raise EndpointError("it sends more than was asked for: it does not know HTTP ranges", final=True)
        view = memoryview(data)
        self.rate.take(len(data))
        self.digest.update(view)
        self.store.write(self.part, self.at, view)
        self.at += len(data)
        self.received(len(data))
        return len(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self.at

    def seek(self, position: int) -> int:
        """Only back to the beginning: a server that does not continue sends all anew."""
        if position:
            raise EndpointError("it does not know HTTP ranges", final=True)
        self.at = 0
        self.digest = hashlib.sha256()
        return 0

    def truncate(self) -> int:
        """Nothing to do: what follows is written over."""
        return self.at


class Endpoint:
    """May be used by several threads."""

    def __init__(self, job: Job, rate: Rate, note: Callable[[str], None]) -> None:
        self._job = job
        self._rate = rate
        self._sets = {one.key: one for one in job.sets}
        self._lock = threading.Lock()
        self._xet: dict[tuple[str, str], Any] = {}  # file -> how its Xet bytes are had, or None
        self._note = note
        _listen(note)

    def fetch(self, part: Part, store: Store, received: Callable[[int], None]) -> str:
        """Write a part to the store; the SHA-256 of what came.

        Raises:
            EndpointError: it cannot be had; the text is a whole sentence.
        """
        one = self._sets[part.key]
        sink = Sink(part, store, self._rate, received)
        try:
            stream = self._stream(one, part.file) if self._job.source == "hub" else None
            if stream is None or not self._from_xet(stream, sink):
                self._by_range(one, sink)
        except StoreError:
            raise
        except EndpointError as error:
            raise EndpointError(self._sentence(one, part.file, str(error)), final=error.final) from error
        except Exception as error:  # the client's own and its HTTP library's, which change between releases
            raise self._explained(error, one, part.file) from error
        return sink.digest.hexdigest()

    def _by_range(self, one: FileSet, sink: Sink) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get

        part = sink.part
        if self._job.source == "hub":
            url = hf_hub_url(one.model, part.file, revision=one.revision, endpoint=self._job.endpoint)
        else:
            url = f"{self._job.endpoint}/{one.model}/resolve/{one.revision}/{part.file}"
        http_get(
            url,
            sink,  # type: ignore[arg-type]
            headers=self._headers() | {"Range": f"bytes={part.start}-{part.end - 1}"},
            expected_size=part.size,
            displayed_filename=part.file,
        )

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        token = self._job.token if self._job.source == "hub" else None
        return dict(build_hf_headers(token=token or False))

    def _stream(self, one: FileSet, file: str) -> Any:
        """How to stream a file's bytes from Xet storage; None where the hub or the image does not offer it."""
        with self._lock:
            if (one.key, file) not in self._xet:
                self._xet[one.key, file] = self._look_for_xet(one, file)
            return self._xet[one.key, file]

    def _look_for_xet(self, one: FileSet, file: str) -> Any:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        wanted = one.files[file]
        url = hf_hub_url(one.model, file, revision=one.revision, endpoint=self._job.endpoint)
        known: dict[str, Any] = {"endpoint": self._job.endpoint} if self._job.endpoint else {}
        try:
            metadata = get_hf_file_metadata(url, token=self._job.token or False, **known)
        except TypeError:  # releases before 0.31 do not take an endpoint
            metadata = get_hf_file_metadata(url, token=self._job.token or False)
        if metadata.size is not None and metadata.size != wanted.size:
            raise EndpointError(f"it has {metadata.size} bytes, the lock says {wanted.size}", final=True)
        data = getattr(metadata, "xet_file_data", None)
        if data is None:
            return None
        try:
            from hf_xet import XetFileInfo, XetSession  # type: ignore[import-untyped]

            session = XetSession()
            group = session.new_download_stream_group(
                token_refresh_url=data.refresh_route, token_refresh_headers=self._headers()
            )
        except Exception as error:  # an older client without streams, or a storage that does not answer: ranges will do
            self._note(f"{file}: Xet storage is left aside ({type(error).__name__}); by HTTP ranges instead")
            return None
        info = XetFileInfo(data.file_hash, wanted.size)

        def stream(start: int, end: int, _keep: Any = session) -> Any:
            return group.download_stream(info, start=start, end=end)

        return stream

    def _from_xet(self, stream: Any, sink: Sink) -> bool:
        """Whether the part came from Xet storage; if not, it is to be fetched by range."""
        part = sink.part
        try:
            for chunk in stream(part.start, part.end):
                for at in range(0, len(chunk), _CHUNK):
                    sink.write(chunk[at : at + _CHUNK])
        except (RuntimeError, OSError, ValueError) as error:
            self._note(
                f"{part.file}: Xet storage failed ({type(error).__name__}: {_line(error)}); by HTTP ranges instead"
            )
        if sink.at == part.size:
            return True
        sink.seek(0)
        with self._lock:
            self._xet[part.key, part.file] = None
        return False

    def _explained(self, error: Exception, one: FileSet, file: str) -> EndpointError:
        """What an error of the client means."""
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        text = f"{type(error).__name__}: {_line(error)}" if _line(error) else type(error).__name__
        if status == 429:
            wait = _wait(getattr(response, "headers", {}))
            return EndpointError(
                f"{self._what(one, file, text)}: too many requests, it asks to wait {wait:.0f} s", wait=wait
            )
        if status in (401, 403) and self._job.source == "hub":
            given = "does not open it" if self._job.token else "is needed, and none is set"
            return EndpointError(
                f"{self._what(one, file, text)}. A token {given}: name a file with one that may read {one.model} in "
                "hub_token_file, and run again",
                final=True,
            )
        final = status is not None and 400 <= status < 500 and status != 408
        return EndpointError(self._sentence(one, file, text), final=final)

    def _sentence(self, one: FileSet, file: str, text: str) -> str:
        keys = (
            "hub_endpoint, the network and hub_token_file"
            if self._job.source == "hub"
            else "weights_path and the network"
        )
        return f"{self._what(one, file, text)}. Check {keys}, and run again"

    def _what(self, one: FileSet, file: str, text: str) -> str:
        return f"weights {one.model}@{one.revision}: {file} cannot be fetched from {self._job.endpoint} ({text})"


def _wait(headers: Any) -> float:
    """Seconds, out of Retry-After; a minute where it does not say."""
    try:
        return max(1.0, float(headers.get("Retry-After", "")))
    except (TypeError, ValueError):
        return 60.0


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:300]


def _listen(note: Callable[[str], None]) -> None:
    """Hand on what the client says while it waits and tries again."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(_line(Exception(record.getMessage())))

    logger = logging.getLogger("huggingface_hub")
    logger.handlers = [Handler(level=logging.WARNING)]
    logger.propagate = False
