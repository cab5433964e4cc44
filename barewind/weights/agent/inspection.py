"""What is on the disk already, read at the start of a job: nothing that is right of it is fetched."""

from __future__ import annotations

import hashlib
import time

from barewind.weights.agent.state import State
from barewind.weights.agent.store import Store


def list_parts(store: Store, state: State) -> None:
    """Work out what a complete directory's parts are, for the other hosts; the journal that knew it is gone."""
    for part in store.parts:
        digest = store.digest(part)
        with state.changed:
            state.add(part, digest)
    store.stamp()


def examine(store: Store, name: str, state: State) -> None:
    """Read a file of which nothing is known but its size; its parts were claimed for that."""
    file = (store.set.key, name)
    whole = hashlib.sha256()
    for part in state.parts_of_file[file]:
        digest = hashlib.sha256()
        for chunk in store.chunks(part):
            digest.update(chunk)
            whole.update(chunk)
        with state.changed:
            state.progress_at = time.monotonic()
            state.on_disk[part.id] = digest.hexdigest()
    with state.changed:
        right = whole.hexdigest() == store.set.files[name].sha256
        for part in state.parts_of_file[file]:
            state.claimed.discard(part.id)
            if right:
                state.add(part, state.on_disk[part.id])
            else:
                state.keep_if_confirmed(part)
        if right:
            state.mark_verified(file)
        state.notify()
