"""Searches in arguments, errors in groups, and how fast functions are."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from gearmanny.records import summaries
from gearmanny.records.listing import Wanted
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event
from gearmanny.records.summaries import Failures, Found
from gearmanny.records.values import NewJob
from tests.contract.records.conftest import Claiming, Database
from tests.contract.records.test_jobs import submit

MASK = ["password"]


def search(store: SQLStore, text: str, function: str | None = None, size: int = 100) -> Found:
    return store.search(Wanted(function), text, MASK, size)


def test_jobs_are_found_by_a_text_in_their_arguments(store: SQLStore) -> None:
    first = submit(store, arguments='{"parcel": "Ada 100%"}')
    second = submit(store, "g", arguments='{"parcel": "Ada"}')
    submit(store, arguments=b"Ada")
    assert search(store, "Ada") == Found(sorted([first, second], reverse=True), is_all=True)
    assert search(store, "Ada", "g").ids == [second]
    assert search(store, '"parcel": "Ada"').ids == [second]
    assert search(store, "0%").ids == [first]
    assert search(store, "A_a").ids == []
    assert search(store, "Ada", size=1).ids == [max(first, second)]


@pytest.mark.parametrize("arguments", ['{"name": "Zoë"}', '{"name": "Zo\\u00eb"}'])
def test_a_text_is_found_whichever_way_json_has_written_it(store: SQLStore, arguments: str) -> None:
    id = submit(store, arguments=arguments)
    assert search(store, "Zoë").ids == [id]


def test_jobs_are_found_by_their_keys(store: SQLStore) -> None:
    unique, waiting = submit(store, unique="k 1"), submit(store, unique_waiting="k 1")
    assert search(store, "k 1").ids == sorted([unique, waiting], reverse=True)
    assert search(store, "k").ids == []


def test_nobody_finds_what_is_masked(store: SQLStore) -> None:
    submit(store, arguments='{"user": "Ada", "password": "hunter2"}')
    assert search(store, "hunter2").ids == []
    assert search(store, "hunt").ids == []


def test_a_search_says_that_it_looked_at_the_newest_only(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "MANY", 2)
    ids = sorted(submit(store, arguments='"a"') for _ in range(3))
    assert search(store, "a") == Found([ids[2], ids[1]], is_all=False)


def fail(store: SQLStore, running: Claiming, function: str, *error: str, lines: str = "") -> str:
    claim = running(function).claim
    type, message = error
    failure = {"type": type, "message": message, "args": [], "traceback": lines or None}
    store.finish(claim, Event.FAILED, error=json.dumps({"gearmanny_error": failure}))
    return claim.id


def trace(*frames: str) -> str:
    return "Traceback (most recent call last):\n" + "".join(
        f'  File "{frame}", line 7, in ship\n    ship()\n' for frame in frames
    )


def test_errors_are_grouped_by_function_type_and_place(store: SQLStore, running: Claiming) -> None:
    kind = "builtins.ValueError"
    here, there = trace("a.py", "b.py"), trace("b.py", "a.py")
    older = fail(store, running, "f", kind, "1", lines=here)
    newest = fail(store, running, "f", kind, "2", lines=here)
    others = [
        fail(store, running, "f", kind, "3", lines=there),
        fail(store, running, "g", kind, "4", lines=here),
        fail(store, running, "f", "builtins.KeyError", "5", lines=here),
        fail(store, running, "f", kind, "6"),
    ]
    groups, is_all = store.failures()
    assert is_all
    message, id = max([("1", older), ("2", newest)], key=lambda pair: pair[1])
    assert groups[0] == Failures("f", kind, "b.py:7 in ship", message, id, 2)
    assert {group.id for group in groups[1:]} == set(others)
    assert [group.function for group in store.failures("g")[0]] == ["g"]
    assert store.failures("h") == ([], True)


@pytest.mark.parametrize("error", [None, "not JSON", '{"other": 1}'])
def test_errors_of_other_forms_are_groups_too(
    store: SQLStore, running: Claiming, error: str | None
) -> None:
    claim = running().claim
    store.finish(claim, Event.FAILED, error=error)
    assert store.failures()[0] == [Failures("f", "", "", error or "", claim.id, 1)]


def ended(database: Database, store: SQLStore, running: Claiming, took: Sequence[float]) -> None:
    """Makes jobs that took so many seconds, and ended just now."""
    for seconds in took:
        claim = running().claim
        store.finish(claim, Event.SUCCEEDED, "1")
        put_back(database, claim.id, "started", seconds)


def put_back(database: Database, id: str, column: str, seconds: float) -> None:
    """Makes a time in a record one that was so many seconds before."""
    moment = (
        f"{column} - interval '{seconds} seconds'"
        if database.is_postgres
        else f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-{seconds} seconds')"
    )
    hexed = id if database.is_postgres else id.replace("-", "")
    database.execute(f"UPDATE gearmanny_jobs SET {column} = {moment} WHERE id = '{hexed}'")


def test_the_pace_of_a_function_is_known(
    store: SQLStore, running: Claiming, database: Database
) -> None:
    ended(database, store, running, [1, 2, 3, 4, 100])
    fail(store, running, "f", "a", "b")
    pace, none = store.paces(["f", "g"])
    assert (pace.function, pace.slots[-1], sum(pace.slots), pace.is_whole) == ("f", 6, 6, True)
    assert (round(pace.median or 0), round(pace.p95 or 0)) == (3, 100)
    assert (sum(none.slots), none.median, none.p95) == (0, None, None)


def test_the_last_runs_of_a_function_are_known(
    store: SQLStore, running: Claiming, database: Database
) -> None:
    ids = [fail(store, running, "f", "a", "b") for _ in range(3)]
    claim = running().claim
    store.finish(claim, Event.SUCCEEDED, "1")
    for seconds, id in enumerate([claim.id, *reversed(ids)]):  # not in the same millisecond
        put_back(database, id, "finished", seconds)
    submit(store)
    running()
    runs = store.runs("f", 2)
    assert [(run.id, run.state) for run in runs] == [(ids[2], "failed"), (claim.id, "succeeded")]
    assert all(run.seconds < 60 for run in runs)
    assert store.runs("g", 2) == []


def test_a_pace_says_that_there_was_more(
    store: SQLStore, running: Claiming, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "_COUNTED", 2)
    ended(database, store, running, [1, 1, 1])
    (pace,) = store.paces(["f"])
    assert (sum(pace.slots), pace.is_whole) == (2, False)


def test_functions_are_found_however_many_jobs_each_has(store: SQLStore) -> None:
    assert store.functions() == []
    store.submit([NewJob("b") for _ in range(3)])
    store.submit([NewJob("a", delay=60), NewJob("c", handed_over=False)])
    assert store.functions() == ["a", "b", "c"]
    assert store.functions(2) == ["a", "b"]
