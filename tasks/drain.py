"""Hosts drained for maintenance: pyinfra INVENTORY tasks/drain.py --limit HOST [--data reason="..."]"""

from barewind.tasks.steps import lease, maintenance

lease.take()
maintenance.drain(maintenance.to_drain())
