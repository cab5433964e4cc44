"""Have sets of files on this host: from other hosts that have them, from the hub or a mirror, each checked against the lock.

`python3 agent.pyz JOB STATUS` reads a job (job.py) and writes how far it is to STATUS. It ends with status 0 when the files are
there and no other host waits for them, with 3 when it is of no use to start it again.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from barewind.weights.agent import inspection, links, local, schedule
from barewind.weights.agent.fetching import Fetcher
from barewind.weights.agent.hashing import Checker
from barewind.weights.agent.job import FileId, Job, parts_of, read_job
from barewind.weights.agent.progress import Progress
from barewind.weights.agent.repair import Repair
from barewind.weights.agent.server import Server
from barewind.weights.agent.state import State
from barewind.weights.agent.store import Store, StoreError

FAILED = 3  # exit status; the unit is not started again after it
_INTERVAL = 0.25  # seconds between looks at how far the threads are


class Agent:
    """One job, from its begin to its end."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self.job = job
        self.progress = progress
        self.stores = {file_set.key: Store(file_set, parts_of(file_set, job.part_size)) for file_set in job.sets}
        parts = [part for store in self.stores.values() for part in store.parts]
        self.state = State(job, parts, lambda part, digest: self.stores[part.key].record(part, digest))
        self.checker = Checker(self.state, self.stores, self._hashed)
        self.repair = Repair(self.state, self.stores, progress.note)
        self.end = threading.Event()  # whoever pauses wakes up
        self.fetcher = Fetcher(job, self.state, self.stores, self.repair, progress, self.end)
        self.server: Server | None = None
        self.failure = ""
        self.threads: list[threading.Thread] = []  # may outlive `run` by what they are in the middle of

    def run(self) -> int:
        """Do the job; returns the exit status."""
        try:
            self._open()
            self._start()
            return self._until_done()
        except StoreError as error:
            return self._fail(str(error))
        finally:
            self._stop()
            for store in self.stores.values():
                store.close()

    def _open(self) -> None:
        for key, store in self.stores.items():
            store.open()
            with self.state.changed:
                for number, digest in store.digests.items():
                    self.state.add(store.parts[number], digest)
                if store.complete:
                    self.state.verified |= {(key, name) for name in store.set.files}
                for name in store.unknown:
                    self.state.claimed |= {part.id for part in self.state.parts_of_file[key, name]}

    def _start(self) -> None:
        me, endpoint = self.job.me, self.fetcher.endpoint
        if me is not None:
            orders = links.orders(self.job)
            self.server = Server(self.job, self.state, self.stores, len(orders))
            self.server.start()
            for number, order in enumerate(orders):
                self._thread(self.fetcher.follow, number, order, me)
            self._thread(self.fetcher.scout, me)
        for store in self.stores.values():
            if store.complete and not store.digests:
                self._thread(inspection.list_parts, store, self.state)
            for name in store.unknown:
                self._thread(inspection.examine, store, name, self.state)
        if self._incomplete():
            self.checker.start(min(8, os.cpu_count() or 1))
            for number in range(self.job.connections):
                if me is not None and number < links.PARTS:
                    self._thread(self.fetcher.copy, me)
                if endpoint is not None:
                    self._thread(self.fetcher.download, endpoint)

    def _stop(self) -> None:
        with self.state.changed:
            self.state.ended = True
            self.end.set()
            self.state.notify()
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def _thread(self, work: Any, *arguments: Any) -> None:
        def guarded() -> None:
            try:
                work(*arguments)
            except StoreError as error:
                self._give_up(str(error))
            except Exception:
                if not self.state.ended:  # after the end files and connections are closed under whoever still uses them
                    raise

        thread = threading.Thread(target=guarded, name=work.__name__, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _until_done(self) -> int:
        complete_since = 0.0
        while not self.failure:
            with self.state.changed:
                self._decide(time.monotonic())
                if not self.state.complete and not self._incomplete():
                    self._finish()
                    complete_since = time.monotonic()
                done = self.state.complete and schedule.may_end(self.state, time.monotonic(), complete_since)
            self.progress.report(self.state, self.checker.read_bytes)
            if done:
                self.progress.end("done")
                return 0
            self.end.wait(_INTERVAL)
        return self._fail(self.failure)

    def _finish(self) -> None:
        for store in self.stores.values():
            if not store.complete:
                store.finish()
        self.state.complete = True
        self.progress.phase = "serving"
        self.state.notify()

    def _incomplete(self) -> bool:
        return any(file not in self.state.verified for file in self.state.parts_of_file)

    def _decide(self, now: float) -> None:
        """What no thread decides for itself: second attempts at a file, and the end of patience."""
        self.repair.compare_with_others()
        for file in schedule.files_to_fetch_anew(self.state, now):
            self.repair.note(file, "is wrong as a whole though every part is as it was sent: all of it is fetched anew")
            self.state.begin_round(file, 1)
        for file in schedule.hopeless(self.state, now):
            self._give_up(self.repair.throw_away(file))
        if self.checker.read_bytes != self.progress.hashed or now < self.fetcher.waits_until:
            self.state.progress_at = now
        if not self.state.complete and now - self.state.progress_at > self._patience():
            self._give_up(self.fetcher.refusal or self._no_source())

    def _patience(self) -> float:
        """Seconds without a byte. Where no host may ask any more and none has more to give, there is little to wait for."""
        now = time.monotonic()
        others = [other for other in self.state.others.values() if schedule.alive(self.state, other, now)]
        may_ask = self.state.can_ask or any(other.can_ask and not other.complete for other in others)
        if not self.fetcher.refusal or may_ask:
            return self.job.limits.patience
        return self.job.limits.grace if self.job.others else 0.0

    def _no_source(self) -> str:
        missing = sorted({part.file for part in self.state.parts.values() if part.id not in self.state.have})
        return (
            f"weights: {', '.join(missing) or 'checksums'}: no other host has what is missing, and "
            f"{'nothing comes from ' + self.job.endpoint if self.job.endpoint else 'there is no hub to ask'}; look at the other "
            "hosts (journalctl -u barewind-weights), and run again"
        )

    def _hashed(self, file: FileId, digest: str) -> None:
        key, name = file
        if digest == self.stores[key].set.files[name].sha256:
            with self.state.changed:
                self.state.mark_verified(file)
            return
        self.repair.blame_parts(file, digest)

    def _give_up(self, failure: str) -> None:
        with self.state.changed:
            self.failure = self.failure or failure
            self.end.set()
            self.state.changed.notify_all()

    def _fail(self, failure: str) -> int:
        self.progress.end("failed", failure)
        print(f"{self.job.host}: {failure}", file=sys.stderr)
        return FAILED


def main() -> int:
    """Do the job whose file is the first argument; returns the exit status."""
    job_file, status_file = Path(sys.argv[1]), Path(sys.argv[2])
    job = read_job(job_file.read_text())
    proxies = job_file.with_name("proxies")
    if proxies.is_file():  # not on a command line: a proxy's address may hold a password
        for line in proxies.read_text().splitlines():
            name, _, value = line.partition("=")
            os.environ[name] = value
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.pop("HF_HUB_OFFLINE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.umask(0o022)
    progress = Progress(job, status_file)
    in_place = any(file_set.path for file_set in job.sets)
    return local.run(job, progress) if in_place else Agent(job, progress).run()


if __name__ == "__main__":
    sys.exit(main())
