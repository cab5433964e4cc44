"""The same release begun anew, batch by batch: pyinfra INVENTORY tasks/restart.py [--limit ...]"""

from pyinfra import host

from barewind.operations.barrier import barrier
from tasks import engine, fleet_lock, gate, history, restarting, rollout

fleet_lock.take()
batches, gates = restarting.plan()

for batch in host.loop(batches):
    rollout.take_out(batch)
    engine.restart(batch.hosts)
    gate.unchanged(gates, batch.hosts)
    history.served(gates, batch.hosts)
    rollout.put_back(batch)
    barrier(name="The batch serves")
