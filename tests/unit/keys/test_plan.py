"""What commands make of the keys, and how balancers differ from them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from barewind.errors import BarewindError
from barewind.keys import plan
from barewind.keys.entry import Key
from barewind.keys.file import KeyFile
from tests.support.factories import balancer_spec
from tests.support.keys import CREATED, key

LATER = CREATED + timedelta(days=1)
OLD, NEW = key("alpha/ci", "old-key-Old1"), key("alpha/ci", "new-key-New1", created=CREATED + timedelta(hours=1))
BETA = key("beta", "beta-key-Bet1", parallel=3)


def refused(function: Callable[..., object], *arguments: object, **options: object) -> str:
    with pytest.raises(BarewindError) as caught:
        function(*arguments, **options)
    return str(caught.value)


# --- What balancers shall have ------------------------------------------------------------------------------------------


def test_a_map_has_every_key_that_is_not_revoked_and_says_of_which_file() -> None:
    ends = key("gamma", expires=CREATED, requests_per_minute=600, tokens_per_minute=5, priority="interactive")
    text = plan.map_text(KeyFile(12, (BETA, key("gone", revoked=LATER), ends)))
    head, *lines, end = text.splitlines()
    assert plan.serial(text) == 12
    assert (head[0], end[0]) == ("#", "#")
    assert lines == [
        f"{BETA.sha256} beta:0:3:0:0:0",
        f"{ends.sha256} gamma:600:0:5:-10:{int(CREATED.timestamp())}",
    ]
    assert plan.entries(text) == {BETA.sha256: "beta:0:3:0:0:0", ends.sha256: lines[1].split()[1]}


@pytest.mark.parametrize("text", ["", "# mine\n", "aa b:0:0:0:0:0\n# Written by Barewind, from the keys of serial x\n"])
def test_a_map_of_somebody_else_has_no_serial(text: str) -> None:
    assert plan.serial(text) == 0


@pytest.mark.parametrize(
    ("is_open", "keys", "refused"),
    [(True, (), False), (False, (), True), (False, (key("gone", revoked=LATER),), True), (False, (BETA,), False)],
)
def test_a_balancer_that_would_let_nobody_in_is_refused(is_open: bool, keys: tuple[Key, ...], refused: bool) -> None:
    problem = plan.for_nobody(KeyFile(1, keys), "keys.yaml", balancer_spec(endpoint_open=is_open))
    assert (problem is not None) == refused


# --- add ------------------------------------------------------------------------------------------------------------------


def test_a_key_is_added_and_the_file_counts_on() -> None:
    assert plan.added(KeyFile(3, (OLD,)), BETA) == KeyFile(4, (OLD, BETA))


@pytest.mark.parametrize("before", [{"revoked": CREATED}, {"expires": CREATED}])
def test_an_id_whose_key_is_over_can_have_another(before: dict[str, object]) -> None:
    assert len(plan.added(KeyFile(3, (key("alpha/ci", **before),)), NEW).keys) == 2


def test_an_id_that_has_a_key_is_refused_with_both_ways_on() -> None:
    message = refused(plan.added, KeyFile(3, (OLD,)), NEW)
    assert "alpha/ci: has a key already (...Old1)" in message
    assert "barewind keys rotate INVENTORY alpha/ci" in message
    assert "alpha/NAME" in message


@pytest.mark.parametrize("id", ["barewind", "barewind/probe", "barewind/x"])
def test_barewinds_own_ids_are_nobodys(id: str) -> None:
    assert "choose another name" in refused(plan.added, KeyFile(), key(id))


# --- revoke -----------------------------------------------------------------------------------------------------------------


def test_a_revoked_key_stays_in_the_file() -> None:
    after = plan.revoked(KeyFile(3, (OLD, BETA)), "alpha/ci", LATER)
    assert after == KeyFile(4, (key("alpha/ci", "old-key-Old1", revoked=LATER), BETA))
    assert OLD.sha256 not in plan.map_text(after)


def test_which_of_several_must_be_said() -> None:
    content = KeyFile(3, (OLD, NEW))
    message = refused(plan.revoked, content, "alpha/ci", LATER)
    assert message == "alpha/ci: has 2 keys (...Old1, ...New1); say which: --hint Old1, or --all"
    for hint in ("Old1", "...Old1"):
        left = plan.revoked(content, "alpha/ci", LATER, hint=hint)
        assert [one.hint for one in plan.live(left, "alpha/ci", LATER)] == ["New1"]
    assert plan.live(plan.revoked(content, "alpha/ci", LATER, every=True), "alpha/ci", LATER) == []


def test_one_that_is_revoked_already_changes_nothing() -> None:
    content = KeyFile(3, (key("alpha/ci", revoked=CREATED), BETA))
    assert plan.revoked(content, "alpha/ci", LATER) is content


@pytest.mark.parametrize(
    ("id", "hint", "message"),
    [
        ("alhpa/ci", None, "alhpa/ci: no such key; did you mean 'alpha/ci'?"),
        ("omicron", None, "omicron: no such key; see: barewind keys list INVENTORY"),
        ("alpha/ci", "Bet1", "alpha/ci: has no key that ends in Bet1; there are: ...Old1"),
    ],
)
def test_a_key_that_is_not_there(id: str, hint: str | None, message: str) -> None:
    assert refused(plan.revoked, KeyFile(3, (OLD, BETA)), id, LATER, hint=hint) == message


# --- rotate -----------------------------------------------------------------------------------------------------------------


def rotate(*keys: Key, keep: timedelta | None = None, **changes: object) -> tuple[Key, ...]:
    made = key(keys[0].id, "next-key-Nxt1", created=LATER, by="bob@ws2", **changes)
    return plan.rotated(KeyFile(3, keys), made, keep=keep).keys


def test_the_new_key_has_the_limits_of_the_newest_and_the_old_one_goes_on() -> None:
    newest = key("alpha/ci", "b", created=CREATED + timedelta(hours=2), parallel=9, priority="batch")
    *before, made = rotate(OLD, newest)
    assert before == [OLD, newest]
    assert (made.parallel, made.priority, made.by, made.hint, made.expires) == (9, "batch", "bob@ws2", "Nxt1", None)


@pytest.mark.parametrize(
    ("expires", "kept"),
    [(None, 24), (timedelta(days=90), 24), (timedelta(hours=30), 6)],
    ids=["no end", "later", "sooner"],
)
def test_the_old_key_ends_when_it_is_kept_no_longer(expires: timedelta | None, kept: int) -> None:
    old = key("alpha/ci", "old", expires=None if expires is None else CREATED + expires)
    before, _ = rotate(old, keep=timedelta(hours=24))
    assert before.expires == LATER + timedelta(hours=kept)


def test_the_new_key_lives_as_long_as_the_old_one_did_unless_its_end_is_said() -> None:
    old = key("alpha/ci", "old", expires=CREATED + timedelta(days=90))
    assert rotate(old)[-1].expires == LATER + timedelta(days=90)
    assert rotate(old, expires=LATER + timedelta(days=1))[-1].expires == LATER + timedelta(days=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [((), "no such key"), ((key("alpha/ci", revoked=CREATED),), "has no key that is still good")],
)
def test_nothing_to_rotate(content: tuple[Key, ...], message: str) -> None:
    assert message in refused(plan.rotated, KeyFile(3, content), NEW)


# --- Barewind's own ---------------------------------------------------------------------------------------------------------


def test_the_key_of_a_session_leaves_nothing_behind_and_takes_what_others_have_left() -> None:
    left = key(plan.SESSION, "left", expires=CREATED)
    going_on = key(plan.SESSION, "other", expires=LATER + timedelta(days=1))
    mine = key(plan.SESSION, "mine", created=LATER, expires=LATER + timedelta(days=1))
    during = plan.in_session(KeyFile(3, (OLD, left, going_on)), mine)
    assert during == KeyFile(4, (OLD, going_on, mine))
    assert plan.without(during, mine.sha256) == KeyFile(5, (OLD, going_on))


# --- How balancers differ -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, ["lacks alpha/ci (...Old1), beta (...Bet1)"]),
        ({OLD.sha256: "alpha/ci:0:0:0:0:0", BETA.sha256: "beta:0:3:0:0:0"}, []),
        ({OLD.sha256: "alpha/ci:0:0:0:0:0", BETA.sha256: "beta:0:4:0:0:0"}, ["has other limits for beta (...Bet1)"]),
        (
            {OLD.sha256: "alpha/ci:0:0:0:0:0", BETA.sha256: "beta:0:3:0:0:0", "f" * 64: "mallory:0:0:0:0:0"},
            ["still lets in mallory (in no file)"],
        ),
        ({OLD.sha256: "alpha/ci:0:0:0:0:0", BETA.sha256: "beta:0:3:0:0:0", "f" * 64: "barewind/probe:0:0:0:0:9"}, []),
    ],
    ids=["none", "the same", "another limit", "a stranger", "a probe"],
)
def test_differences_in_words(known: dict[str, str], said: list[str]) -> None:
    content = KeyFile(1, (OLD, BETA))
    assert list(plan.differences(plan.entries(plan.map_text(content)), known, plan.names(content))) == said


def test_of_many_differences_some_are_named() -> None:
    content = KeyFile(1, tuple(key(f"team{number}") for number in range(9)))
    (line,) = plan.differences(plan.entries(plan.map_text(content)), {}, plan.names(content))
    assert line.endswith("team4 (...eam4) and 4 more")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "good"),
        ({"expires": LATER + timedelta(1)}, "good"),
        ({"expires": LATER}, "expired"),
        ({"expires": LATER, "revoked": LATER}, "revoked 2026-11-29T12:00:00Z"),
    ],
)
def test_states(changes: dict[str, object], state: str) -> None:
    assert plan.state(key(**changes), LATER) == state
