"""deploy.py without its gates, for measuring: the gates' completions cost any tool the same."""

from barewind.hosts.barrier import barrier
from barewind.tasks.steps import balancer, docker, images, preflight, release, weights

preflight.check()
docker.install()
images.pull()
weights.download()
release.serve()
barrier(name="Every engine is configured")
balancer.balance()
