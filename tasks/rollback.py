"""Back to what served before: pyinfra INVENTORY tasks/rollback.py [--data release=ID] [--data reason="..."] [--limit ...]"""

from pyinfra import host

from barewind.operations.barrier import barrier
from tasks import fleet_lock, going_back, rollout

fleet_lock.take()
hosts = going_back.plan()  # who goes back to what; everything that it needs is there, or can be had

going_back.pull()

barrier(name="Everything is in place")

for batch in host.loop(hosts.batches):
    rollout.take_out(batch)
    going_back.begin(batch.hosts)
    going_back.serve(batch.hosts)
    going_back.gate(batch.hosts)
    rollout.put_back(batch)
    barrier(name="The batch serves")
