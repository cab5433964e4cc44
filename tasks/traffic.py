"""Requests to another group: pyinfra INVENTORY tasks/traffic.py --data to=GROUP [--data share="10,50,100" ...]"""

from barewind.operations.barrier import barrier
from tasks import fleet_lock, gate, shifting

fleet_lock.take()
hosts = shifting.plan()  # who gets what; every balancer could send them requests

gate.unchanged(hosts.gates)  # real requests, before those of clients come

barrier(name="Every host of the group answers")

shifting.shift()
gate.endpoint()
