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

from barewind.weights.agent.job import FileId, FileSet, Job, Part
from barewind.weights.agent.rate import Rate
from barewind.weights.agent.store import Store, StoreError

_CHUNK = 2**20  # bytes handed on at a time


class EndpointError(Exception):
    """The endpoint did not give a part. `wait`: seconds it asks for; `final`: asking again is of no use."""

    def __init__(self, message: str, *, wait: float | None = None, final: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.final = final


@dataclass
class PartWriter:
    """A file to the hub's client: writes the bytes of one part to the store, counts and hashes them."""

    part: Part
    store: Store
    rate: Rate
    received: Callable[[int], None]

    def __post_init__(self) -> None:
        self.offset = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write the next bytes of the part.

        Raises:
            EndpointError: more came than was asked for.
        """
        if self.offset + len(data) > self.part.size:
            raise EndpointError("it sends more than was asked for: it does not know HTTP ranges", final=True)
        view = memoryview(data)
        self.rate.take(len(data))
        self.digest.update(view)
        self.store.write(self.part, self.offset, view)
        self.offset += len(data)
        self.received(len(data))
        return len(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self.offset

    def seek(self, position: int) -> int:
        """Go back to the beginning, and nowhere else: a server that does not continue sends all anew."""
        if position:
            raise EndpointError("it does not know HTTP ranges", final=True)
        self.offset = 0
        self.digest = hashlib.sha256()
        return 0

    def truncate(self) -> int:
        """Do nothing: what follows is written over."""
        return self.offset


class Endpoint:
    """The hub or mirror of a job. May be used by several threads."""

    def __init__(self, job: Job, rate: Rate, note: Callable[[str], None]) -> None:
        self._job = job
        self._rate = rate
        self._sets = {file_set.key: file_set for file_set in job.sets}
        self._lock = threading.Lock()
        self._streams: dict[FileId, Any] = {}  # of a file in Xet storage; None where there is none
        self._note = note
        _pass_on_warnings(note)

    def fetch(self, part: Part, store: Store, received: Callable[[int], None]) -> str:
        """Write a part to the store, calling `received` with each number of bytes; returns the SHA-256 of what came.

        Raises:
            EndpointError: it was not sent; the message is whole.
        """
        file_set = self._sets[part.key]
        writer = PartWriter(part, store, self._rate, received)
        try:
            stream = self._stream(file_set, part.file) if self._job.source == "hub" else None
            if stream is None or not self._from_xet(stream, writer):
                self._by_range(file_set, writer)
        except StoreError:
            raise
        except EndpointError as error:
            raise EndpointError(self._message(file_set, part.file, str(error)), final=error.final) from error
        except Exception as error:  # the client's own and its HTTP library's, which change between releases
            raise self._explained(error, file_set, part.file) from error
        return writer.digest.hexdigest()

    def _by_range(self, file_set: FileSet, writer: PartWriter) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get

        part = writer.part
        if self._job.source == "hub":
            url = hf_hub_url(file_set.model, part.file, revision=file_set.revision, endpoint=self._job.endpoint)
        else:
            url = f"{self._job.endpoint}/{file_set.model}/resolve/{file_set.revision}/{part.file}"
        http_get(
            url,
            writer,  # type: ignore[arg-type]  # it only writes, tells, seeks and truncates
            headers=self._headers() | {"Range": f"bytes={part.start}-{part.end - 1}"},
            expected_size=part.size,
            displayed_filename=part.file,
        )

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        token = self._job.token if self._job.source == "hub" else None
        return dict(build_hf_headers(token=token or False))

    def _stream(self, file_set: FileSet, file: str) -> Any:
        """Function that streams a file's bytes from Xet storage; None where the hub or the image does not offer it."""
        with self._lock:
            if (file_set.key, file) not in self._streams:
                self._streams[file_set.key, file] = self._look_for_stream(file_set, file)
            return self._streams[file_set.key, file]

    def _look_for_stream(self, file_set: FileSet, file: str) -> Any:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        locked = file_set.files[file]
        url = hf_hub_url(file_set.model, file, revision=file_set.revision, endpoint=self._job.endpoint)
        endpoint: dict[str, Any] = {"endpoint": self._job.endpoint} if self._job.endpoint else {}
        try:
            metadata = get_hf_file_metadata(url, token=self._job.token or False, **endpoint)
        except TypeError:  # releases before 0.31 do not take an endpoint
            metadata = get_hf_file_metadata(url, token=self._job.token or False)
        if metadata.size is not None and metadata.size != locked.size:
            raise EndpointError(f"it has {metadata.size} bytes, the lock says {locked.size}", final=True)
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
        info = XetFileInfo(data.file_hash, locked.size)

        def stream(start: int, end: int, _keep: Any = session) -> Any:
            return group.download_stream(info, start=start, end=end)

        return stream

    def _from_xet(self, stream: Any, writer: PartWriter) -> bool:
        """Whether the part came from Xet storage; if not, it is to be fetched by range."""
        part = writer.part
        try:
            for chunk in stream(part.start, part.end):
                for start in range(0, len(chunk), _CHUNK):
                    writer.write(chunk[start : start + _CHUNK])
        except (RuntimeError, OSError, ValueError) as error:
            self._note(
                f"{part.file}: Xet storage failed ({type(error).__name__}: {_first_line(error)}); by HTTP ranges instead"
            )
        if writer.offset == part.size:
            return True
        writer.seek(0)
        with self._lock:
            self._streams[part.file_id] = None
        return False

    def _explained(self, error: Exception, file_set: FileSet, file: str) -> EndpointError:
        """The client's error in words that say what to do."""
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        reason = f"{type(error).__name__}: {_first_line(error)}" if _first_line(error) else type(error).__name__
        if status == 429:
            wait = _seconds_to_wait(getattr(response, "headers", {}))
            return EndpointError(
                f"{self._failure(file_set, file, reason)}: too many requests, it asks to wait {wait:.0f} s", wait=wait
            )
        if status in (401, 403) and self._job.source == "hub":
            token = "does not open it" if self._job.token else "is needed, and none is set"
            return EndpointError(
                f"{self._failure(file_set, file, reason)}. A token {token}: name a file with one that may read "
                f"{file_set.model} in hub_token_file, and run again",
                final=True,
            )
        final = status is not None and 400 <= status < 500 and status != 408
        return EndpointError(self._message(file_set, file, reason), final=final)

    def _message(self, file_set: FileSet, file: str, reason: str) -> str:
        keys = (
            "hub_endpoint, the network and hub_token_file"
            if self._job.source == "hub"
            else "weights_path and the network"
        )
        return f"{self._failure(file_set, file, reason)}. Check {keys}, and run again"

    def _failure(self, file_set: FileSet, file: str, reason: str) -> str:
        name = f"{file_set.model}@{file_set.revision}"
        return f"weights {name}: {file} cannot be fetched from {self._job.endpoint} ({reason})"


def _seconds_to_wait(headers: Any) -> float:
    """Seconds, out of Retry-After; a minute where there is none."""
    try:
        return max(1.0, float(headers.get("Retry-After", "")))
    except (TypeError, ValueError):
        return 60.0


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:300]


def _pass_on_warnings(note: Callable[[str], None]) -> None:
    """Note what the client logs while it waits and tries again."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(_first_line(Exception(record.getMessage())))

    logger = logging.getLogger("huggingface_hub")
    logger.handlers = [Handler(level=logging.WARNING)]
    logger.propagate = False
