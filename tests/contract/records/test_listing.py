"""Pages of records, deleting some, and the command that does so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gearmanny import cli
from gearmanny.errors import InvalidOption
from gearmanny.payload.failures import encode_failure
from gearmanny.records import listing
from gearmanny.records.ids import first_id_of
from gearmanny.records.listing import Page, Wanted
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, NewJob, Refusal, Refused
from tests.contract.records.conftest import Claiming, Database
from tests.contract.records.test_jobs import look, submit
from tests.support.servers import PATIENCE, ROOT

NOBODY = "018f0000-0000-7000-8000-000000000000"

Jobs = Callable[..., tuple[int, list[Any]]]


def wanted(store: SQLStore, **wanted: Any) -> list[str]:
    """All pages."""
    found, after = [], None
    while True:
        page = store.page(Wanted(**wanted), after, 2)
        found += page.ids
        after = page.after
        if after is None:
            return found


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a page look through few records, two statements of two."""
    monkeypatch.setattr(listing, "_READ", 2)
    monkeypatch.setattr(listing, "_READS", 1)


@pytest.mark.usefixtures("few")
def test_pages_show_every_record_once_the_newest_first(store: SQLStore) -> None:
    ids = [submit(store) for _ in range(5)]
    assert wanted(store) == sorted(ids, reverse=True)
    assert len(store.page(Wanted()).ids) == 4
    assert len(store.page(Wanted(), size=3).ids) == 3


@pytest.mark.usefixtures("few")
def test_what_comes_and_goes_between_two_pages_moves_no_other(store: SQLStore) -> None:
    ids = sorted(submit(store) for _ in range(4))
    first = store.page(Wanted(), size=2)
    store.delete(first.ids)
    submit(store)
    assert list(store.page(Wanted(), first.after).ids) == [ids[1], ids[0]]


@pytest.mark.usefixtures("few")
def test_records_are_found_by_what_they_are(store: SQLStore, running: Claiming) -> None:
    plain, keyed = submit(store, "f"), submit(store, "g", unique="k")
    waiting = submit(store, "f", unique_waiting="k")
    runs = running("g").claim.id
    assert wanted(store, function="f") == sorted([plain, waiting], reverse=True)
    assert wanted(store, state=State.RUNNING) == [runs]
    assert wanted(store, key="k") == sorted([keyed, waiting], reverse=True)
    assert wanted(store, key="k", function="g", state=State.QUEUED) == [keyed]
    assert wanted(store, key="other") == []


@pytest.mark.usefixtures("few")
def test_a_page_that_found_nothing_says_where_the_next_one_begins(store: SQLStore) -> None:
    oldest, *others = sorted(submit(store, unique=str(number)) for number in range(5))
    page = store.page(Wanted(key="0"))
    assert (page.ids, page.after) == ([], others[0])
    assert store.page(Wanted(key="0"), page.after) == Page([oldest], None)


@pytest.fixture(params=[100, 1], ids=["few are wanted", "many are wanted"])
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The number up to which records are counted and sorted."""
    monkeypatch.setattr(listing, "MANY", request.param)
    return int(request.param)


def test_records_of_each_state_are_found_and_counted(
    store: SQLStore, running: Claiming, many: int
) -> None:
    by_state: dict[State, set[str]] = {state: set() for state in State}
    for _ in range(2):
        by_state[State.QUEUED] |= {submit(store), submit(store, delay=60.0)}
        by_state[State.RUNNING].add(running().claim.id)
        for state, event in (
            (State.SUCCEEDED, Event.SUCCEEDED),
            (State.FAILED, Event.FAILED),
            (State.CANCELLED, Event.INTERRUPTED),
        ):
            ended = running().claim
            store.finish(ended, event, error="{}")
            by_state[state].add(ended.id)
    others = {submit(store, "g"), running("g").claim.id, failed(store, running, "g")}

    for state, ids in by_state.items():
        assert wanted(store, state=state, function="f") == sorted(ids, reverse=True)
        assert set(wanted(store, state=state)) >= ids
        assert store.count(Wanted("f", state)) == min(len(ids), many + 1)
    of_function = set().union(*by_state.values())
    assert set(wanted(store, function="f")) == of_function
    assert set(wanted(store)) == of_function | others
    assert store.count(Wanted("f")) == min(len(of_function), many + 1)
    assert store.count(Wanted()) == min(len(of_function | others), many + 1)
    assert store.count(Wanted(key="k")) is None


def test_nobody_counts_where_that_would_be_a_look_at_all(
    store: SQLStore, running: Claiming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MANY", 1)
    for _ in range(2):
        running("g")
    assert store.count(Wanted("f", State.RUNNING)) is None
    assert wanted(store, function="f", state=State.RUNNING) == []


@pytest.mark.parametrize("state", [None, State.QUEUED])
def test_records_of_a_time_are_found(store: SQLStore, state: State | None, many: int) -> None:
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 6)]
    ids = [first_id_of(day) for day in days]
    store.submit([NewJob("f", id=id) for id in ids])
    assert wanted(store, state=state, since=days[1], until=days[3]) == [ids[2], ids[1]]
    assert wanted(store, state=state, since=days[4]) == [ids[4]]
    assert wanted(store, state=state, until=days[1]) == [ids[0]]
    # Where many have that state, only a look at all of them would tell.
    number = None if state is not None and many == 1 else 2
    assert store.count(Wanted(state=state, since=days[1], until=days[3])) == number


def test_a_search_that_cannot_find_anything_is_refused(store: SQLStore) -> None:
    with pytest.raises(InvalidOption, match="NUL"):
        store.page(Wanted(key="\0"))


def test_what_is_deleted_is_gone(store: SQLStore, running: Claiming, database: Database) -> None:
    ended, waits, runs = running(), submit(store), running()
    store.progress(ended.claim, 1, 2)
    store.finish(ended.claim, Event.SUCCEEDED, "1")
    assert set(store.delete([ended.claim.id, waits, runs.claim.id, NOBODY])) == {
        ended.claim.id,
        waits,
    }
    assert store.look(ended.claim.id) is None
    assert database.execute("SELECT count(*) FROM gearmanny_notes") == [(0,)]
    assert look(store, runs.claim.id).state is State.RUNNING
    assert store.delete([]) == []


def test_a_deleted_job_never_runs(store: SQLStore, running: Claiming) -> None:
    process = running().claim
    id = submit(store)
    store.delete([id])
    owner = look(store, process.id).process
    assert owner is not None
    assert store.claim(id, "f", 1, owner) == Refused(Refusal.UNKNOWN)


@pytest.fixture
def jobs(database: Database, store: SQLStore, capsys: pytest.CaptureFixture[str]) -> Jobs:
    """Runs `gearmanny jobs --json`; returns the exit code, and what was written."""
    assert store.id

    def jobs(*arguments: str) -> tuple[int, list[Any]]:
        code = cli.main(["jobs", "--records", database.url, *arguments, "--json"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return jobs


def failed(store: SQLStore, running: Claiming, function: str = "f", **options: Any) -> str:
    claim = running(function, **options).claim
    error = '{"gearmanny_error": {"type": "builtins.ValueError", "message": "no"}}'
    store.finish(claim, Event.FAILED, error=error)
    return claim.id


class TestTheCommand:
    def test_it_lists_jobs(self, jobs: Jobs, store: SQLStore) -> None:
        ids = sorted([submit(store), submit(store), submit(store, "g")], reverse=True)
        code, found = jobs("list")
        assert (code, [job["id"] for job in found]) == (0, ids)
        assert [job["function"] for job in jobs("list", "--function", "g")[1]] == ["g"]
        assert len(jobs("list", "--limit", "2")[1]) == 2
        assert jobs("list", "--state", "failed") == (0, [])

    def test_it_shows_a_job_without_its_secrets(
        self, jobs: Jobs, store: SQLStore, running: Claiming
    ) -> None:
        headers = '{"Authorization": "s3cret", "request": "r-17"}'
        arguments = '{"user": "ada", "password": "s3cret"}'
        claim = running(arguments=arguments, headers=headers).claim
        store.finish(claim, Event.SUCCEEDED, '{"api_key": "s3cret"}')
        code, (job,) = jobs("show", claim.id)
        assert (code, job["state"], job["arguments"]["user"]) == (0, "succeeded", "ada")
        assert job["headers"] == {"Authorization": "********", "request": "r-17"}
        assert "s3cret" not in json.dumps(job)
        assert jobs("show", NOBODY) == (1, [{"id": NOBODY, "state": None}])

    def test_bytes_are_shown_by_their_number(self, jobs: Jobs, store: SQLStore) -> None:
        assert jobs("show", submit(store, arguments=b"\xff\0"))[1][0]["arguments"] == "2 bytes"

    def test_it_queues_failed_jobs_again(
        self, jobs: Jobs, store: SQLStore, running: Claiming
    ) -> None:
        first, second = failed(store, running), failed(store, running, "g")
        assert jobs("retry", first)[0] == 0
        assert (look(store, first).state, look(store, second).state) == ("queued", "failed")
        code, (report,) = jobs("retry", first)
        assert (code, report["jobs"]) == (1, 0)
        assert report["problems"] == [f"{first} is queued: only a failed job can be queued again"]
        assert jobs("retry", "--function", "g")[1][0]["jobs"] == 1
        assert look(store, second).state is State.QUEUED

    def test_a_key_that_is_taken_is_reported(
        self, jobs: Jobs, store: SQLStore, running: Claiming
    ) -> None:
        id = failed(store, running, unique="k")
        submit(store, unique="k")
        code, (report,) = jobs("retry", id)
        assert code == 1
        assert "another one has its key now" in report["problems"][0]

    def test_it_cancels_jobs(self, jobs: Jobs, store: SQLStore, running: Claiming) -> None:
        waits, runs, ended = submit(store), running().claim.id, failed(store, running)
        assert jobs("cancel", waits, runs) == (
            0,
            [{"verb": "cancel", "jobs": 2, "problems": []}],
        )
        assert (look(store, waits).state, look(store, runs).cancelling) == ("cancelled", True)
        assert jobs("cancel", ended)[0] == 1

    def test_somebodys_data_is_deleted_by_one_command(self, jobs: Jobs, store: SQLStore) -> None:
        hers = [
            submit(store, arguments='{"customer": 17}'),
            submit(store, "g", arguments='{"customer": "17", "more": 1}'),
        ]
        others = [
            submit(store, arguments='{"customer": 18}'),
            submit(store, arguments="[17]"),
            submit(store, arguments=b"17"),
        ]
        code, (report,) = jobs("delete", "--argument", "customer=17")
        assert (code, report["jobs"]) == (0, 2)
        assert [store.look(id) for id in hers] == [None, None]
        assert None not in [store.look(id) for id in others]
        assert jobs("delete", "--all")[1][0]["jobs"] == 3

    def test_what_runs_is_not_deleted(self, jobs: Jobs, store: SQLStore, running: Claiming) -> None:
        runs = running().claim.id
        code, (report,) = jobs("delete", runs)
        assert code == 1
        assert report["problems"] == [f"{runs} is running: cancel it before you delete it"]
        assert look(store, runs).state is State.RUNNING
        ended = submit(store)
        code, (report,) = jobs("delete", "--function", "f")
        assert (code, report["jobs"], store.look(ended)) == (1, 1, None)
        assert report["problems"] == [f"{runs} is running: cancel it before you delete it"]

    def test_of_many_those_whose_key_is_taken_are_reported(
        self, jobs: Jobs, store: SQLStore, running: Claiming
    ) -> None:
        failed(store, running, unique="k")
        again = failed(store, running)
        submit(store, unique="k")
        code, (report,) = jobs("retry", "--function", "f")
        assert (code, report["jobs"], look(store, again).state) == (1, 1, "queued")
        (problem,) = report["problems"]
        assert "another one has its key now" in problem

    def test_it_deletes_what_ended_long_ago(
        self, jobs: Jobs, store: SQLStore, running: Claiming
    ) -> None:
        id, waits = failed(store, running), submit(store)
        assert jobs("prune", "--days", "1")[1][0]["jobs"] == 0
        assert jobs("prune", "--days", "0", "--state", "succeeded")[1][0]["jobs"] == 0
        assert jobs("prune", "--days", "0")[1][0]["jobs"] == 1
        assert store.look(id) is None
        assert look(store, waits).state is State.QUEUED

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["delete"], "Say which jobs to delete"),
            (["delete", NOBODY, "--all"], "Say which jobs to delete"),
            (["cancel", NOBODY, "--function", "f"], "Say which jobs to cancel"),
            (["list", "--argument", "a"], "must be NAME=VALUE"),
            (["list", "--limit", "-1"], "must be a whole number, 1 or more"),
            (["prune", "--days", "-1"], "must be a number of days from 0"),
            (["prune", "--days", "nan"], "must be a number of days from 0"),
            (["show", "five"], "The id of a record is a UUID"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(
        self,
        database: Database,
        store: SQLStore,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        text: str,
    ) -> None:
        assert store.id  # the tables exist
        try:
            code = cli.main(["jobs", "--records", database.url, *arguments])
        except SystemExit as end:  # of argparse
            code = end.code  # type: ignore[assignment]
        assert code == 2
        assert text in capsys.readouterr().err

    def test_what_no_record_can_have_is_refused(
        self, database: Database, store: SQLStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As the shell passes bytes that are not text."""
        assert store.id  # the tables exist
        for option in ("--key", "--function"):
            assert cli.main(["jobs", "--records", database.url, "list", option, "\udcff"]) == 2
            assert "a NUL or a lone surrogate" in capsys.readouterr().err

    def test_people_read_lines(
        self,
        database: Database,
        store: SQLStore,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        id = submit(store, "shop_ship", arguments='{"parcel": 5}')

        def said(*arguments: str) -> str:
            cli.main(["jobs", "--records", database.url, *arguments])
            return capsys.readouterr().out

        assert said("list").split() == [id, "queued", *said("list").split()[2:4], "shop_ship"]
        assert 'arguments       {"parcel": 5}' in said("show", id)
        assert said("show", NOBODY) == f"{NOBODY}: no such job\n"
        assert said("cancel", id, NOBODY) == f"{NOBODY}: no such job\n1 job cancelled\n"
        assert said("prune", "--days", "0") == "1 job deleted\n"

    def test_people_read_what_failed_and_when(
        self,
        database: Database,
        store: SQLStore,
        running: Claiming,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        failure = encode_failure(ValueError("no parcel\n\x1b[2J"), with_traceback=True).decode()
        claimed = running(arguments='{"text": "\\u001b[2J \\u009b \\ud800"}')
        store.give_back(claimed.claim, Event.RETRIED, 0.0, failure)
        id = claimed.claim.id
        (handed,) = store.hand_over(10, 10)
        again = store.claim(id, "f", handed.number, store.register().id)
        assert isinstance(again, Claimed)
        store.finish(again.claim, Event.FAILED, error="what \x1b[2J is this")
        cli.main(["jobs", "--records", database.url, "show", id])
        shown = capsys.readouterr().out
        lines = shown.splitlines()
        (attempt,) = [line for line in lines if "builtins.ValueError" in line]
        assert attempt.startswith("attempt ")
        assert attempt.endswith(r"retried builtins.ValueError: no parcel\n\x1b[2J")
        assert lines[-2] == rf"{'error':15} what \x1b[2J is this"
        assert "null" not in shown
        assert shown.replace("\n", "").isprintable()

    def test_people_read_tracebacks_line_by_line(
        self,
        database: Database,
        store: SQLStore,
        running: Claiming,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        try:
            raise ValueError("no parcel")
        except ValueError as error:
            failure = encode_failure(error, with_traceback=True).decode()
        claim = running().claim
        store.finish(claim, Event.FAILED, error=failure)
        cli.main(["jobs", "--records", database.url, "show", claim.id])
        lines = capsys.readouterr().out.splitlines()
        place = lines.index(f"{'error':15} builtins.ValueError: no parcel")
        assert lines[place + 1] == f"{'':15} Traceback (most recent call last):"


def test_no_file_is_made_to_list_its_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mistyped.db"
    command = ["jobs", "--records", f"sqlite:///{path}", "list"]
    assert cli.main(command) == 1
    assert f"There is no store '{path}'" in capsys.readouterr().err
    assert not path.exists()
    path.write_text("This is not a database, though it is long enough to be looked at by SQLite.")
    assert cli.main(command) == 1
    assert capsys.readouterr().err.endswith("cannot be opened: file is not a database.\n")


def test_a_list_of_which_enough_was_read_ends_quietly(database: Database, store: SQLStore) -> None:
    store.submit([NewJob("f")] * 2000)
    command = [sys.executable, "-m", "gearmanny", "jobs", "--records", database.url, "list"]
    listing = subprocess.Popen(
        [*command, "--limit", "2000"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listing.stdout is not None
    assert listing.stdout.readline().endswith("  f\n")
    listing.stdout.close()
    assert listing.stderr is not None
    assert listing.stderr.read() == ""
    assert listing.wait(PATIENCE) == 0
    listing.stderr.close()
