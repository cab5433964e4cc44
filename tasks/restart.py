"""The same release begun anew, batch by batch: pyinfra INVENTORY tasks/restart.py [--limit ...]"""

from pyinfra import host

from barewind.operations.barrier import barrier
from tasks import engine, fleet_lock, gate, rollout

fleet_lock.take()
hosts = rollout.plan_restart()

for batch in host.loop(hosts.batches):
    rollout.take_out(batch)
    engine.restart(batch.hosts)
    gate.engines(batch.hosts)
    rollout.put_back(batch)
    barrier(name="The batch serves")
