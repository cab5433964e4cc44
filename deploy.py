"""The whole rollout, top to bottom: pyinfra inventory/prod.py deploy.py"""

from barewind.operations.barrier import barrier
from tasks import balancer, docker, engine, gate, image, preflight, weights

preflight.check()  # every problem of every host in one table; nothing has changed yet

docker.install()
image.pull()  # by digest
weights.download()  # by revision, every file against its SHA-256
engine.serve()  # the systemd unit; restarted only if the release differs
gate.engines()  # a real completion on every engine host

barrier(name="Every engine answers")

balancer.balance()  # least connections over every engine host
gate.endpoint()  # a real completion through every balancer
