"""The official OpenAI client through TLS and HAProxy, with a key, to the stand-in engine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import pytest

from barewind.balancer import certificate
from barewind.balancer import commands as balancer
from barewind.keys.entry import Key, map_line
from tests.conformance.exchanges import MODEL
from tests.support import standin
from tests.support.certificates import Authority
from tests.support.endpoint_keys import key, lines, text_of
from tests.support.factories import balancer_spec
from tests.support.haproxy import HAProxy, engine_at

ADDRESS = "127.0.0.1"
TOKENS = 8
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
HOUR = timedelta(hours=1)
KEYS = (
    key("alpha"),
    key("few", requests_per_minute=2),
    key("short", tokens_per_minute=1),
    key("over", expires=datetime.now(UTC) - HOUR),
)
Client = Callable[..., openai.OpenAI]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[standin.Engine]:
    with standin.engine(standin.write_model(tmp_path_factory.mktemp("model"))) as running:
        yield running


@pytest.fixture
def trusted(tmp_path: Path) -> ssl.SSLContext:
    """What clients trust: the site's own authority."""
    return ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))


@pytest.fixture(autouse=True)
def endpoint(haproxy: HAProxy, engine: standin.Engine, tmp_path: Path) -> HAProxy:
    root = Authority("Root")
    (tmp_path / "ca.pem").write_text(root.pem)
    files = Authority("Middle", root).issue(tmp_path, (ADDRESS,), name="issued")
    keys = {"endpoint_tls": True, "endpoint_name": ADDRESS, "endpoint_certificate": files[0], "endpoint_key": files[1]}
    shown = certificate.read(balancer_spec(**keys))
    assert shown is not None
    (tmp_path / "endpoint.pem").write_text(shown.pem)
    port = int(engine.address.rpartition(":")[2])
    engines = [engine_at("gpu1", port, max_num_seqs=256)]
    haproxy.use(engines, endpoint_open=False, trusted_clients=[ADDRESS], **keys)
    write(haproxy, *KEYS)
    haproxy.start()
    haproxy.until(balancer.wait_checked)
    return haproxy


def write(haproxy: HAProxy, *keys: Key) -> None:
    """Have the map of keys hold these when HAProxy starts."""
    (haproxy.path / "keys.map").write_text("".join(f"{map_line(one)}\n" for one in keys))


@pytest.fixture
def client(endpoint: HAProxy, trusted: ssl.SSLContext) -> Iterator[Client]:
    """Clients by the id of their key, as people make them, but for what is not to be tried again by itself."""
    made: list[openai.OpenAI] = []

    def make(id: str, verify: ssl.SSLContext = trusted) -> openai.OpenAI:
        http = openai.DefaultHttpxClient(verify=verify, trust_env=False)
        url = f"https://{ADDRESS}:{endpoint.port}/v1"
        made.append(openai.OpenAI(api_key=text_of(id), base_url=url, http_client=http, max_retries=0))
        return made[-1]

    yield make
    for one in made:
        one.close()


def asked(client: openai.OpenAI, **more: Any) -> Any:
    """A chat completion of so many tokens."""
    return client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=TOKENS, **more)


def streamed(client: openai.OpenAI) -> tuple[str, int]:
    """The text of a streamed answer and the tokens that its usage tells."""
    chunks = list(asked(client, stream=True, stream_options={"include_usage": True}))
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices), chunks[
        -1
    ].usage.completion_tokens


def test_a_client_lists_chats_and_streams(endpoint: HAProxy, client: Client) -> None:
    alpha = client("alpha")
    assert [model.id for model in alpha.models.list()] == [MODEL]
    whole = asked(alpha)
    assert whole.usage.completion_tokens == TOKENS
    assert streamed(alpha) == (whole.choices[0].message.content, TOKENS)
    assert {line["key"] for line in lines(endpoint)} == {"alpha"}


def test_thirty_streams_at_a_time_are_whole(client: Client) -> None:
    alpha = client("alpha")
    with ThreadPoolExecutor(30) as pool:
        answers = set(pool.map(lambda _: streamed(alpha), range(30)))
    assert len(answers) == 1
    assert answers.pop()[1] == TOKENS


def test_an_asynchronous_client_streams(endpoint: HAProxy, trusted: ssl.SSLContext) -> None:
    async def run() -> str:
        http = openai.DefaultAsyncHttpxClient(verify=trusted, trust_env=False)
        url = f"https://{ADDRESS}:{endpoint.port}/v1"
        async with openai.AsyncOpenAI(api_key=text_of("alpha"), base_url=url, http_client=http) as alpha:
            chunks = await alpha.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=TOKENS, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    assert len(asyncio.run(run()).split()) == TOKENS


@pytest.mark.parametrize(("id", "code"), [("nobody", "invalid_api_key"), ("over", "expired_api_key")])
def test_who_has_no_good_key_gets_the_clients_own_error(client: Client, id: str, code: str) -> None:
    for ask in (asked, lambda one: one.models.list()):
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(client(id))
        error = caught.value
        assert (error.status_code, error.code, error.type) == (401, code, "invalid_request_error")
        assert error.request_id


def test_limits_are_the_clients_own_error_and_say_how_long_to_wait(client: Client) -> None:
    few, short = client("few"), client("short")
    for one, good, code, wait in ((few, 2, "rate_limit_exceeded", "10"), (short, 1, "token_limit_exceeded", "10")):
        for _ in range(good):
            asked(one)
        with pytest.raises(openai.RateLimitError) as caught:
            asked(one)
        error = caught.value
        assert (error.status_code, error.code, error.response.headers["retry-after"]) == (429, code, wait)


def test_errors_of_engines_and_balancers_have_the_clients_types(client: Client) -> None:
    with pytest.raises(openai.NotFoundError, match="no-such-model"):
        client("alpha").chat.completions.create(model="no-such-model", messages=HELLO)
    with pytest.raises(openai.NotFoundError) as caught:
        client("alpha").files.list()
    assert caught.value.code == "not_found"
    with pytest.raises(openai.APIStatusError) as large:
        asked(client("alpha"), user="x" * 10**7)
    assert (large.value.status_code, large.value.code) == (413, "request_too_large")


def test_who_does_not_know_the_authority_does_not_send_the_key(endpoint: HAProxy, client: Client) -> None:
    with pytest.raises(openai.APIConnectionError) as caught:
        asked(client("alpha", verify=ssl.create_default_context()))
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value.__cause__)
    assert lines(endpoint) == []
