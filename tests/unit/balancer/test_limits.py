"""What one client may take."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from barewind.balancer.limits import MIB, limits
from tests.support.factories import balancer_spec, engine_spec, lab_spec


def test_a_body_follows_context_and_images() -> None:
    assert limits(balancer_spec(), [engine_spec(context_length=131072)]).max_body == 2 * MIB
    assert limits(balancer_spec(), [engine_spec(), engine_spec(context_length=1024)]).max_body == 3 * MIB
    assert limits(balancer_spec(), [engine_spec(), engine_spec(modality="image")]).max_body == 40 * MIB
    assert limits(balancer_spec(max_body=5000), [engine_spec()]).max_body == 5000


def test_who_asks_one_after_another_is_never_two_at_a_time() -> None:
    """HAProxy counts a request that has just ended for a moment longer: of one at a time, one in twelve was refused."""
    assert balancer_spec(requests_per_client=2).requests_per_client == 2
    with pytest.raises(ValidationError):
        balancer_spec(requests_per_client=1)


def test_times_are_ones_that_haproxy_takes() -> None:
    for key in ("stream_timeout", "queue_timeout"):  # it ends at 2^31 milliseconds
        with pytest.raises(ValidationError):
            balancer_spec(**{key: 2**31 // 1000 + 1})


def test_engines_have_as_many_places_as_sequences_whoever_says_so() -> None:
    specs = [
        engine_spec(host="a"),
        engine_spec(host="b", max_num_seqs=32),
        engine_spec(host="c", engine_args={"max-num-seqs": 64}),
        lab_spec(host="d"),
    ]
    assert limits(balancer_spec(), specs).slots == {"a": 512, "b": 32, "c": 64, "d": 128}


@pytest.mark.parametrize(
    ("sequences", "most"), [([128, 128], 63), ([128], 31), ([16, 16], 7), ([4, 4], 4), ([1], 4), ([1024] * 8, 2047)]
)
def test_one_address_has_fewer_than_a_quarter_of_the_places_but_four(sequences: list[int], most: int) -> None:
    specs = [engine_spec(host=f"gpu{number}", max_num_seqs=count) for number, count in enumerate(sequences)]
    assert limits(balancer_spec(), specs).requests_per_client == most
    assert limits(balancer_spec(requests_per_client=9), specs).requests_per_client == 9


def test_hosts_that_stand_by_have_no_places_to_fill() -> None:
    specs = [engine_spec(host="blue"), engine_spec(host="green", standby=True)]
    assert limits(balancer_spec(), specs).requests_per_client == 127
