"""Have sets of files on this host: from other hosts that have them, from the hub or a mirror, each checked against the lock.

`python3 agent.pyz JOB STATUS` reads a job (job.py) and writes how far it is to STATUS. It ends with status 0 when the files are
there and no other host waits for them, with 3 when it is of no use to start it again.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from barewind.remote import choice, local
from barewind.remote.ask import AskError, News, Parts
from barewind.remote.check import Checker
from barewind.remote.endpoint import Endpoint, EndpointError
from barewind.remote.job import Job, Part, Peer, parts, read
from barewind.remote.progress import Progress
from barewind.remote.rate import Rate
from barewind.remote.repair import Repair
from barewind.remote.serve import Server
from barewind.remote.store import Store, StoreError
from barewind.remote.swarm import File, Swarm

FAILED = 3  # exit status; the unit is not started again after it
_TURN = 0.25  # seconds between looks at what has become of it all
_RETRY = (1.0, 30.0)  # seconds between attempts at an endpoint that does not answer, first and longest


class Agent:
    """One job, from its begin to its end."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self.job = job
        self.progress = progress
        self.stores = {one.key: Store(one, parts(one, job.part_size)) for one in job.sets}
        every = [part for store in self.stores.values() for part in store.parts]
        self.swarm = Swarm(job, every, lambda part, digest: self.stores[part.key].record(part, digest))
        self.checker = Checker(self.swarm, self.stores, self._checked)
        self.repair = Repair(self.swarm, self.stores, progress.note)
        self.rate = Rate(job.rate_limit)
        self.endpoint = Endpoint(job, self.rate, progress.note) if job.endpoint else None
        self.server: Server | None = None
        self.alarm = threading.Event()  # the end; whoever pauses wakes up
        self.counting = threading.Lock()
        self.failed = ""
        self.refused = ""  # the endpoint's last refusal
        self.waits_until = 0.0  # the endpoint asked for so much time

    def run(self) -> int:
        """Do it; the exit status."""
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
            with self.swarm.changed:
                for number, digest in store.digests.items():
                    self.swarm.gain(store.parts[number], digest)
                if store.complete:
                    self.swarm.verified |= {(key, name) for name in store.set.files}
                for name in store.unknown:
                    self.swarm.taken |= {part.id for part in self.swarm.of_file[key, name]}

    def _start(self) -> None:
        if self.job.me is not None:
            self.server = Server(self.job, self.swarm, self.stores)
            self.server.start()
            for peer in self.job.others:
                self._thread(self._follow, peer, self.job.me)
        for store in self.stores.values():
            if store.complete and not store.digests:
                self._thread(self._list, store)
            for name in store.unknown:
                self._thread(self._examine, store, name)
        if self._wanting():
            self.checker.start(min(8, os.cpu_count() or 1))
            for _ in range(self.job.connections):
                if self.job.me is not None:
                    self._thread(self._copy, self.job.me)
                if self.endpoint is not None:
                    self._thread(self._download, self.endpoint)

    def _stop(self) -> None:
        with self.swarm.changed:
            self.swarm.over = True
            self.alarm.set()
            self.swarm.changed.notify_all()
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def _thread(self, work: Any, *arguments: Any) -> None:
        def guarded() -> None:
            try:
                work(*arguments)
            except StoreError as error:
                self._give_up(str(error))

        threading.Thread(target=guarded, name=work.__name__, daemon=True).start()

    def _until_done(self) -> int:
        done_at = 0.0
        while not self.failed:
            with self.swarm.changed:
                self._look(time.monotonic())
                if not self.swarm.complete and not self._wanting():
                    self._finish()
                    done_at = time.monotonic()
                leaving = self.swarm.complete and choice.may_leave(self.swarm, time.monotonic(), done_at)
            self.progress.write(self.swarm, self.checker.read)
            if leaving:
                self.progress.end("done")
                return 0
            self.alarm.wait(_TURN)
        return self._fail(self.failed)

    def _finish(self) -> None:
        for store in self.stores.values():
            if not store.complete:
                store.finish()
        self.swarm.complete = True
        self.progress.phase = "serving"
        self.swarm.wake()

    def _wanting(self) -> bool:
        return any(file not in self.swarm.verified for file in self.swarm.of_file)

    def _look(self, now: float) -> None:
        """What no single part's turn brings about: second attempts at a file, and the end of patience."""
        self.repair.with_help_of_others()
        for file in choice.new_rounds(self.swarm, now):
            self.repair.note(file, "is wrong as a whole though every part is as it was sent: all of it is fetched anew")
            self.swarm.next_round(file, 1)
        for file in choice.hopeless(self.swarm, now):
            self._give_up(self.repair.throw_away(file))
        waiting = self.checker.read != self.progress.read or now < self.waits_until
        if waiting:
            self.swarm.moved = now
        if not self.swarm.complete and now - self.swarm.moved > self._patience():
            self._give_up(self.refused or self._nobody())

    def _patience(self) -> float:
        """Seconds. Where no host may ask any more and nobody has more to give, there is little to wait for."""
        now = time.monotonic()
        there = [other for other in self.swarm.others.values() if choice.alive(self.swarm, other, now)]
        if not self.refused or self.swarm.able or any(other.able and not other.complete for other in there):
            return self.job.limits.patience
        return self.job.limits.grace if self.job.others else 0.0

    def _nobody(self) -> str:
        missing = sorted({part.file for part in self.swarm.parts.values() if part.id not in self.swarm.have})
        return (
            f"weights: {', '.join(missing) or 'checksums'}: no other host has what is missing, and "
            f"{'nothing comes from ' + self.job.endpoint if self.job.endpoint else 'there is no hub to ask'}; look at the other "
            "hosts (journalctl -u barewind-weights), and run again"
        )

    def _follow(self, peer: Peer, me: Peer) -> None:
        """Hear what another host tells, as long as this one lives."""
        news = News(peer, me, self.job.limits.dead)
        while not self.swarm.over:
            try:
                said, anew = news.next()
            except AskError:
                self.alarm.wait(min(1.0, self.job.limits.dead / 10))
                continue
            with self.swarm.changed:
                if anew:
                    self.swarm.forget(peer.name)
                self.swarm.hear(peer.name, said, time.monotonic())
            self.alarm.wait(0.05)  # what happens meanwhile comes in one piece

    def _copy(self, me: Peer) -> None:
        """Fetch parts from other hosts."""
        source = Parts(me, self.rate, self.job.limits.dead)
        while not self.swarm.over:
            with self.swarm.changed:
                found = choice.from_host(self.swarm, time.monotonic())
                if found is None:
                    self.swarm.changed.wait(1)
                    continue
                self.swarm.taken.add(found.part.id)
            digest = problem = ""
            try:
                digest = source.fetch(
                    found.part, self.job.peers[found.host], self.stores[found.part.key], self._received
                )
                if digest != found.digest:
                    problem = f"{found.host} sent other bytes than it has; they were thrown away"
            except AskError as error:
                problem = str(error)
            with self.swarm.changed:
                self.swarm.taken.discard(found.part.id)
                if problem:
                    self.progress.note(f"{found.part.file}, part {found.part.number}: {problem}", minor=not digest)
                    self.repair.distrust(found.host, found.part, wrong=bool(digest))
                    self.swarm.changed.wait(0.2)
                else:
                    self.swarm.gain(found.part, digest)

    def _download(self, endpoint: Endpoint) -> None:
        """Fetch parts from the endpoint, when it is this host's turn to ask it."""
        pause = _RETRY[0]
        while not self.swarm.over:
            with self.swarm.changed:
                part = self._next_from_endpoint()
                if part is None:
                    self.swarm.changed.wait(0.5)
                    continue
                self.swarm.taken.add(part.id)
                self.swarm.fetching.add(part.id)
                self.swarm.wake()
            digest = ""
            try:
                digest = endpoint.fetch(part, self.stores[part.key], self._received_from_endpoint)
                pause = _RETRY[0]
            except EndpointError as error:
                self._refuse(error, pause)
                pause = min(_RETRY[1], 2 * pause)
            finally:
                with self.swarm.changed:
                    self.swarm.taken.discard(part.id)
                    self.swarm.fetching.discard(part.id)
                    if digest:
                        self.swarm.gain(part, digest)
                    self.swarm.wake()

    def _next_from_endpoint(self) -> Part | None:
        now = time.monotonic()
        return None if now < self.waits_until else choice.from_endpoint(self.swarm, now)

    def _refuse(self, error: EndpointError, pause: float) -> None:
        self.progress.note(str(error))
        with self.swarm.changed:
            self.refused = str(error)
            now = time.monotonic()
            if error.final:
                self.swarm.able = False
                self.swarm.wake()
            elif error.wait is not None:
                self.waits_until = max(self.waits_until, now + error.wait)
        if error.wait is None and not error.final:
            self.alarm.wait(pause)

    def _received(self, count: int) -> None:
        with self.counting:
            self.swarm.received += count
            self.swarm.moved = time.monotonic()

    def _received_from_endpoint(self, count: int) -> None:
        with self.counting:
            self.swarm.from_endpoint += count
        self._received(count)

    def _list(self, store: Store) -> None:
        """Work out what a complete directory's parts are, for the others; the journal that knew it is gone."""
        for part in store.parts:
            digest = store.digest(part)
            with self.swarm.changed:
                self.swarm.gain(part, digest)
        store.stamp()

    def _examine(self, store: Store, name: str) -> None:
        """Read a file of which nothing is known but its size: what is right of it need not be fetched."""
        file = (store.set.key, name)
        whole = hashlib.sha256()
        for part in self.swarm.of_file[file]:
            digest = hashlib.sha256()
            for chunk in store.chunks(part):
                digest.update(chunk)
                whole.update(chunk)
            with self.swarm.changed:
                self.swarm.moved = time.monotonic()
                self.swarm.old[part.id] = digest.hexdigest()
        with self.swarm.changed:
            right = whole.hexdigest() == store.set.files[name].sha256
            for part in self.swarm.of_file[file]:
                self.swarm.taken.discard(part.id)
                if right:
                    self.swarm.gain(part, self.swarm.old[part.id])
                else:
                    self.swarm.take_over(part)
            if right:
                self.swarm.verify(file)
            self.swarm.wake()

    def _checked(self, file: File, digest: str) -> None:
        key, name = file
        wanted = self.stores[key].set.files[name].sha256
        if digest == wanted:
            with self.swarm.changed:
                self.swarm.verify(file)
            return
        self.repair.wrong(file, digest)

    def _give_up(self, why: str) -> None:
        with self.swarm.changed:
            self.failed = self.failed or why
            self.alarm.set()
            self.swarm.changed.notify_all()

    def _fail(self, why: str) -> int:
        self.progress.end("failed", why)
        print(f"{self.job.host}: {why}", file=sys.stderr)
        return FAILED


def main() -> int:
    """Do the job whose file is the first argument."""
    job = read(Path(sys.argv[1]).read_text())
    surroundings = Path(sys.argv[1]).with_name("proxies")
    if surroundings.is_file():  # not on a command line: a proxy's address may hold a password
        for line in surroundings.read_text().splitlines():
            name, _, value = line.partition("=")
            os.environ[name] = value
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.pop("HF_HUB_OFFLINE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.umask(0o022)
    progress = Progress(job, Path(sys.argv[2]))
    return local.run(job, progress) if any(one.path for one in job.sets) else Agent(job, progress).run()


if __name__ == "__main__":
    sys.exit(main())
