"""Requests to another group: pyinfra INVENTORY tasks/traffic.py --data to=GROUP [--data share="10,50,100" ...]"""

from barewind.hosts.barrier import barrier
from barewind.tasks.steps import gate, lease, traffic

lease.take()
hosts = traffic.plan()  # who gets what; every balancer could send them requests

gate.unchanged(hosts.gates)  # real requests, before those of clients come

barrier(name="Every host of the group answers")

traffic.direct()
gate.endpoint()
