"""Engines restarted with the release that they run, batch by batch: pyinfra INVENTORY tasks/restart.py [--limit ...]"""

from barewind.tasks.steps import gate, lease, release, restart, rollout, weights

lease.take()
batches, gates = restart.plan()

for batch in rollout.own_batches(batches):
    weights.read_ahead(batch.in_service, restart.weights())
    rollout.drain(batch)
    for engine in release.one_by_one(batch.hosts):
        release.restart(engine)
        gate.unchanged(gates, engine)
        release.time_start(gates, engine)
        release.confirm_running(gates, engine)
    rollout.undrain(batch)
