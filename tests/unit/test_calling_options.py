"""The options of a call: which values they take, which contradict one another."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gearmanny.aio import AioClient
from gearmanny.calling.options import CallOptions
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import InvalidOption

NOW = datetime.now(UTC)
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"nonsense": 1}, "There is no option nonsense. There are timeout, background"),
    ({"timeout": -1}, "timeout must be a number of seconds, 0 or more, or None, not -1"),
    ({"timeout": "5"}, "timeout must be a number of seconds"),
    ({"background": 1}, "background must be True or False, not 1"),
    ({"idempotent": None}, "idempotent must be True or False"),
    ({"trace": "yes"}, "trace must be True or False"),
    ({"recorded": None}, "recorded must be True or False"),
    ({"unique_waiting": 5}, "unique_waiting must be a non-empty string"),
    ({"unique_waiting": "k", "background": True}, "unique_waiting is a key of recorded jobs"),
    ({"headers": {"a": 1}, "background": True}, "The header 'a' must be a string"),
    ({"headers": {"a": "b"}, "background": True}, "Headers travel in the record of a job"),
    ({"headers": {"a": "b"}}, "Headers travel in the record of a job"),
    ({"priority": "urgent"}, "priority must be one of high, normal, low, not 'urgent'"),
    ({"priority": None}, "priority must be one of"),
    ({"unique": ""}, "unique must be a non-empty string"),
    ({"unique": 5}, "unique must be a non-empty string"),
    ({"unique": "x" * 62}, "has 62 bytes; at most 61 bytes"),
    ({"unique": "é" * 31}, "has 62 bytes"),
    ({"unique": "a\0b"}, "no control characters are allowed"),
    ({"unique": "\ud800"}, "no control characters are allowed"),
    (
        {"at": 5, "background": True},
        "at must be a datetime, not 5. For seconds from now there is delay",
    ),
    ({"at": NOW.replace(tzinfo=None), "background": True}, "has no time zone"),
    ({"at": datetime(1960, 1, 1, tzinfo=UTC), "background": True}, "not between 1970 and 2105"),
    ({"at": datetime(2107, 1, 1, tzinfo=UTC), "background": True}, "not between 1970 and 2105"),
    ({"delay": -1, "background": True}, "delay must be a number of seconds, 0 or more"),
    ({"delay": True, "background": True}, "delay must be a number of seconds"),
    ({"delay": math.nan, "background": True}, "delay must be a number of seconds"),
    ({"delay": math.inf, "background": True}, "delay must be a number of seconds"),
    ({"on_update": 5}, "on_update must be a function, not 5"),
    ({"at": NOW, "delay": 1, "background": True}, "at and delay both say when"),
    ({"at": NOW}, "add background=True"),
    ({"delay": 1}, "add background=True"),
    ({"delay": 1, "background": True, "priority": "high"}, "keeps no priority of a job"),
    ({"at": NOW, "background": True, "priority": "low"}, "keeps no priority of a job"),
    ({"background": True, "on_update": print}, "passes no updates of a background job on"),
    ({"trace": True, "unique": "key"}, "a call has trace or unique"),
]


@pytest.mark.parametrize("kind", [SimpleClient, AsyncClient, AioClient])
@pytest.mark.parametrize(("options", "message"), INVALID)
def test_what_cannot_be_is_refused_at_once(
    kind: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidOption) as caught:
        kind().using(**options)
    assert message in str(caught.value)


def test_what_contradicts_earlier_options_is_refused_too() -> None:
    kept = SimpleClient().using(background=True, delay=1)
    with pytest.raises(InvalidOption, match="keeps no priority"):
        kept.using(priority="high")
    with pytest.raises(InvalidOption, match="add background=True"):
        kept.using(background=False)
    assert kept.using(background=False, delay=None, priority="high")


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": None},
        {"timeout": 0},
        {"timeout": 1e300},
        {"unique": "x" * 61},
        {"unique": "Jürgen, 5 €"},
        {"priority": "low", "background": True, "unique": "k", "idempotent": True},
        {"delay": 0, "background": True},
        {"at": NOW.astimezone(timezone(timedelta(hours=-5))), "background": True},
        {"on_update": print, "idempotent": True},
        {"trace": True, "background": True},
        {"recorded": False},
    ],
)
def test_what_can_be_is_taken(options: dict[str, Any]) -> None:
    assert CallOptions().changed(**options)._asdict().items() >= options.items()


def test_a_record_has_room_for_what_a_job_server_has_not() -> None:
    recorded = CallOptions().changed(
        True, background=True, at=NOW, priority="low", unique="k", unique_waiting="w"
    )
    assert recorded.is_recorded(True)
    assert not recorded.is_recorded(False)
    with pytest.raises(InvalidOption, match="keeps no priority"):
        recorded.changed(False, unique_waiting=None)


def test_a_job_is_due_never_too_early() -> None:
    options = CallOptions(background=True)
    assert options.due(time.time) is None
    assert options.changed(at=datetime.fromtimestamp(1000.25, UTC)).due(time.time) == 1001
    assert options.changed(at=datetime.fromtimestamp(1000, UTC)).due(time.time) == 1000
    before = time.time()
    due = options.changed(delay=2.5).due(time.time)
    assert due is not None
    assert before + 2.5 <= due <= time.time() + 3.5


def test_a_delay_beyond_what_a_job_server_keeps_is_refused_with_the_call() -> None:
    with pytest.raises(InvalidOption, match="leads beyond the year 2105"):
        SimpleClient().using(background=True, delay=2**32).call("nobody")


def test_headers_are_those_that_were_checked() -> None:
    headers: dict[str, Any] = {"a": "b"}
    recorded = CallOptions().changed(True, background=True, headers=headers)
    headers["a"] = 7
    assert recorded.headers == {"a": "b"}
    assert recorded.changed(True, headers=None).headers is None
