"""Back to what served before: pyinfra INVENTORY tasks/rollback.py [--data release=ID] [--data reason="..."] [--limit ...]"""

from barewind.hosts.barrier import barrier
from barewind.tasks.steps import lease, release, rollback, rollout, weights

lease.take()
hosts = rollback.plan()  # who is rolled back to what; everything that it needs is there, or can be had

rollback.pull()

barrier(name="Everything is in place")

for batch in rollout.own_batches(hosts.batches):
    weights.read_ahead(batch.in_service, hosts.weights)
    rollout.drain(batch)
    for engine in release.one_by_one(batch.hosts):
        rollback.record(engine)
        rollback.serve(engine)
        rollback.gate(engine)
        release.time_start(hosts.gates, engine)
        rollback.confirm(engine)
    rollout.undrain(batch)
