"""A first answer of an engine: what is taken for one, and what is asked in a real shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.gate.facts import Answers
from tests.support.data_files import fact_tests
from tests.support.shell import Programs, Shell, printed

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:No command set for test")]  # commands are run below

TestAnswers = fact_tests(Answers, Path(__file__).parent)


@pytest.mark.parametrize(
    ("curl", "answers"),
    [
        ("""echo '{"choices": [{}], "usage": {"completion_tokens": 1}}'""", True),
        ("""echo '{"choices": [{}], "usage": {"completion_tokens": 1}}'; exit 22""", True),
        ("echo 'curl: (7) Failed to connect' >&2; exit 7", False),
        ("""echo '{"error": "overloaded"}'; exit 22""", False),
    ],
)
def test_answers(shell: Shell, programs: Programs, curl: str, answers: bool) -> None:
    programs(curl=curl)
    assert Answers().process(printed(shell, Answers().command("http://10.0.0.11:8000", "m"))) is answers


def test_the_request_is_one_token_of_the_named_model(shell: Shell, programs: Programs) -> None:
    programs(curl='for one in "$@"; do echo "<$one>"; done')
    sent = printed(shell, Answers().command("http://10.0.0.11:8000", "it's a model"))
    assert (
        '<{"model": "it\'s a model", "max_tokens": 1, "messages": [{"role": "user", "content": "Say hello."}]}>' in sent
    )
    assert "<http://10.0.0.11:8000/v1/chat/completions>" in sent
    assert "<--fail-with-body>" in sent
