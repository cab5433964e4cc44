"""The whole rollout, top to bottom: pyinfra inventory/prod.py deploy.py"""

from pyinfra import host

from barewind.operations.barrier import barrier
from tasks import (
    balancer,
    compile_cache,
    docker,
    engine,
    gate,
    image,
    mirror,
    nvidia,
    preflight,
    rocm,
    rollout,
    weights,
)

preflight.check()  # every problem of every host in one table; nothing has changed yet
hosts = rollout.plan()  # who serves, who must be touched, in which batches

# What no request notices: everything on hosts that serve nobody, downloads on those that do.
mirror.serve()  # the fleet's own registry, where it has one
docker.install(hosts.free)
nvidia.install(hosts.free)
rocm.install(hosts.free)
image.pull()  # by digest
weights.download()  # by revision, every file against its SHA-256
engine.serve(hosts.quiet)
gate.engines(hosts.quiet)

barrier(name="Everything is in place")

for batch in host.loop(hosts.batches):
    rollout.take_out(batch)  # of every balancer; waits for the requests in flight
    docker.install(batch.in_service)
    nvidia.install(batch.in_service)  # driver, fabric manager, container toolkit; restarts the host if need be
    rocm.install(batch.in_service)
    compile_cache.seed(batch.hosts)  # from a host that serves the same already
    engine.serve(batch.hosts)  # the systemd unit; restarted only if the release differs
    gate.engines(batch.hosts)  # a real completion
    rollout.put_back(batch)
    barrier(name="The batch serves")

balancer.balance()  # least connections over every engine host
gate.endpoint()  # a real completion through every balancer
image.prune()  # of releases that nobody goes back to
