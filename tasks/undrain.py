"""Drained hosts back into the balancers, past their gate: pyinfra INVENTORY tasks/undrain.py [--limit HOST]"""

from tasks import deliberate, fleet_lock, gate, history

fleet_lock.take()
hosts = deliberate.to_return()

gate.unchanged(hosts)
history.served(hosts)
deliberate.undrain(hosts)
