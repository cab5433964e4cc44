"""Which settings are tried on an engine, and which the estimate leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.plan.engine import plan_host
from barewind.tune.plan import MOST, PLANNED, Candidates, candidates, in_flight, ladder
from tests.support.factories import engine_spec, lab_spec, locked


def found(*, most: int = MOST, has_draft: bool = True, lab: bool = False, **changes: Any) -> Candidates:
    spec = lab_spec(**changes) if lab else engine_spec(**changes)
    lock = locked(spec, spec.model_copy(update={"speculative": True})) if has_draft else locked(spec)
    return candidates(plan_host(spec, lock), lock, most=most)


def names(tried: Candidates) -> list[str]:
    return [candidate.name for candidate in tried.kept]


def test_what_is_planned_is_the_first() -> None:
    tried = found()
    assert names(tried)[0] == PLANNED
    assert tried.kept[0].changes == {}


def test_the_estimate_leaves_out_what_does_less() -> None:
    tried = found(expected_concurrency=8)
    assert "without draft" not in names(tried)
    assert any(line.startswith("without draft: estimated at ") for line in tried.left_out)
    assert all(each.estimated and each.estimated >= 0.95 * (tried.kept[0].estimated or 0) for each in tried.kept)


def test_what_is_estimated_highest_is_tried_first() -> None:
    rates = [candidate.estimated or 0 for candidate in found().kept[1:]]
    assert rates == sorted(rates, reverse=True)


def test_amd_gets_the_attention_of_aiter_where_the_recorded_parser_has_it() -> None:
    amd = {each.name: each for each in found(accelerator="mi300x", has_draft=False).kept}
    backend = amd["attention-backend ROCM_AITER_FA"]
    assert backend.changes == {"engine_args": {"attention-backend": "ROCM_AITER_FA"}}
    assert backend.plan.command.argv[-2:] == ["--attention-backend", "ROCM_AITER_FA"]
    assert "attention-backend ROCM_AITER_FA" not in names(found())
    assert "attention-backend ROCM_AITER_FA" not in names(
        found(accelerator="mi300x", engine="sglang", channel="stable")
    )


def test_options_of_the_user_stay() -> None:
    own = {"attention-backend": "TRITON_ATTN"}
    assert not [name for name in names(found(accelerator="mi300x", engine_args=own)) if "attention" in name]
    kept = found(accelerator="mi300x", engine_args={"seed": 1}).kept
    changed = next(each for each in kept if "engine_args" in each.changes)
    assert changed.changes["engine_args"] == {"seed": 1, "attention-backend": "ROCM_AITER_FA"}


def test_a_draft_that_the_host_lacks_is_not_tried() -> None:
    tried = found(accelerator="mi300x")
    assert "with draft: its host lacks the weights; lock and deploy it with them first" in tried.left_out


def test_more_sequences_are_tried_where_requests_queue() -> None:
    assert "max_num_seqs 16" in names(found(lab=True, max_num_seqs=8))
    assert not [name for name in names(found(lab=True, max_num_seqs=64)) if "seqs" in name]


def test_without_an_estimate_all_are_tried_as_far_as_they_are_wanted() -> None:
    tried = found(lab=True, max_num_seqs=8, max_num_batched_tokens=2048, most=3)
    assert names(tried) == [PLANNED, "without draft", "max_num_batched_tokens 4096"]
    assert tried.left_out == (
        "max_num_batched_tokens 1024: 3 candidates are enough",
        "max_num_seqs 16: 3 candidates are enough",
    )


def test_there_are_never_more_than_eight() -> None:
    assert len(found(accelerator="mi300x", expected_concurrency=4096, speculative=True).kept) <= MOST


@pytest.mark.parametrize(
    ("expected", "replicas", "rungs"), [(None, 1, (1, 8, 32)), (128, 4, (1, 8, 32)), (2, 1, (1, 2, 3))]
)
def test_the_rungs_follow_the_expected_load(expected: int | None, replicas: int, rungs: tuple[int, ...]) -> None:
    spec = engine_spec(expected_concurrency=expected, replicas=replicas)
    assert ladder(in_flight(spec)) == rungs
