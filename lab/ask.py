"""The end of the demo: a question through the balancer, its answer, and what was run: `python -m lab.ask COMMAND`."""

import sys

import requests
from rich.console import Console

from lab import state, topology

_TIMEOUT = 120  # seconds; two engines share two cores


def main() -> int:
    """Print the answer; exit status 1 when there is none."""
    endpoint = f"http://{topology.HTTP_ADDRESS}:{(state.load() or state.Lab()).http_port}"
    console = Console(soft_wrap=True, highlight=False)
    question = {"model": topology.MODEL, "max_tokens": 24, "messages": [{"role": "user", "content": "Who are you?"}]}
    try:
        answer = requests.post(f"{endpoint}/v1/chat/completions", json=question, timeout=_TIMEOUT)
        answer.raise_for_status()
        text = answer.json()["choices"][0]["message"]["content"]
    except (requests.RequestException, KeyError, ValueError) as error:
        console.print(f"[red]{endpoint} gave no answer: {error}[/]. See `barewind lab status`", markup=True)
        return 1
    console.print("\n[bold]A chat completion: client -> HAProxy -> systemd unit -> Docker container -> vLLM[/]")
    console.print("Answer   ", end="")
    console.print(repr(text), markup=False)
    console.print(
        "         (the weights are random, so the words mean nothing; everything they passed through is real)"
    )
    console.print(f"Endpoint {endpoint}/v1")
    console.print(f"Deployed by: .venv/bin/{' '.join(sys.argv[1:])}")
    console.print("Take the lab down: make lab-down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
