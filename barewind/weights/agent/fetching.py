"""Threads that fetch: news and parts from other hosts, parts from the endpoint when it is this host's turn to ask it."""

from __future__ import annotations

import threading
import time

from barewind.weights.agent import links, news, schedule
from barewind.weights.agent.job import Job, Part, Peer
from barewind.weights.agent.links import Order
from barewind.weights.agent.origin import Endpoint, EndpointError
from barewind.weights.agent.peers import NewsClient, PartClient, PeerError
from barewind.weights.agent.progress import Progress
from barewind.weights.agent.rate import Rate
from barewind.weights.agent.repair import Repair
from barewind.weights.agent.state import State
from barewind.weights.agent.store import Store

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between attempts at an endpoint that does not answer


class Fetcher:
    """What the threads of a job do until it ends; `end` is set then."""

    def __init__(
        self,
        job: Job,
        state: State,
        stores: dict[str, Store],
        repair: Repair,
        progress: Progress,
        end: threading.Event,
    ) -> None:
        self.refusal = ""  # the endpoint's last one, as a whole message
        self.waits_until = 0.0  # the endpoint asked for so much time
        self._rate = Rate(job.rate_limit)
        self.endpoint = Endpoint(job, self._rate, progress.note) if job.endpoint else None
        self._job, self._state, self._stores = job, state, stores
        self._repair, self._progress, self._end = repair, progress, end
        self._counting = threading.Lock()

    def follow(self, link: int, order: Order, me: Peer) -> None:
        """Hear the news of one other host at a time: of the one that is to be followed over a link."""
        client: NewsClient | None = None
        following: str | None = None
        while not self._state.ended:
            name = self._host_to_follow(link, order)
            if name != following and client is not None:
                client.close()
                client = None
            following = name
            if name is None:
                self._end.wait(self._pause(1.0))
                continue
            client = client or NewsClient(self._job.peers[name], me, self._job.limits.dead)
            if not self._hear(client, name, link):
                client, following = None, None
                self._end.wait(self._pause(0.05))
                continue
            self._end.wait(self._pause(0.05 if order.sets else 0.25))  # what happens meanwhile comes in one piece
        if client is not None:
            client.close()

    def scout(self, me: Peer) -> None:
        """Look now and then whether a host that counts as gone is back: it may know others that have lost touch as well."""
        while not self._end.wait(self._job.limits.dead / 2):
            with self._state.changed:
                name = links.host_to_scout(self._state, time.monotonic())
                if name is None:
                    continue
                self._state.others[name].scouted_at = time.monotonic()
            client = NewsClient(self._job.peers[name], me, self._job.limits.dead)
            self._hear(client, name, None)
            client.close()

    def _host_to_follow(self, link: int, order: Order) -> str | None:
        state = self._state
        with state.changed:
            taken = {name for other, name in state.following.items() if name is not None and other != link}
            name = links.host_to_follow(state, order, taken, time.monotonic())
            state.follow(link, name)
            return name

    def _hear(self, client: NewsClient, name: str, link: int | None) -> bool:
        """Take in what a host tells next; whether it answers. A host that is followed over no link tells rows alone."""
        state = self._state
        with state.changed:
            row, beat = news.own_row(state, time.monotonic()), news.beat(state, time.monotonic())
        try:
            told, begun_anew = client.next(row, beat)
        except PeerError as error:
            with state.changed:
                schedule.note_failure(state, name, time.monotonic(), full=error.full)
                if link is not None:
                    state.follow(link, None)
            return False
        with state.changed:
            if begun_anew:
                state.forget(name)
            news.take_news(state, name, told if link is not None else told | {"events": []}, time.monotonic())
        return True

    def _pause(self, seconds: float) -> float:
        return min(seconds, self._job.limits.dead / 20)

    def copy(self, me: Peer) -> None:
        """Fetch parts from other hosts."""
        client = PartClient(me, self._rate, self._job.limits.dead)
        while not self._state.ended:
            with self._state.changed:
                offer = schedule.next_from_host(self._state, time.monotonic())
                if offer is None:
                    self._state.changed.wait(1)
                    continue
                self._state.claimed.add(offer.part.id)
            self._copy_part(client, offer)
        client.close()

    def _copy_part(self, client: PartClient, offer: schedule.PartOfHost) -> None:
        part, state = offer.part, self._state
        digest = problem = ""
        full = False
        try:
            digest = client.fetch(part, self._job.peers[offer.host], self._stores[part.key], self._received)
            if digest != offer.digest:
                problem = f"{offer.host} sent other bytes than it has; they were thrown away"
        except PeerError as error:
            problem, full = str(error), error.full
        with state.changed:
            state.claimed.discard(part.id)
            if not problem:
                state.add(part, digest)
                return
            self._progress.note(f"{part.file}, part {part.number}: {problem}", minor=not digest)
            if digest:
                self._repair.shun(offer.host, part)
            state.changed.wait(0.2)
        if full:
            self._end.wait(self._pause(1.0))

    def download(self, endpoint: Endpoint) -> None:
        """Fetch parts from the endpoint."""
        pause = _FIRST_PAUSE
        while not self._state.ended:
            with self._state.changed:
                part = self._next_from_endpoint()
                if part is None:
                    self._state.changed.wait(0.5)
                    continue
                self._state.claimed.add(part.id)
                self._state.fetching.add(part.id)
                self._state.notify()
            digest = ""
            try:
                digest = endpoint.fetch(part, self._stores[part.key], self._received_from_endpoint)
                pause = _FIRST_PAUSE
            except EndpointError as error:
                self._take_refusal(error, pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)
            finally:
                with self._state.changed:
                    self._state.claimed.discard(part.id)
                    self._state.fetching.discard(part.id)
                    if digest:
                        self._state.add(part, digest)
                    self._state.notify()

    def _next_from_endpoint(self) -> Part | None:
        now = time.monotonic()
        return None if now < self.waits_until else schedule.next_from_endpoint(self._state, now)

    def _take_refusal(self, error: EndpointError, pause: float) -> None:
        self._progress.note(str(error))
        with self._state.changed:
            self.refusal = str(error)
            if error.final:
                self._state.can_ask = False
                self._state.notify()
            elif error.wait is not None:
                self.waits_until = max(self.waits_until, time.monotonic() + error.wait)
        if error.wait is None and not error.final:
            self._end.wait(pause)

    def _received(self, count: int) -> None:
        with self._counting:
            self._state.received += count
            self._state.progress_at = time.monotonic()

    def _received_from_endpoint(self, count: int) -> None:
        with self._counting:
            self._state.received_from_endpoint += count
        self._received(count)
