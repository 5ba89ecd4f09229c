"""Records as clients return them, and waiting for what becomes of their jobs: on PostgreSQL and
SQLite, for each kind of client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gearmanny.aio import AioClient
from gearmanny.blocking.walker import ThreadBell
from gearmanny.client import AsyncClient, RawClient, SimpleClient
from gearmanny.errors import (
    EncodingError,
    InvalidOption,
    JobCancelled,
    StoreUnavailable,
    TaskError,
    TaskTimeout,
    UnknownJob,
)
from gearmanny.net.deadline import Deadline
from gearmanny.payload.failures import encode_failure
from gearmanny.records.ids import new_id
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claim, Claimed, Snapshot
from gearmanny.testing import eager, running
from tests.contract.records.conftest import url_of
from tests.support.clients import Client, MakeClient
from tests.support.servers import PATIENCE, Server, until
from tests.support.workers import Called
from tools.postgres import Postgres

SCRIPT = Path(__file__).with_name("keys_script.py")


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.db'}"
    return url_of(request.getfixturevalue("postgres_database"))


only_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
def store(url: str) -> Iterator[SQLStore]:
    with contextlib.closing(SQLStore(url)) as store:
        yield store


@pytest.fixture
def other(url: str) -> Iterator[SQLStore]:
    """The same store, as another process has it."""
    with contextlib.closing(SQLStore(url)) as store:
        yield store


@pytest.fixture
def client(make: MakeClient, store: SQLStore) -> Client:
    """A client of each kind that reaches no job server."""
    return make("127.0.0.1:1", records=store)


@pytest.fixture
def background(client: Client) -> Client:
    return client.using(background=True)


@pytest.fixture
def claim(other: SQLStore) -> Callable[[str], Claim]:
    """Claims a job as the process of a worker does."""
    process = other.register(pool="tests")

    def claim(id: str | None) -> Claim:
        assert id is not None
        found = other.look(id)
        assert found is not None
        claimed = other.claim(id, found.function, 1, process.id)
        assert isinstance(claimed, Claimed)
        return claimed.claim

    return claim


Claiming = Callable[[str | None], Claim]

NO_LUCK = encode_failure(ValueError("no luck")).decode()


@contextlib.contextmanager
def meanwhile(*steps: Callable[[], object]) -> Iterator[None]:
    """Takes steps in another thread while somebody waits for what comes of them."""

    def take() -> None:
        for step in steps:
            step()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(take)
        yield
        future.result()


def watched(store: SQLStore) -> int:
    """The jobs that somebody waits for, or has waited for."""
    rows: list[Any] = store._run(
        lambda session: session.rows("SELECT count(*) FROM {notes} WHERE watched")
    )
    return int(rows[0][0])


def listeners(store: SQLStore) -> int:
    """The connections that listen."""
    if not store.notifies:
        return 0
    rows: list[Any] = store._run(
        lambda session: session.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND query LIKE 'LISTEN%%'"
        )
    )
    return int(rows[0][0])


class TestARecord:
    def test_it_has_what_is_known_of_a_job(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        work = background.called_echo(value="ü")
        record = background.record(work.id)  # type: ignore[arg-type]
        assert (record.id, record.function, record.state) == (work.id, "called_echo", "queued")
        assert (record.arguments, record.result, record.error) == ({"value": "ü"}, None, None)
        assert (record.attempts, record.progress, record.process) == (0, None, None)
        assert record.created == record.due
        assert (record.started, record.finished) == (None, None)
        mine = claim(work.id)
        other.progress(mine, 1, 4)
        record.refresh()
        assert (record.state, record.progress, record.attempts) == ("running", (1, 4), 1)
        assert record.process == other.processes()[0].id
        assert record.started is not None
        other.finish(mine, Event.SUCCEEDED, '"ö"')
        assert record.get_result(timeout=PATIENCE) == "ö"
        assert (record.state, record.result, record.error) == ("succeeded", "ö", None)
        assert record.finished is not None

    def test_of_an_unknown_job_there_is_none(self, client: Client) -> None:
        id = new_id()
        with pytest.raises(UnknownJob, match=f"no record of the job {id}"):
            client.record(id)
        with pytest.raises(InvalidOption, match="UUID"):
            client.record("7")

    def test_clients_without_records_have_none(self, make: MakeClient) -> None:
        client = make("127.0.0.1:1")
        with pytest.raises(InvalidOption, match="has no records"):
            client.record(new_id())
        with pytest.raises(InvalidOption, match="has no records"):
            client.submit_many("f", [])

    def test_a_failed_job_raises_its_failure_and_runs_again(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        work = background.called_fail()
        other.finish(claim(work.id), Event.FAILED, error=NO_LUCK)
        record = background.record(work.id)  # type: ignore[arg-type]
        assert isinstance(record.error, TaskError)
        assert record.error.type == "builtins.ValueError"
        for waiting in (record, work):
            with pytest.raises(TaskError, match="no luck"):
                waiting.get_result(timeout=PATIENCE)
        assert isinstance(work.exception(timeout=PATIENCE), TaskError)
        assert record.retry() is True
        assert (record.state, record.retry()) == ("queued", False)

    def test_a_cancelled_job_raises_that(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        waits, runs = background.called_echo(value=1), background.called_echo(value=2)
        mine = claim(runs.id)
        record = background.record(waits.id)  # type: ignore[arg-type]
        assert record.cancel() is True
        assert background.record(runs.id).cancel() is False  # type: ignore[arg-type]
        for waiting in (record, waits):
            with pytest.raises(JobCancelled):
                waiting.get_result(timeout=PATIENCE)
        other.finish(mine, Event.INTERRUPTED)
        with pytest.raises(JobCancelled):
            runs.get_result(timeout=PATIENCE)

    def test_a_wait_ends_in_time_and_says_how_far_the_job_is(
        self, background: Client, claim: Claiming
    ) -> None:
        work = background.called_echo(value=1)
        record = background.record(work.id)  # type: ignore[arg-type]
        for timeout in (0, 0.1):
            with pytest.raises(TaskTimeout, match="it waits"):
                record.get_result(timeout=timeout)
        claim(work.id)
        with pytest.raises(TaskTimeout, match="it runs"):
            work.get_result(timeout=0.1)

    def test_it_may_vanish(self, background: Client, store: SQLStore) -> None:
        work = background.called_echo(value=1)
        record = background.record(work.id)  # type: ignore[arg-type]
        record.cancel()
        assert store.prune(State.CANCELLED, 0) == 1
        for call in (record.refresh, record.get_result, record.cancel, record.retry):
            with pytest.raises(UnknownJob):
                call()


class TestWaiting:
    def test_a_result_is_waited_for(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        work = background.called_echo(value=1)
        record = background.record(work.id)  # type: ignore[arg-type]
        id = work.id
        with meanwhile(lambda: other.finish(claim(id), Event.SUCCEEDED, "7")):
            assert record.get_result(timeout=PATIENCE) == 7
            assert work.get_result(timeout=PATIENCE) == 7
        assert work.exception(timeout=0) is None

    def test_a_work_object_says_when_its_job_is_done(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        work = background.called_echo(value=1)
        assert work.is_done() is False
        other.finish(claim(work.id), Event.SUCCEEDED, "7")
        until(work.is_done, "the end of the job")

    def test_updates_are_states_and_progress(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        work = background.called_echo(value=1)
        record = background.record(work.id)  # type: ignore[arg-type]
        updates = record.updates(timeout=PATIENCE)
        assert next(updates) == ("queued", None)
        mine = claim(work.id)
        assert next(updates) == ("running", None)
        other.progress(mine, 1, 2)
        assert next(updates) == ("running", (1, 2))
        other.give_back(mine, Event.RETRIED, error=NO_LUCK)
        assert next(updates) == ("queued", (1, 2))
        work.cancel()
        assert list(updates) == [("cancelled", (1, 2))]

    def test_those_of_a_work_object_are_progress(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        work = background.called_echo(value=1)
        mine = claim(work.id)
        other.progress(mine, 1, 2)
        updates = work.updates(timeout=PATIENCE)
        assert next(updates) == (1, 2)
        other.finish(mine, Event.SUCCEEDED, "7")
        assert list(updates) == []
        with pytest.raises(TaskTimeout):
            list(background.called_echo(value=1).updates(timeout=0.1))


@pytest.fixture
def simple(store: SQLStore) -> Iterator[SimpleClient]:
    with SimpleClient(["127.0.0.1:1"], records=store) as client:
        yield client.using(background=True)


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets nobody look again who was not told to."""
    monkeypatch.setattr("gearmanny.calling.records.SOON", 3600.0)
    monkeypatch.setattr("gearmanny.calling.records.LATER", 3600.0)


@only_postgresql
@pytest.mark.usefixtures("only_told")
class TestTheListener:
    def test_tells_of_every_change(
        self, simple: SimpleClient, other: SQLStore, claim: Claiming
    ) -> None:
        work = simple.submit("f")
        updates = simple.record(str(work.id)).updates(timeout=PATIENCE)
        assert next(updates) == ("queued", None)
        mine: list[Claim] = []
        with ThreadPoolExecutor(1) as pool:
            for step, update in [
                (lambda: mine.append(claim(work.id)), ("running", None)),
                (lambda: other.progress(mine[0], 1, 2), ("running", (1, 2))),
                (lambda: other.give_back(mine[0], Event.GIVEN_BACK), ("queued", (1, 2))),
                (lambda: other.cancel(str(work.id)), ("cancelled", (1, 2))),
            ]:
                following = pool.submit(next, updates)
                until(lambda: listeners(other) == 1, "somebody who listens")
                step()
                assert following.result(PATIENCE) == update

    def test_a_thousand_who_wait_cost_one_connection(
        self, simple: SimpleClient, other: SQLStore, claim: Claiming
    ) -> None:
        ids = simple.submit_many("f", ({"n": n} for n in range(1000)))
        begun = threading.Semaphore(0)
        watch = SQLStore.watch

        async def wait_for_all() -> list[Any]:
            async with AioClient(["127.0.0.1:1"], records=simple._records().store) as client:
                records = await asyncio.gather(*map(client.record, ids[:500]))
                return await asyncio.gather(*(each.get_result(4 * PATIENCE) for each in records))

        def wait_for(id: str) -> Any:
            return simple.record(id).get_result(4 * PATIENCE)

        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(501) as pool:

            def counted(self: SQLStore, id: str) -> Snapshot | None:
                found = watch(self, id)
                begun.release()
                return found

            patch.setattr(SQLStore, "watch", counted)
            waiting = [pool.submit(wait_for, id) for id in ids[500:]]
            looped = pool.submit(asyncio.run, wait_for_all())
            for _ in ids:
                assert begun.acquire(timeout=4 * PATIENCE)
            until(lambda: listeners(other) == 1, "somebody who listens")
            before = listeners(other)
            for n, id in enumerate(ids):
                other.finish(claim(id), Event.SUCCEEDED, str(n))
            assert looped.result(4 * PATIENCE) == list(range(500))
            assert [each.result(4 * PATIENCE) for each in waiting] == list(range(500, 1000))
            assert (before, listeners(other)) == (1, 1)

    def test_there_is_none_before_it_is_needed(
        self, simple: SimpleClient, other: SQLStore, claim: Claiming
    ) -> None:
        work = simple.submit("f")
        other.finish(claim(work.id), Event.SUCCEEDED, "7")
        assert (work.get_result(timeout=PATIENCE), work.is_done()) == (7, True)
        assert listeners(other) == 0
        assert simple._records().store._listener._thread is None  # type: ignore[attr-defined]

    def test_it_ends_when_nobody_waits(
        self,
        simple: SimpleClient,
        other: SQLStore,
        store: SQLStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("gearmanny.records.listening._LINGER", 0.0)
        for _ in range(2):
            work = simple.submit("f")

            def cancel(id: str) -> None:
                until(lambda: listeners(other) == 1, "somebody who listens")
                other.cancel(id)

            with meanwhile(partial(cancel, str(work.id))):
                assert isinstance(work.exception(timeout=PATIENCE), JobCancelled)
            until(lambda: listeners(other) == 0, "its end")

    def test_a_child_has_its_own(self, simple: SimpleClient, other: SQLStore) -> None:
        mine, of_child = simple.submit("f"), simple.submit("f")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(mine.exception, PATIENCE)
            until(lambda: listeners(other) == 1, "somebody who listens")
            pid = os.fork()
            if not pid:
                end = 1
                with contextlib.suppress(BaseException):
                    ended = of_child.exception(PATIENCE)
                    end = 0 if isinstance(ended, JobCancelled) else 2
                os._exit(end)
            until(lambda: listeners(other) == 2, "the child, which listens")
            other.cancel(str(of_child.id))
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            other.cancel(str(mine.id))
            assert isinstance(waiting.result(PATIENCE), JobCancelled)

    def test_an_interrupt_ends_a_wait_and_leaves_others_alone(
        self, simple: SimpleClient, other: SQLStore
    ) -> None:
        work, patient = simple.submit("f"), simple.submit("f")

        def interrupt() -> None:
            until(lambda: listeners(other) == 1, "somebody who listens")
            os.kill(os.getpid(), signal.SIGINT)

        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(patient.exception, PATIENCE)
            with pytest.raises(KeyboardInterrupt), meanwhile(interrupt):
                work.get_result(timeout=PATIENCE)
            other.cancel(str(work.id))
            assert isinstance(work.exception(timeout=PATIENCE), JobCancelled)
            other.cancel(str(patient.id))
            assert isinstance(waiting.result(PATIENCE), JobCancelled)

    def test_who_waits_for_the_end_is_woken_by_nothing_else(
        self, simple: SimpleClient, store: SQLStore, other: SQLStore
    ) -> None:
        id = str(simple.submit("f").id)
        bell, of_the_end = ThreadBell(), ThreadBell()
        store.listener.add(id, bell)
        store.listener.add(id, of_the_end, is_for_the_end=True)
        until(lambda: listeners(other) == 1, "somebody who listens")
        for each in (bell, of_the_end):  # on a new connection, anything may have happened
            assert each.wait(Deadline(PATIENCE))
        store.watch(id)
        claimed = other.claim(id, "f", 1, other.register().id)
        assert isinstance(claimed, Claimed)
        assert bell.wait(Deadline(PATIENCE))
        assert not of_the_end.wait(Deadline(0))
        other.finish(claimed.claim, Event.SUCCEEDED)
        assert bell.wait(Deadline(PATIENCE))
        assert of_the_end.wait(Deadline(PATIENCE))

    def test_who_leaves_leaves_nothing(self, simple: SimpleClient, store: SQLStore) -> None:
        for _ in range(10):
            with pytest.raises(TaskTimeout):
                simple.submit("f").get_result(timeout=0.01)
        until(lambda: not store._listener._bells, "nobody who waits")


@only_postgresql
def test_who_waits_for_several_is_told_of_each_end_by_one_connection(
    store: SQLStore, other: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SOON", "LATER"):
        monkeypatch.setattr(f"gearmanny.blocking.looks.{name}", 3600.0)
    with AsyncClient(["127.0.0.1:1"], records=store) as client:
        background = client.using(background=True)
        works = [background.submit("f") for _ in range(3)]
        together = client.as_completed(works, PATIENCE)
        with ThreadPoolExecutor(1) as pool:
            for work in works:
                ended = pool.submit(next, together)
                until(lambda: watched(other) == 3, "all of them being watched")
                other.cancel(str(work.id))
                assert ended.result(PATIENCE) is work
            assert listeners(other) == 1


def test_recorded_jobs_are_waited_for_together_with_others(
    gearman_server: Server, gearman_worker: Any, store: SQLStore, other: SQLStore
) -> None:
    gearman_worker(Called)
    with AsyncClient([gearman_server.host], records=store) as client:
        recorded = client.using(background=True).submit("nobody_home")
        works = [recorded, client.submit("called_echo", value=1)]
        together = client.as_completed(works, PATIENCE)
        assert next(together) is works[1]
        other.cancel(str(recorded.id))
        assert list(together) == [recorded]


def test_a_wait_goes_on_when_the_database_is_back(tmp_path: Path) -> None:
    with Postgres() as database, database.database("jobs") as entry:
        store, other = SQLStore(url_of(entry)), SQLStore(url_of(entry))
        with AsyncClient(["127.0.0.1:1"], records=store) as client:
            work, ended = (client.using(background=True).submit("f") for _ in range(2))
            assert ended.cancel()
            together = client.as_completed([work, ended], 3 * PATIENCE)
            assert next(together) is ended
            with ThreadPoolExecutor(2) as pool:
                waiting = [
                    pool.submit(work.exception, 3 * PATIENCE),
                    pool.submit(lambda: next(together).exception(0)),
                ]
                until(lambda: listeners(other) == 1, "somebody who listens")
                database.stop()
                with pytest.raises(StoreUnavailable):
                    client.record(str(work.id))
                with pytest.raises(StoreUnavailable):
                    next(client.as_completed([work]))
                database.start()
                other.close()
                other.cancel(str(work.id))
                for each in waiting:
                    assert isinstance(each.result(3 * PATIENCE), JobCancelled)
        store.close()
        other.close()


def test_who_waits_for_several_is_given_those_that_are_forgotten(
    url: str, store: SQLStore, other: SQLStore
) -> None:
    with AsyncClient(["127.0.0.1:1"], records=store) as client:
        background = client.using(background=True)
        works = [background.submit("f") for _ in range(3)]
        assert other.delete([str(works[1].id)])
        other.cancel(str(works[2].id))
        ended = client.as_completed(works, PATIENCE)
        assert {next(ended), next(ended)} == set(works[1:])
        assert client.wait(works, 0.1) == (set(works[1:]), set(works[:1]))
        with pytest.raises(UnknownJob):
            works[1].get_result()


class TestPickling:
    def test_a_work_object_of_a_recorded_job_is_found_from_anywhere(
        self, simple: SimpleClient, other: SQLStore, claim: Claiming
    ) -> None:
        work = simple.submit("f")
        code = (
            "import pickle, sys\nwork = pickle.load(sys.stdin.buffer)\n"
            "print(work.id, work.unique, work.is_done(), flush=True)\n"
            f"print(work.get_result({PATIENCE}))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(pickle.dumps(work))
            process.stdin.close()
            assert process.stdout.readline().decode().split() == [work.id, work.unique, "False"]
            other.finish(claim(work.id), Event.SUCCEEDED, "7")
            assert process.stdout.readline() == b"7\n"

    def test_here_all_have_the_same_store(self, simple: SimpleClient, store: SQLStore) -> None:
        one, two = (pickle.loads(pickle.dumps(simple.submit("f"))) for _ in range(2))
        assert one._recorded.store is two._recorded.store is store
        assert one.status().state == "queued"
        assert one.cancel() is True
        with pytest.raises(JobCancelled):
            one.get_result(timeout=PATIENCE)

    @only_sqlite
    def test_so_is_one_of_asyncio(self, store: SQLStore) -> None:
        async def submit() -> bytes:
            async with AioClient(["127.0.0.1:1"], records=store) as client:
                return pickle.dumps(await client.using(background=True).submit("f"))

        async def find(pickled: bytes) -> None:
            work = pickle.loads(pickled)
            assert await work.cancel() is True
            with pytest.raises(JobCancelled):
                await work

        asyncio.run(find(asyncio.run(submit())))

    def test_others_say_that_they_cannot(self, gearman_server: Server) -> None:
        with SimpleClient([gearman_server.host]) as client:
            work = client.using(background=True).submit("f")
            with pytest.raises(TypeError, match="has no record"):
                pickle.dumps(work)


class TestMany:
    def test_jobs_are_recorded_in_batches_as_they_are_taken(
        self, client: Client, store: SQLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken: list[int] = []
        seen: list[tuple[int, int]] = []
        record = SQLStore.record

        def noting(self: SQLStore, jobs: Any, hand_over: Any) -> Any:
            seen.append((len(taken), len(jobs)))
            return record(self, jobs, hand_over)

        monkeypatch.setattr(SQLStore, "record", noting)

        def inputs() -> Iterator[dict[str, Any]]:
            for n in range(2500):
                taken.append(n)
                yield {"value": n}

        ids = client.using(background=True, priority="high").submit_many("f", inputs())
        assert seen == [(1000, 1000), (2000, 1000), (2500, 500)]
        found = [store.look(id) for id in (ids[0], ids[1234], ids[2499])]
        assert [each.arguments for each in found if each] == [
            '{"value":0}',
            '{"value":1234}',
            '{"value":2499}',
        ]
        assert {each.priority for each in found if each} == {1}
        assert [count.waiting for count in store.counts()] == [2500]

    def test_they_arrive_and_run(
        self, make: MakeClient, store: SQLStore, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host, records=store)
        with running(Called([gearman_server.host], records=store)):
            ids = client.submit_many("called_echo", [{"value": n} for n in range(50)])
            assert [client.record(id).get_result(PATIENCE) for id in ids] == list(range(50))

    def test_an_error_says_how_many_were_recorded(self, client: Client, store: SQLStore) -> None:
        inputs = [{"value": n} for n in range(1500)] + [{"value": object()}]
        with pytest.raises(EncodingError) as caught:
            client.submit_many("f", inputs)
        assert caught.value.__notes__ == ["Recorded before that: 1000 jobs of f()."]
        assert [count.waiting for count in store.counts()] == [1000]

    def test_options_of_one_call_are_refused(self, client: Client) -> None:
        for options in ({"unique": "k"}, {"unique_waiting": "k", "background": True}):
            with pytest.raises(InvalidOption, match="for one call"):
                client.using(**options).submit_many("f", [])  # type: ignore[arg-type]
        with pytest.raises(InvalidOption, match="records its jobs"):
            client.using(recorded=False).submit_many("f", [])

    @only_sqlite
    def test_bytes_are_recorded_as_they_are(self, store: SQLStore) -> None:
        with RawClient(["127.0.0.1:1"], records=store) as client:
            (id,) = client.submit_many("f", [b"\xff"])
            assert client.record(id).arguments == b"\xff"

    @only_sqlite
    def test_in_eager_mode_they_run_at_once(self, store: SQLStore) -> None:
        with eager([Called]), SimpleClient(records=store) as client:
            assert client.submit_many("called_note", [{"value": 1}, {"value": 2}]) == ["", ""]
        assert store.counts() == []


class TestKeys:
    def test_of_many_processes_one_has_a_key(self, url: str, store: SQLStore) -> None:
        assert store.id
        processes = [
            subprocess.Popen(
                [sys.executable, str(SCRIPT), url, "200"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        for process in processes:
            outputs.append(process.communicate(timeout=3 * PATIENCE)[0].split())
            assert process.returncode == 0
        assert outputs[0] == outputs[1]
        assert len(set(outputs[0])) == 400, "a record for each key"
        assert [count.waiting for count in store.counts()] == [200, 200]

    def test_a_key_is_free_when_its_job_has_ended(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        keyed = background.using(unique="k")
        one = keyed.called_echo(value=1)
        mine = claim(one.id)
        joined = keyed.called_echo(value=2)
        assert joined.id == one.id
        other.finish(mine, Event.SUCCEEDED, "7")
        assert joined.get_result(timeout=PATIENCE) == 7
        assert keyed.called_echo(value=3).id != one.id

    def test_the_one_that_goes_back_is_superseded_by_the_one_that_waits(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        keyed = background.using(unique_waiting="k")
        one = keyed.called_echo(value=1)
        mine = claim(one.id)
        two = keyed.called_echo(value=2)
        assert two.id != one.id == keyed.record(one.id).id  # type: ignore[arg-type]
        other.give_back(mine, Event.RETRIED, error=NO_LUCK)
        with pytest.raises(JobCancelled, match="a newer job waits under the same key"):
            one.get_result(timeout=PATIENCE)
        assert keyed.called_echo(value=3).id == two.id

    def test_a_failed_one_does_not_run_again_where_its_key_is_taken(
        self, background: Client, other: SQLStore, claim: Claiming
    ) -> None:
        keyed = background.using(unique="k")
        one = keyed.called_echo(value=1)
        other.finish(claim(one.id), Event.FAILED, error=NO_LUCK)
        keyed.called_echo(value=2)
        with pytest.raises(InvalidOption, match="has its key"):
            keyed.record(one.id).retry()  # type: ignore[arg-type]
