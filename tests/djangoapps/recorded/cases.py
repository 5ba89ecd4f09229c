"""Background jobs in Django's test cases: run by `manage.py test`."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.transaction import TransactionManagementError
from django.test import RequestFactory, TestCase, TransactionTestCase, override_settings

from gearmanny.contrib.django import aio_client, client
from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.testing import eager
from gearmanny.errors import GearmanException, JobCancelled, TaskError, UnknownJob
from gearmanny.testing import outbox
from gearmanny.worker import BaseWorker
from tests.djangoapps.recorded.workers import Recorded
from tests.support.servers import ROOT

PAGE = (ROOT / "docs" / "django.md").read_text(encoding="utf-8")

background: Any = client.using(background=True)


def names() -> list[str]:
    return sorted(Group.objects.values_list("name", flat=True))


def state_of(work: Any) -> str:
    return JobRecord.objects.get(id=work.id).state


class Shop(BaseWorker):
    name = "shop"

    def task_welcome(self, user: int) -> None:
        User.objects.filter(pk=user).update(first_name="welcome")


class InATestCase(TestCase):
    """The transaction of the test is never committed."""

    def test_a_job_is_recorded_and_does_not_leave(self) -> None:
        work = background.recorded_write(name="a")
        assert state_of(work) == "queued"
        assert work.status().state == "queued"
        assert work.cancel()
        assert state_of(work) == "cancelled"

    def test_an_error_of_the_database_in_a_task_leaves_the_transaction_of_the_test(self) -> None:
        with eager([Recorded]):
            for function in ("recorded_write", "recorded_write_async"):
                assert client.call(function, name=function) == function
                before = names()
                with pytest.raises(TaskError, match="IntegrityError"):
                    client.call(function, name=function)
                assert names() == before
                with pytest.raises(TaskError), transaction.atomic():
                    client.call(function, name=function)
                assert names() == before
            assert client.recorded_write(name="c") == "c"

    def test_a_transaction_that_the_test_has_broken_stays_broken(self) -> None:
        with eager([Recorded]):
            with transaction.atomic():
                transaction.set_rollback(True)
                with pytest.raises(TaskError):
                    client.recorded_write(name="a")
                with pytest.raises(TransactionManagementError):
                    names()
            assert names() == []

    def test_eager_jobs_run_when_commit_hooks_are_executed(self) -> None:
        with eager([Recorded]):
            with self.captureOnCommitCallbacks() as hooks:
                work = background.recorded_write(name="a")
                assert (names(), outbox, len(hooks)) == ([], [], 0)
            assert (names(), outbox, len(hooks)) == ([], [], 1)
            with self.captureOnCommitCallbacks(execute=True) as hooks:
                other = background.recorded_write(name="b")
            assert (names(), len(hooks)) == (["b"], 1)
            assert [sent.arguments for sent in outbox] == [{"name": "b"}]
            assert (state_of(work), state_of(other)) == ("queued", "succeeded")

    def test_eager_coroutines(self) -> None:
        with eager([Recorded]), self.captureOnCommitCallbacks(execute=True):
            work = background.recorded_write_async(name="b")
        assert (names(), state_of(work)) == (["b"], "succeeded")

    def test_its_record_has_the_result(self) -> None:
        with eager([Recorded]), self.captureOnCommitCallbacks(execute=True):
            work = background.recorded_write(name="a")
            failed = background.recorded_write_and_fail(name="b")
        record = client.record(work.id)
        assert (record.state, record.result, record.arguments) == ("succeeded", "a", {"name": "a"})
        assert (record.get_result(), work.get_result(), work.is_done()) == ("a", "a", True)
        with self.assertRaisesMessage(TaskError, "ValueError: b"):
            client.record(failed.id).get_result()
        with self.assertRaisesMessage(UnknownJob, "no record"):
            client.record(str(uuid4()))

    def test_nobody_waits_for_a_commit_of_their_own(self) -> None:
        with eager([Recorded]):
            work = background.recorded_write(name="a")
            for waiting in (work, client.record(work.id)):
                with self.assertRaisesMessage(GearmanException, "transaction that is open"):
                    waiting.get_result(timeout=None)

    async def test_coroutines_find_records_in_that_transaction(self) -> None:
        with eager([Recorded]):
            work = await aio_client.using(background=True).recorded_write(name="a")
            record = await aio_client.record(work.id)
            assert record.state == "queued"
            assert await record.cancel() is True
            with self.assertRaisesMessage(JobCancelled, "was cancelled"):
                await work

    async def test_many_jobs_are_in_that_transaction(self) -> None:
        with eager([Recorded]):
            ids = await aio_client.submit_many("recorded_write", [{"name": "a"}, {"name": "b"}])
        assert await JobRecord.objects.filter(id__in=ids).acount() == 2

    async def test_async_tests_have_the_same_transaction(self) -> None:
        with eager([Recorded]):
            await aio_client.using(background=True).recorded_write(name="a")
        assert await JobRecord.objects.acount() == 1
        assert await Group.objects.acount() == 0

    def test_an_eager_job_that_fails_says_so_in_its_record(self) -> None:
        with eager([Recorded]), self.captureOnCommitCallbacks(execute=True):
            work = background.recorded_write_and_fail(name="a")
            done = background.recorded_write_and_fail(name="b", fails=False)
        assert names() == ["b"]
        assert (state_of(work), state_of(done)) == ("failed", "succeeded")
        assert "ValueError" in (JobRecord.objects.get(id=work.id).error or "")

    def test_the_view_of_the_documents(self) -> None:
        (view,) = re.findall(r"^```python\n(# shop/signup.py\n.*?)^```", PAGE, re.M | re.S)
        shown: dict[str, Any] = {}
        exec(view, shown)
        with eager([Shop]), self.captureOnCommitCallbacks(execute=True):
            response = shown["sign_up"](RequestFactory().post("/", {"name": "Ada"}))
            assert (response.status_code, outbox) == (201, [])
        assert User.objects.get().first_name == "welcome"

    def test_jobs_that_jobs_submit_run_as_well(self) -> None:
        with eager([Recorded]), self.captureOnCommitCallbacks(execute=True):
            background.recorded_write_later(name="a")
        assert names() == ["a"]

    def test_a_foreground_call_has_no_record(self) -> None:
        with eager([Recorded]), self.assertNumQueries(1):
            assert client.recorded_write(name="a") == "a"
        assert not JobRecord.objects.exists()

    def test_what_is_not_prepared_calls_no_job_server(self) -> None:
        with (
            self.assertRaisesMessage(AssertionError, "This test calls the job server"),
            self.captureOnCommitCallbacks(execute=True),
        ):
            background.recorded_write(name="a")

    def test_without_a_record_a_job_runs_at_once(self) -> None:
        with eager([Recorded]):
            client.using(background=True, recorded=False).recorded_write(name="a")
        assert names() == ["a"]
        with override_settings(GEARMANNY={}), eager([Recorded]):
            client.using(background=True).recorded_write(name="b")
        assert names() == ["a", "b"]


class InATransactionTestCase(TransactionTestCase):
    """Nothing is in a transaction, unless the test makes one."""

    def test_eager_jobs_run_at_once_or_at_commit(self) -> None:
        with eager([Recorded]):
            work = background.recorded_write(name="a")
            assert (names(), state_of(work)) == (["a"], "succeeded")
            with transaction.atomic():
                background.recorded_write(name="b")
                assert names() == ["a"]
            assert names() == ["a", "b"]

    def test_jobs_of_one_test_are_not_seen_by_the_next(self) -> None:
        with eager([Recorded]):
            background.recorded_write(name="a")
        assert JobRecord.objects.count() == 1

    def test_jobs_of_the_one_before_are_not_seen(self) -> None:
        with eager([Recorded]):
            background.recorded_write(name="a")
        assert JobRecord.objects.count() == 1

    def test_what_is_not_prepared_calls_no_job_server(self) -> None:
        with self.assertRaisesMessage(AssertionError, "This test calls the job server"):
            background.recorded_write(name="a")
