"""deploy.py without its gates, for measuring: the gates' completions cost any tool the same."""

from barewind.operations.barrier import barrier
from tasks import balancer, docker, engine, image, preflight, weights

preflight.check()
docker.install()
image.pull()
weights.download()
engine.serve()
barrier(name="Every engine is configured")
balancer.balance()
