"""Hosts out of the balancers, on purpose: pyinfra INVENTORY tasks/drain.py --limit HOST [--data reason="..."]"""

from tasks import deliberate, fleet_lock

fleet_lock.take()
deliberate.drain(deliberate.to_drain())
