"""The whole rollout, top to bottom: pyinfra inventory/prod.py deploy.py"""

from pyinfra import host

from barewind.operations.barrier import barrier
from tasks import (
    balancer,
    compile_cache,
    docker,
    engine,
    fleet_lock,
    gate,
    history,
    image,
    mirror,
    nvidia,
    preflight,
    rocm,
    rollout,
    weights,
)

fleet_lock.take()  # one run at a time
preflight.check()  # every problem of every host in one table; nothing has changed yet
hosts = rollout.plan()  # who serves, who must be touched, in which batches

# What no request notices: everything on hosts that serve nobody, downloads on those that do.
mirror.serve()  # the fleet's own registry, where it has one
docker.install(hosts.free)
nvidia.install(hosts.free)
rocm.install(hosts.free)
image.pull()  # by digest
weights.download()  # by revision, every file against its SHA-256
history.begin(hosts.quiet)
engine.serve(hosts.quiet)
gate.engines(hosts.quiet)
history.serve(hosts.quiet)

barrier(name="Everything is in place")

for batch in host.loop(hosts.batches):
    rollout.take_out(batch)  # of every balancer; waits for the requests in flight
    docker.install(batch.in_service)
    nvidia.install(batch.in_service)  # driver, fabric manager, container toolkit; restarts the host if need be
    rocm.install(batch.in_service)
    compile_cache.seed(batch.hosts)  # from a host that serves the same already
    history.begin(batch.hosts)  # there is always a way back to what is on record
    engine.serve(batch.hosts)  # the systemd unit; restarted only if the release differs
    gate.engines(batch.hosts)  # real requests
    history.serve(batch.hosts)
    rollout.put_back(batch)
    rollout.bake(batch)  # the canary under real traffic
    gate.engines(batch.baked)
    barrier(name="The batch serves")

balancer.balance()  # least connections over every engine host
rollout.hold(hosts.held)  # a balancer that is new sends nothing to what is drained on purpose
rollout.rejoin(hosts.partly)  # what some balancer keeps out nobody knows why
gate.endpoint()  # a real completion through every balancer
image.prune()  # of releases that nobody goes back to
