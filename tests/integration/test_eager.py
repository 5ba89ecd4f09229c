"""Eager mode by itself. That calls are what they are over a job server: test_calls."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.contrib.django.testing import eager as django_eager
from gearmanny.errors import (
    InvalidTask,
    JobServerLost,
    JobServerUnavailable,
    TaskError,
    TaskTimeout,
)
from gearmanny.testing import Eager, eager, outbox
from gearmanny.vocabulary.encoders import JSONDataEncoder
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, JsonWorker, task
from tests.support.clients import MakeClient
from tests.support.servers import PATIENCE, Server, working
from tests.support.workers import Called
from tools.proxies import proxy

variable = contextvars.ContextVar("variable", default="unset")


class Flaky(BaseWorker):
    name = "flaky"

    def setUp(self):
        self.attempts = 0

    @task(retries=2, backoff=1e6)
    def task_fetch(self, needed):
        self.attempts += 1
        if self.attempts < needed:
            raise OSError(f"attempt {self.attempts}")
        return self.attempts

    @task(timeout=0.05)
    def task_hang(self):
        threading.Event().wait(PATIENCE)


class Text(BaseWorker):
    name = "text"

    def setUp(self):
        self.calls = 0

    def task_count(self):
        self.calls += 1
        return self.calls

    def task_nested(self, depth):
        return depth and 1 + SimpleClient().text_nested(depth=depth - 1)

    def task_meet(self):
        meeting.wait(PATIENCE)
        return "met"


meeting = threading.Barrier(2)


class TestEager:
    def test_needs_no_job_server_and_ends_with_its_block(self) -> None:
        client = SimpleClient(["127.0.0.1:1"])
        with eager([Text]):
            assert client.text_count() == 1
        with pytest.raises(ConnectionError):
            client.text_count()

    def test_a_worker_keeps_its_state_within_a_block_only(self) -> None:
        for _ in range(2):
            with eager([Text]):
                assert [SimpleClient().text_count() for _ in range(3)] == [1, 2, 3]

    def test_an_inner_block_has_its_own_workers(self) -> None:
        class Other(BaseWorker):
            name = "text"

            def task_count(self):
                return "other"

        with eager([Text]):
            with eager([Other]):
                assert SimpleClient().text_count() == "other"
            assert SimpleClient().text_count() == 1

    def test_a_task_may_call_another_one(self) -> None:
        with eager([Text]), SimpleClient() as client:
            assert client.text_nested(depth=5) == 5

    def test_threads_run_their_jobs_at_the_same_time(self) -> None:
        met = []
        with eager([Text]), SimpleClient() as client:
            threads = [
                threading.Thread(target=lambda: met.append(client.text_meet())) for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
        assert met == ["met", "met"]

    def test_the_error_for_an_unknown_function_says_which_there_are(self) -> None:
        with (
            eager([Text]),
            pytest.raises(
                TaskTimeout, match=r"text_cuont\(\)\. No .* offers text_cuont; offered: text_count"
            ),
        ):
            SimpleClient().text_cuont()  # without a timeout, which would wait for ever

    def test_one_that_never_comes_does_not_keep_the_others_back(self) -> None:
        with eager([Text]), AsyncClient() as client:
            unknown, known = client.nobody_home(), client.text_count()
            assert client.wait([known]) == ({known}, set())
            completed = client.as_completed([unknown, known])
            assert next(completed) is known
            with pytest.raises(TimeoutError):
                next(completed)

    def test_a_task_is_tried_again_without_waiting(self) -> None:
        with eager([Flaky]), SimpleClient() as client:
            assert client.flaky_fetch(needed=3) == 3
        with eager([Flaky]), SimpleClient() as client, pytest.raises(TaskError, match="attempt 3"):
            client.flaky_fetch(needed=4)

    def test_a_task_ends_at_its_time_limit(self) -> None:
        with (
            eager([Flaky]),
            SimpleClient() as client,
            pytest.raises(TaskError, match="exceeded its time limit"),
        ):
            client.flaky_hang()

    def test_workers_that_export_the_same_function_are_refused(self) -> None:
        class Other(BaseWorker):
            name = "text"

        with pytest.raises(InvalidTask, match=r"text_help\(\) is exported by Text and by .*Other"):
            Eager([Text, Other])

    def test_hooks_and_the_encoder_of_the_work_class_are_used(self) -> None:
        seen = []

        @contextmanager
        def hook(job: GearmanJob) -> Iterator[None]:
            seen.append(job.data)
            yield

        class ShoutingEncoder(JSONDataEncoder):
            @classmethod
            def encode(cls, encodable_object: Any) -> bytes:
                return super().encode(encodable_object).upper()

        class ShoutingWorker(JsonWorker):
            data_encoder = ShoutingEncoder

        class Shouting(BaseWorker):
            name = "shouting"
            work_class = ShoutingWorker
            hooks = (hook,)

            def task_echo(self, text):
                return text

        with eager([Shouting], hooks=[hook]):
            assert SimpleClient().shouting_echo(text="hi") == "HI"
        assert seen == [{"text": "hi"}] * 2

    def test_tracebacks_travel_where_that_is_allowed(self) -> None:
        class Failing(BaseWorker):
            name = "failing"
            send_exceptions = True

            def task_fail(self):
                raise ValueError("no")

        with eager([Failing], send_tracebacks=True), pytest.raises(TaskError) as failure:
            SimpleClient().failing_fail()
        assert "in task_fail" in (failure.value.traceback or "")

    def test_an_exit_of_a_task_is_its_failure(self) -> None:
        class Leaving(BaseWorker):
            name = "leaving"

            def task_exit(self):
                raise SystemExit(3)

        with eager([Leaving]), pytest.raises(TaskError, match="SystemExit: 3"):
            SimpleClient().leaving_exit()

    @pytest.mark.parametrize("eager", [eager, django_eager])
    def test_so_is_that_of_a_task_of_asyncio_that_a_coroutine_started(
        self, eager: Callable[..., AbstractContextManager[Eager]]
    ) -> None:
        class Leaving(BaseWorker):
            name = "leaving"

            async def task_exit(self) -> None:
                async def leave() -> None:
                    raise SystemExit(3)

                await asyncio.create_task(leave())

        with eager([Leaving]), pytest.raises(TaskError):
            SimpleClient().leaving_exit()

    @pytest.mark.parametrize("eager", [eager, django_eager])
    def test_no_job_is_left_to_the_caller_of_a_coroutine(
        self, eager: Callable[..., AbstractContextManager[Eager]]
    ) -> None:
        class Setting(BaseWorker):
            name = "setting"

            async def task_variable(self) -> str:
                variable.set(self.job.handle)
                return variable.get()

        with eager([Setting]):
            assert SimpleClient().setting_variable().startswith("H:")
        assert variable.get() == "unset"
        with pytest.raises(RuntimeError, match="runs no job now"):
            _ = Setting().job

    def test_functions_that_were_registered_can_be_called(self) -> None:
        class Registering(BaseWorker):
            name = "registering"

            def setUp(self):
                self.register_task("plain", lambda worker, job: [job.task, job.data])

        with eager([Registering]):
            assert SimpleClient().plain(a=1) == ["plain", {"a": 1}]

    def test_several_are_waited_for(self) -> None:
        with eager([Called]), AsyncClient() as client:
            works = [client.called_echo(value=n) for n in range(5)]
            done = client.as_completed(works, timeout=PATIENCE)
            assert sorted(work.get_result() for work in done) == [0, 1, 2, 3, 4]
            assert client.wait(works, timeout=PATIENCE) == (set(works), set())


class TestInAnEventLoop:
    def test_the_loop_goes_on_while_a_task_runs(self) -> None:
        went_on = threading.Event()

        class Waiting(BaseWorker):
            name = "waiting"

            def task_wait(self):
                return went_on.wait(PATIENCE)

        async def main() -> None:
            asyncio.get_running_loop().call_later(0.01, went_on.set)
            assert await AioClient().waiting_wait() is True

        with eager([Waiting]):
            asyncio.run(main())

    def test_calls_may_meet(self) -> None:
        async def main() -> list[str]:
            client = AioClient()
            return await asyncio.gather(client.text_meet(), client.text_meet())

        with eager([Text]):
            assert asyncio.run(main()) == ["met", "met"]

    def test_coroutine_tasks_may_call_too(self) -> None:
        class Nested(BaseWorker):
            name = "nested"

            async def task_down(self, depth):
                return depth and 1 + await AioClient().nested_down(depth=depth - 1)

        async def main() -> int:
            depth: int = await AioClient().nested_down(depth=3)
            return depth

        with eager([Nested]):
            assert SimpleClient().nested_down(depth=2) == 2
            assert asyncio.run(main()) == 3

    def test_the_error_for_an_unknown_function_says_which_there_are(self) -> None:
        async def main() -> None:
            client = AioClient().using(idempotent=True)  # without a timeout: would wait for ever
            with pytest.raises(
                TaskTimeout, match=r"text_cuont\(\)\. No .* offers text_cuont; offered: text_count"
            ):
                await client.text_cuont()
            work = await client.submit("text_cuont")
            assert isinstance(await work.exception(), TaskTimeout)
            assert not await work.cancel()

        with eager([Text]):
            asyncio.run(main())

    def test_a_worker_that_cannot_begin_is_told_of(self) -> None:
        class Shy(BaseWorker):
            name = "shy"
            made = 0

            def setUp(self):
                type(self).made += 1
                if self.made > 1:
                    raise OSError("no second one")

            def task_nested(self):
                return SimpleClient().shy_help()

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, told: None)
            with pytest.raises(TaskError, match="no second one"):
                await AioClient().shy_nested()
            stand_in._free[Shy].clear()  # as if it were busy with another call
            with pytest.raises(JobServerLost, match="no second one"):
                await AioClient().shy_help()

        with eager([Shy]) as stand_in:
            asyncio.run(main())

    def test_background_calls_have_run_when_they_were_accepted(self) -> None:
        async def main() -> None:
            work = await AioClient().using(background=True).text_count()
            assert work.is_done()
            assert await AioClient().text_count() == 2

        with eager([Text]):
            asyncio.run(main())
            (sent,) = outbox
            assert sent.function == "text_count"


class Which(BaseWorker):
    name = "which"

    def task_one(self) -> str:
        return "live"


class TestBlocks:
    @pytest.mark.parametrize("before", [True, False], ids=["used before", "not used before"])
    def test_an_open_connection_is_put_aside_and_used_again_afterwards(
        self, make: MakeClient, gearman_server: Server, before: bool
    ) -> None:
        class Eagerly(Which):
            def task_one(self) -> str:
                return "eager"

        with working(Which([gearman_server.host])), proxy(gearman_server.port) as network:
            client = make(network.host, timeout=PATIENCE)
            if before:
                held = client.submit("which_one")
                assert client.which_one() == "live"
            with eager([Eagerly]):
                assert client.which_one() == "eager"
                assert make(network.host).which_one() == "eager"
                assert network.accepted == before
                if before:
                    assert held.get_result(PATIENCE) == "live"
            assert client.which_one() == "live"
            assert network.accepted == 1

    def test_they_may_be_nested(self, make: MakeClient) -> None:
        class Inner(Which):
            def task_one(self) -> str:
                return "inner"

        client = make("127.0.0.1:1")
        with eager([Which]):
            with eager([Inner]):
                assert client.which_one() == "inner"
            assert client.which_one() == "live"
        with pytest.raises(JobServerUnavailable):
            client.which_one()


class TestOutbox:
    def test_background_calls_run_at_once_and_are_kept(self) -> None:
        with eager([Text]), SimpleClient() as client:
            client.using(background=True, timeout=5).text_nested(depth=(0))
            assert client.text_count() == 1
            client.using(background=True).text_count()
            assert client.text_count() == 3
        first, second = outbox
        assert (first.function, first.arguments) == ("text_nested", {"depth": 0})
        assert (first.options.background, first.options.timeout) == (True, 5)
        assert second.unique
        assert second.unique != first.unique

    @pytest.mark.parametrize(
        "when", [{"delay": 3600}, {"at": datetime(2099, 1, 1, tzinfo=UTC)}], ids=str
    )
    def test_calls_for_later_run_at_once_too(self, when: dict[str, Any]) -> None:
        with eager([Text]), SimpleClient() as client:
            client.using(background=True, **when).text_count()
            assert client.text_count() == 2
        (sent,) = outbox
        assert (sent.options.delay, sent.options.at) == (when.get("delay"), when.get("at"))

    def test_one_for_a_worker_of_others_is_only_kept(self) -> None:
        with eager(), SimpleClient() as client:
            assert client.using(background=True).elsewhere_mail(to=("you",)).is_done()
        assert [(sent.function, sent.arguments) for sent in outbox] == [
            ("elsewhere_mail", {"to": ["you"]})
        ]

    def test_is_emptied_by_the_next_block(self) -> None:
        with eager(), SimpleClient() as client:
            client.using(background=True).elsewhere_mail()
        assert outbox
        with eager():
            assert outbox == []
