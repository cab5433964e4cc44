"""Drained hosts undrained, past their gate: pyinfra INVENTORY tasks/undrain.py [--limit HOST]"""

from barewind.tasks.steps import gate, lease, maintenance, release

lease.take()
hosts = maintenance.to_undrain()

gate.unchanged(hosts)
release.confirm_running(hosts)
maintenance.undrain(hosts)
