"""The whole rollout, top to bottom: pyinfra inventory/prod.py deploy.py"""

from barewind.hosts.barrier import barrier
from barewind.tasks.steps import (
    balancer,
    compile_cache,
    docker,
    drivers,
    gate,
    images,
    keys,
    lease,
    mirror,
    monitoring,
    preflight,
    release,
    rollout,
    weights,
)

lease.take()  # one run at a time
preflight.check()  # every problem of every host in one table; nothing has changed yet
hosts = rollout.plan()  # who serves, who must be touched, in which batches

# What no request notices: everything on hosts that serve nobody, downloads on those that do.
mirror.serve()  # the fleet's own registry, where it has one
docker.install(hosts.without_drain)
drivers.install(hosts.without_drain)
images.pull()  # by digest
weights.download()  # by revision, every file against its SHA-256
release.record(hosts.unaffected)
release.serve(hosts.unaffected)
gate.engines(hosts.unaffected)
release.confirm(hosts.unaffected)

barrier(name="Everything is in place")

for batch in rollout.own_batches(hosts.batches):  # the steps of a host's own; it begins when the one before serves
    weights.read_ahead(batch.in_service)  # into memory, so that it starts sooner
    rollout.drain(batch)  # on every balancer; waits for the requests in flight
    docker.install(batch.in_service)
    drivers.install(batch.in_service)  # each vendor's, and what goes with them; restarts the host if need be
    compile_cache.seed(batch.hosts)  # the file that another host has packed
    release.retire(batch.hosts)  # where a host shall have another number of engines
    for engine in release.one_by_one(batch.hosts):
        release.record(engine)  # what is on record can be rolled back to
        release.serve(engine)  # the systemd unit; restarted only if the release differs
        gate.engines(engine)  # real requests
        release.time_start(gate.planned(engine), engine)
        compile_cache.pack(engine)  # for other hosts, before strangers' requests
        release.confirm(engine)
    rollout.undrain(batch)
    rollout.canary(batch)  # under real traffic
    gate.engines(batch.canaries)

keys.tell()  # who may ask; before HAProxy's configuration, which names the file
balancer.balance()  # least connections over every engine host
rollout.keep_drained(hosts.maintenance)  # on a balancer that is new, too
rollout.undrain_everywhere(hosts.partially_drained)  # nobody knows why some balancer drains them
gate.endpoint()  # a real completion through every balancer
monitoring.watch()  # the fleet's figures and alerts, where it has monitors
images.prune()  # of releases that nobody rolls back to
