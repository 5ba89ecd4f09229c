"""The pages of the records, as a browser gets them: run by `manage.py test`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.test import Client, TestCase, override_settings
from django.utils.html import escape
from django.utils.timezone import now

from gearmanny.contrib.django import client as simple_client
from gearmanny.contrib.django.explorer import jobadmin, joblist, jobpage
from gearmanny.contrib.django.explorer import now as now_page
from gearmanny.contrib.django.explorer.worker import RecordsWorker
from gearmanny.contrib.django.models import JobRecord, JobSchedule, WorkerProcess
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.store import get_store
from gearmanny.contrib.django.testing import eager
from gearmanny.errors import TaskError
from gearmanny.records import listing, schedules, summaries
from gearmanny.records.scheduling import NewSchedule
from gearmanny.records.states import Event
from gearmanny.records.values import Claimed, NewJob
from gearmanny.schedules.timetable import Timetable
from tests.djangoapps.recorded.workers import Recorded

LIST = "/admin/gearmanny/jobrecord/"

FAILURE = json.dumps(
    {"gearmanny_error": {"type": "builtins.ValueError", "message": "<b>no</b>", "traceback": None}}
)


FUNCTIONS = json.dumps(
    {
        "recorded_write": {
            "description": "Writes a name.",
            "input": {"name": {"default": None, "required": True, "annotation": "str"}},
        },
        "recorded_read": {
            "description": "",
            "input": {"id": {"default": None, "required": True, "annotation": "int"}},
        },
        "recorded_write_and_fail": {"description": "Has no signature."},
    }
)


@contextlib.contextmanager
def patched(module: Any, **values: Any) -> Iterator[None]:
    """Lowers the limits of a module."""
    with patch.multiple(module, **values):
        yield


def alias() -> str:
    """The database of the records."""
    return get_settings().RECORDS.DATABASE


class Pages(TestCase):
    """Pages of the explorer, for somebody who may do everything."""

    databases = "__all__"

    def setUp(self) -> None:
        found = get_store()
        assert found is not None
        self.store: Any = found.of_callers
        self.admin = User.objects.create_superuser("admin")
        self.client.force_login(self.admin)
        self.process = self.store.register(pool="tests", functions=FUNCTIONS)
        WorkerProcess.objects.create(
            **self.process._asdict() | {"liveness": "lock", "started": now(), "beat": now()}
        )

    def record(self, function: str, **options: Any) -> str:
        (submitted,) = self.store.record([NewJob(function, **options)], lambda jobs: None)
        id: str = submitted.id
        return id

    def claim(self, id: str, function: str) -> Any:
        claimed = self.store.claim(id, function, 1, self.process.id)
        assert isinstance(claimed, Claimed)
        return claimed.claim

    def fail(self, function: str, error: str = FAILURE, **options: Any) -> str:
        id = self.record(function, **options)
        self.store.finish(self.claim(id, function), Event.FAILED, error=error)
        return id

    def state(self, id: str) -> str:
        return JobRecord.objects.get(id=id).state

    def log(self) -> list[tuple[str, str]]:
        return [(entry.object_id, entry.change_message) for entry in LogEntry.objects.all()]


class TheList(Pages):
    def shown(self, **filters: str) -> list[str]:
        page = self.client.get(LIST, filters)
        assert page.status_code == 200
        return [str(job.id) for job in page.context["listing"].jobs]

    def test_it_shows_the_newest_first_and_filters(self) -> None:
        waiting, failed = self.record("shop_ship", arguments='{"a": 1}'), self.fail("shop_bill")
        assert self.shown() == sorted([failed, waiting], reverse=True)
        assert self.shown(state="failed") == [failed]
        assert self.shown(function="shop_ship") == [waiting]
        assert self.shown(function="shop_ship", state="failed") == []
        assert self.shown(since="2100-01-01T00:00") == []
        assert len(self.shown(until="2100-01-01T00:00")) == 2
        page = self.client.get(LIST)
        self.assertContains(page, "2 jobs.")
        self.assertContains(page, '<option value="shop_bill">')
        self.assertNotContains(page, "Add job")

    def test_it_searches_by_id_key_and_text_in_the_arguments(self) -> None:
        first = self.record("shop_ship", arguments='{"to": "Ada", "token": "s3cret"}')
        second = self.record("shop_bill", unique="the key")
        for term in (first, first.replace("-", ""), "Ada", '"to": "Ada"'):
            assert self.shown(q=term) == [first]
        assert self.shown(q="the key") == [second]
        assert self.shown(q="Ada", function="shop_bill") == []
        assert self.shown(q="s3cret") == []
        assert self.shown(q="018f0000-0000-7000-8000-000000000000") == []

    def test_it_says_where_it_has_not_looked(self) -> None:
        for number in range(3):
            self.record("shop_ship", arguments='{"to": "Ada"}', unique=str(number))
        with patched(summaries, MANY=2), patched(joblist, MANY=2):
            page = self.client.get(LIST, {"q": "Ada"})
            self.assertContains(page, "Only the newest 2 jobs that match")
        with patched(joblist, PAGE=2):
            page = self.client.get(LIST, {"q": "Ada"})
            self.assertContains(page, "Only the newest 2 that were found")
        with patched(listing, MANY=1, _READ=1, _READS=0), patched(joblist, MANY=1, PAGE=2):
            page = self.client.get(LIST, {"function": "shop_ship"})
            self.assertContains(page, "More than 1 jobs")
            self.assertContains(page, "Older jobs have not been looked at")

    def test_pages_follow_one_another(self) -> None:
        ids = [self.record("shop_ship") for _ in range(5)]
        shown: list[str] = []
        address = LIST
        with patched(joblist, PAGE=2):
            while address:
                page = self.client.get(address)
                shown += [str(job.id) for job in page.context["listing"].jobs]
                older = page.context["older"]
                address = f"{LIST}{older}" if older else ""
        assert shown == sorted(ids, reverse=True)
        self.assertRedirects(self.client.get(f"{LIST}?before=x"), LIST)

    def test_filters_that_make_no_sense_are_refused_where_they_are(self) -> None:
        for name, value in (("state", "odd"), ("since", "x"), ("q", "\0")):
            page = self.client.get(LIST, {name: value})
            assert page.status_code == 200
            assert "listing" not in page.context

    def test_chosen_jobs_are_changed(self) -> None:
        first, second, third = self.fail("shop_ship"), self.fail("shop_ship"), self.fail("a/b")
        chosen = {"change": "retry", "scope": "chosen", "id": [first, third, "x"]}
        page = self.client.post(LIST, chosen, follow=True)
        self.assertContains(page, "Retry: 2 jobs.")
        assert [self.state(id) for id in (first, second, third)] == ["queued", "failed", "queued"]
        assert set(self.log()) == {(first, "Queued again."), (third, "Queued again.")}
        self.client.post(LIST, {"change": "cancel", "id": [first]})
        assert self.state(first) == "cancelled"
        self.client.post(LIST, {"change": "discard", "id": [first]})
        assert not JobRecord.objects.filter(id=first).exists()
        page = self.client.post(LIST, {"change": "retry", "id": [third]}, follow=True)
        self.assertContains(page, "not possible any more, it is queued")
        self.assertContains(self.client.post(LIST, {"change": "retry"}, follow=True), "No jobs")
        assert self.client.post(LIST, {"change": "odd", "id": [second]}).status_code == 302
        assert self.state(second) == "failed"

    def test_a_key_that_is_taken_is_told(self) -> None:
        id = self.fail("shop_ship", unique="k")
        self.record("shop_ship", unique="k")
        page = self.client.post(LIST, {"change": "retry", "id": [id]}, follow=True)
        self.assertContains(page, "another one has its key now")

    def test_all_that_match_are_changed_by_a_job(self) -> None:
        failed = [self.fail("shop_ship") for _ in range(3)]
        other = self.fail("shop_bill")
        address = f"{LIST}?state=failed&function=shop_ship"
        page = self.client.post(address, {"change": "retry", "scope": "all"})
        self.assertContains(page, "The filter matches 3 jobs.")
        assert self.state(failed[0]) == "failed"
        with eager([RecordsWorker]), self.captureOnCommitCallbacks(using=alias(), execute=True):
            sure = {"change": "retry", "scope": "all", "sure": "yes"}
            page = self.client.post(address, sure)
        job = JobRecord.objects.get(function="gearmanny_records_change")
        self.assertRedirects(page, f"{LIST}{job.id}/change/")
        assert job.state == "succeeded"
        assert json.loads(job.result) == {"found": 3, "changed": 3}
        assert {self.state(id) for id in failed} == {"queued"}
        assert self.state(other) == "failed"
        assert {id for id, _ in self.log()} == set(failed)

    def test_all_that_were_found_by_their_arguments_are_changed(self) -> None:
        found, other = self.record("f", arguments='{"to": "Ada"}'), self.record("f")
        with eager([RecordsWorker]), self.captureOnCommitCallbacks(using=alias(), execute=True):
            self.client.post(f"{LIST}?q=Ada", {"change": "discard", "scope": "all", "sure": "yes"})
        assert not JobRecord.objects.filter(id=found).exists()
        assert JobRecord.objects.filter(id=other).exists()

    def test_only_a_recorded_job_may_change_others(self) -> None:
        with eager([RecordsWorker]), pytest.raises(TaskError, match="for recorded jobs"):
            simple_client.gearmanny_records_change(change="discard", user=1)

    def test_errors_are_grouped(self) -> None:
        newest = max(self.fail("shop_ship"), self.fail("shop_ship"))
        self.fail("shop_bill")
        page = self.client.get(f"{LIST}errors/")
        assert [(g.function, g.number) for g in page.context["groups"]] == [
            ("shop_ship", 2),
            ("shop_bill", 1),
        ]
        self.assertContains(page, f"{LIST}{newest}/change/")
        self.assertContains(page, "&lt;b&gt;no&lt;/b&gt;")
        page = self.client.get(f"{LIST}errors/", {"function": "shop_bill"})
        assert [group.function for group in page.context["groups"]] == ["shop_bill"]
        with patched(summaries, NEWEST_FAILED=1), patched(jobadmin, NEWEST_FAILED=1):
            self.assertContains(self.client.get(f"{LIST}errors/"), "Only the newest 1 failed")


class TheJob(Pages):
    def page(self, id: str) -> Any:
        return self.client.get(f"{LIST}{id}/change/")

    def post(self, id: str, **data: str) -> Any:
        return self.client.post(f"{LIST}{id}/change/", data)

    def test_it_shows_what_it_got_and_gave(self) -> None:
        id = self.record("shop_ship", arguments='{"to": "<script>"}')
        big = '{"parcels": [1, 2], "n": 1208925819614629174706176, "x": 1e400}'
        self.store.finish(self.claim(id, "shop_ship"), Event.SUCCEEDED, big)
        page = self.page(id)
        self.assertContains(page, "&quot;&lt;script&gt;&quot;")
        self.assertContains(page, "1208925819614629174706176")
        self.assertContains(page, "<b>parcels</b>")
        raw = self.record("raw", arguments=b"\x00\xff")
        self.assertContains(self.page(raw), r"b&#x27;\x00\xff&#x27;")
        self.assertContains(self.page(raw), "2 bytes")

    def test_it_is_short_of_what_is_long(self) -> None:
        rows = [{"row": number, "text": "x" * 1000} for number in range(5000)]
        id = self.record("shop_ship", arguments=json.dumps({"rows": rows, "text": "y" * 10**6}))
        page = self.page(id)
        assert len(page.content) < 2_000_000
        self.assertContains(page, "5000 items")
        deep = self.record("shop_ship", arguments="[" * 900 + "]" * 900)
        assert self.page(deep).status_code == 200
        odd = self.record("shop_ship", arguments="not JSON")
        self.assertContains(self.page(odd), "not JSON")

    def test_it_masks_secrets(self) -> None:
        id = self.record("shop_ship", arguments='{"user": {"api_key": "s3cret"}}')
        self.store.finish(self.claim(id, "shop_ship"), Event.SUCCEEDED, '[{"Token": "s3cret"}]')
        page = self.page(id)
        self.assertContains(page, "&quot;********&quot;")
        self.assertNotContains(page, "s3cret")

    def test_it_shows_every_attempt(self) -> None:
        id = self.record("shop_ship")
        lost = json.dumps({"gearmanny_error": {"type": "a.B", "message": "line\u2028two"}})
        self.store.give_back(self.claim(id, "shop_ship"), Event.RETRIED, 0.0, lost)
        (claimed,) = [self.store.claim(id, "shop_ship", n, self.process.id) for n in (2,)]
        if not isinstance(claimed, Claimed):
            claimed = self.store.claim(id, "shop_ship", 1, self.process.id)
        self.store.finish(claimed.claim, Event.FAILED, error=FAILURE)
        page = self.page(id)
        self.assertContains(page, "a.B: line")
        self.assertContains(page, "builtins.ValueError: &lt;b&gt;no&lt;/b&gt;")
        assert [str(step.what) for step in page.context["steps"]] == [
            *("submitted", "began", "failed, and was queued again"),
            *("began", "failed for good"),
        ]

    def test_it_shows_its_progress(self) -> None:
        id = self.record("shop_ship")
        self.store.progress(self.claim(id, "shop_ship"), 3, 10)
        page = self.page(id)
        self.assertContains(page, '<progress max="10" value="3"')
        self.assertContains(page, "3 of 10")

    def test_it_is_changed(self) -> None:
        id = self.fail("shop_ship")
        self.post(id, change="retry")
        assert self.state(id) == "queued"
        self.post(id, change="cancel")
        assert self.state(id) == "cancelled"
        self.assertContains(self.page(id), "Queued again.")
        self.assertRedirects(self.post(id, change="discard"), LIST)
        assert [message for _, message in self.log()] == [
            *("Discarded.", "Cancelled.", "Queued again."),
        ]
        assert self.page(id).status_code == 404
        assert self.page("x").status_code == 404

    def test_it_runs_again_with_other_arguments_and_the_same_secrets(self) -> None:
        old = self.fail("recorded_write", arguments='{"name": "a", "token": "s3cret", "n": 1}')
        self.assertContains(self.page(old), "Run again")
        self.assertNotContains(self.page(old), "s3cret")
        changed = '{"name": "b", "token": "********", "n": 36893488147419103232}'
        page = self.post(old, again="1", arguments=changed, function="other")
        new = JobRecord.objects.exclude(id=old).get()
        self.assertRedirects(page, f"{LIST}{new.id}/change/")
        assert (new.function, new.state) == ("recorded_write", "queued")
        assert json.loads(new.arguments) == {"name": "b", "token": "s3cret", "n": 2**65}
        assert self.log() == [(str(new.id), f"Runs {old} again.")]
        for bad in ("[1]", "{", '{"a": NaN}', ""):
            page = self.post(old, again="1", arguments=bad)
            assert page.status_code == 200
        assert JobRecord.objects.count() == 2

    def test_arguments_that_were_forgotten_are_asked_for(self) -> None:
        old = self.record("recorded_write", arguments='{"name": "a"}')
        claim = self.claim(old, "recorded_write")
        self.store.finish(claim, Event.SUCCEEDED, "null", forget_arguments=True)
        self.assertContains(self.page(old), "They were forgotten when the job succeeded.")
        self.assertContains(self.post(old, again="1", arguments=""), "This field is required.")
        assert JobRecord.objects.count() == 1
        self.post(old, again="1", arguments='{"name": "b"}')
        new = JobRecord.objects.exclude(id=old).get()
        assert json.loads(new.arguments) == {"name": "b"}

    def test_a_django_task_without_its_arguments_does_not_run_again(self) -> None:
        old = self.record("tasks_default", arguments='{"task": "a.b", "args": []}')
        self.store.finish(self.claim(old, "tasks_default"), Event.SUCCEEDED, "null")
        self.assertContains(self.page(old), "Run again")
        records = {"STORE": "database", "DATABASE": alias(), "ARGUMENTS": "forget"}
        with override_settings(GEARMANNY={"RECORDS": records}):
            self.assertNotContains(self.page(old), "Run again")

    def test_bytes_run_again_as_they_are(self) -> None:
        old = self.fail("recorded_write", arguments=b"\0\xff")
        self.assertNotContains(self.page(old), "<textarea")
        self.post(old, again="1")
        assert bytes(JobRecord.objects.exclude(id=old).get().arguments_raw) == b"\0\xff"

    def test_it_runs_again_with_the_same_headers(self) -> None:
        headers = '{"request": "r-17", "token": "s3cret"}'
        for arguments in ('{"name": "a"}', b"\0\xff"):
            old = self.fail("recorded_write", arguments=arguments, headers=headers)
            self.assertContains(self.page(old), "r-17")
            self.assertNotContains(self.page(old), "s3cret")
            known = set(JobRecord.objects.values_list("id", flat=True))
            self.post(old, again="1", arguments='{"name": "a"}')
            assert JobRecord.objects.exclude(id__in=known).get().headers == headers

    def test_a_task_of_django_runs_again_as_it_is(self) -> None:
        old = self.fail("tasks_default", arguments='{"task": "shop.tasks.harmless"}')
        self.assertNotContains(self.page(old), "<textarea")
        self.post(old, again="1", arguments='{"task": "os.system"}')
        new = JobRecord.objects.exclude(id=old).get()
        assert json.loads(new.arguments) == {"task": "shop.tasks.harmless"}

    def test_what_no_worker_of_the_project_offers_does_not_run_again(self) -> None:
        for function in ("shop_ship", "gearmanny_records_change"):
            id = self.fail(function)
            self.assertNotContains(self.page(id), "Run again")
            assert self.post(id, again="1", arguments="{}").status_code == 403

    def test_odd_names_are_shown_and_lead_to_pages(self) -> None:
        for function in ("a/b", "<b>", "a&b=c", "ä"):
            id = self.fail(function)
            self.assertContains(self.page(id), f"<bdi>{escape(function)}</bdi>")
            shown = self.client.get(LIST, {"function": function}).context["listing"].jobs
            assert [str(job.id) for job in shown] == [id]

    def test_it_leads_to_its_parent_and_its_children(self) -> None:
        parent = self.record("recorded_read")
        ids = [self.record("recorded_write", parent=parent) for _ in range(3)]
        page = self.page(parent)
        self.assertContains(page, "Submitted by this job")
        for id in ids:
            self.assertContains(page, f"{LIST}{id}/change/")
            self.assertContains(self.page(id), f"{LIST}{parent}/change/")
        with patched(jobpage, CHILDREN=2), patched(jobadmin, CHILDREN=2):
            page = self.page(parent)
        self.assertContains(page, "The newest 2.")
        assert page.context["family"].children == sorted(
            page.context["family"].children, key=lambda job: job.id, reverse=True
        )
        self.assertNotContains(page, f"{LIST}{min(ids)}/change/")
        self.store.delete([parent])
        self.assertContains(self.page(ids[0]), "whose record is gone")
        assert self.store.look(ids[0]).parent == parent

    def test_the_log_of_the_site_leads_to_it(self) -> None:
        id = self.record("shop_ship")
        page = self.client.get(f"{LIST}{id}/history/")
        self.assertRedirects(page, f"{LIST}{id}/change/")


class Calls(Pages):
    def test_functions_of_the_project_are_listed_with_their_help(self) -> None:
        page = self.client.get(f"{LIST}functions/")
        self.assertContains(page, f"{LIST}call/recorded_write/")
        self.assertContains(page, "Writes a name.")
        self.assertNotContains(page, "recorded_help")
        self.assertNotContains(page, "gearmanny_records")

    def call(self, function: str, **data: str) -> Any:
        return self.client.post(f"{LIST}call/{function}/", data)

    def test_a_form_is_made_of_the_help(self) -> None:
        page = self.client.get(f"{LIST}call/recorded_write/")
        self.assertContains(page, 'name="argument-name"')
        self.assertContains(page, "Writes a name.")
        page = self.client.get(f"{LIST}call/recorded_read/")
        self.assertContains(page, 'type="number" name="argument-id"')

    def test_a_call_shows_what_came_back(self) -> None:
        with eager([Recorded]):
            page = self.call("recorded_write", **{"argument-name": "<i>", "how": "foreground"})
            self.assertContains(page, "&quot;&lt;i&gt;&quot;")
            page = self.call("recorded_write_and_fail", **{"argument-": '{"name": "b"}'})
            self.assertContains(page, "builtins.ValueError: b")
        assert Group.objects.filter(name="<i>").exists()

    def test_a_script_gets_events(self) -> None:
        with eager([Recorded]):
            response = self.client.post(
                f"{LIST}call/recorded_write/",
                {"argument-name": "a"},
                headers={"Accept": "text/event-stream"},
            )
            events = b"".join(response.streaming_content).decode()
        assert response["Content-Type"] == "text/event-stream"
        assert events.startswith("event: result\ndata: ")
        assert "&quot;a&quot;" in json.loads(events.split("data: ")[1])

    def test_a_background_call_leads_to_its_record(self) -> None:
        page = self.call("recorded_write", **{"argument-name": "a", "how": "background"})
        job = JobRecord.objects.get()
        self.assertRedirects(page, f"{LIST}{job.id}/change/")
        assert (job.function, json.loads(job.arguments)) == ("recorded_write", {"name": "a"})
        assert self.log() == [(str(job.id), "Submitted.")]

    def test_what_is_wrong_is_said_at_the_form(self) -> None:
        page = self.call("recorded_read", **{"argument-id": "x"})
        self.assertContains(page, "Enter a whole number.")
        page = self.call("recorded_write_and_fail", **{"argument-": "[1]"})
        self.assertContains(page, "This is not a JSON object.")
        page = self.call("recorded_write_and_fail", **{"argument-": "{"})
        self.assertContains(page, "This is not JSON.")
        assert not JobRecord.objects.exists()

    def test_only_functions_of_the_project_can_be_called(self) -> None:
        for function in ("shop_ship", "gearmanny_records_change", "recorded_help", "tasks_default"):
            assert self.client.get(f"{LIST}call/{function}/").status_code == 404
            assert self.call(function).status_code == 404


class Access(Pages):
    """Who may do what: each view, with each permission."""

    def become(self, *permissions: str) -> None:
        user = User.objects.create_user(f"u{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.client.force_login(user)

    def statuses(self, id: str) -> list[int]:
        get, post = self.client.get, self.client.post
        return [
            response.status_code
            for response in (
                get("/admin/gearmanny/"),
                get(LIST),
                get(f"{LIST}{id}/change/"),
                get(f"{LIST}errors/"),
                get(f"{LIST}functions/"),
                post(LIST, {"change": "cancel", "id": [id]}),
                post(LIST, {"change": "cancel", "scope": "all"}),
                post(f"{LIST}{id}/change/", {"change": "cancel"}),
                get(f"{LIST}call/recorded_write/"),
                post(f"{LIST}call/recorded_write/", {"argument-name": "a", "how": "background"}),
                post(f"{LIST}{id}/change/", {"again": "1", "arguments": "{}"}),
            )
        ]

    def test_nothing_is_shown_without_permission(self) -> None:
        id = self.record("recorded_write")
        self.become()
        assert self.statuses(id) == [404, *[403] * 10]
        act, call = "act_jobrecord", "call_jobrecord"
        for others in ([act], [call], [act, call]):
            self.become(*others)
            assert set(self.statuses(id)[1:]) == {403}
        self.client.logout()
        assert set(self.statuses(id)) == {302}

    def test_seeing_acting_and_calling_are_apart(self) -> None:
        id = self.record("recorded_write")
        self.become("view_jobrecord")
        assert self.statuses(id) == [*[200] * 5, *[403] * 6]
        self.assertNotContains(self.client.get(f"{LIST}{id}/change/"), 'name="change"')
        self.become("view_jobrecord", "act_jobrecord")
        assert self.statuses(id) == [*[200] * 5, 302, 200, 302, *[403] * 3]
        self.become("view_jobrecord", "call_jobrecord")
        assert self.statuses(id) == [*[200] * 5, *[403] * 3, 200, 302, 302]

    def test_a_backend_may_permit_one_function(self) -> None:
        backends = [
            "django.contrib.auth.backends.ModelBackend",
            "tests.djangoapps.recorded.permits.Permits",
        ]
        with override_settings(AUTHENTICATION_BACKENDS=backends):
            self.become("view_jobrecord")
            user = User.objects.order_by("-pk")[0]
            self.client.force_login(user, backend=backends[0])
            assert self.client.get(f"{LIST}call/recorded_write/").status_code == 200
            assert self.client.get(f"{LIST}call/recorded_read/").status_code == 403

    def test_nothing_happens_without_the_token(self) -> None:
        id = self.record("recorded_write")
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(self.admin)
        for address, data in (
            (LIST, {"change": "cancel", "id": [id]}),
            (f"{LIST}{id}/change/", {"change": "cancel"}),
            (f"{LIST}{id}/change/", {"again": "1", "arguments": "{}"}),
            (f"{LIST}call/recorded_write/", {"argument-name": "a", "how": "background"}),
        ):
            assert strict.post(address, data).status_code == 403
        assert self.state(id) == "queued"
        assert JobRecord.objects.count() == 1

    def test_nothing_can_be_edited(self) -> None:
        id = self.record("shop_ship")
        assert self.client.get(f"{LIST}add/").status_code == 404
        assert self.client.get(f"{LIST}{id}/delete/").status_code == 404
        self.client.post(f"{LIST}{id}/change/", {"function": "other"})
        assert JobRecord.objects.get().function == "shop_ship"

    def test_without_records_there_are_no_pages(self) -> None:
        with override_settings(GEARMANNY={}):
            self.assertNotContains(self.client.get("/admin/"), "Gearman")
            assert self.client.get(LIST).status_code == 403


class Sites(Pages):
    """Another admin site, with a prefix."""

    def test_its_pages_lead_to_its_pages(self) -> None:
        id = self.fail("recorded_write")
        other = f"/office/{LIST.removeprefix('/admin/')}"
        for address in ("/office/gearmanny/", other, f"{other}{id}/change/", f"{other}functions/"):
            page = self.client.get(address)
            assert page.status_code == 200, address
            self.assertNotContains(page, 'href="/admin/')
        page = self.client.post(f"{other}{id}/change/", {"change": "discard"})
        self.assertRedirects(page, other)


class TheDocument(Pages):
    """The examples of `docs/explorer.md`."""

    def run_block(self, number: int) -> dict[str, Any]:
        text = (Path(__file__).parents[3] / "docs" / "explorer.md").read_text("utf-8")
        names: dict[str, Any] = {}
        exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number], names)
        return names

    def test_another_admin_site(self) -> None:
        office = self.run_block(0)["office"]
        assert office.is_registered(JobRecord)
        assert office.is_registered(JobSchedule)

    def test_a_backend(self) -> None:
        shift = self.run_block(1)["NightShift"]()
        assert not shift.has_perm(self.admin, "gearmanny.call_jobrecord", "shop_report")
        self.admin.groups.add(Group.objects.create(name="night shift"))
        assert shift.has_perm(self.admin, "gearmanny.call_jobrecord", "shop_report")
        assert not shift.has_perm(self.admin, "gearmanny.call_jobrecord", "shop_ship")


class NowPage(Pages):
    def test_it_shows_servers_functions_and_processes(self) -> None:
        id = self.record("recorded_write")
        self.claim(id, "recorded_write")
        self.record("nobody_does", delay=0.0)
        page = self.client.get("/admin/gearmanny/")
        self.assertContains(page, '<th scope="row">127.0.0.1:1</th>')
        self.assertContains(page, "down")
        self.assertContains(page, "nobody_does")
        self.assertContains(page, f"{LIST}{id}/change/")
        self.assertContains(page, "tests")

    def test_a_function_that_ran_has_a_line(self) -> None:
        now_page._paces._read.clear()
        id = self.record("recorded_write")
        self.store.finish(self.claim(id, "recorded_write"), Event.SUCCEEDED, "1")
        page = self.client.get("/admin/gearmanny/")
        self.assertContains(page, "<polyline points=")
        self.assertContains(page, 'aria-label="0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1"')


class Commands(Pages):
    def test_the_command_does_what_it_is_told(self) -> None:
        first = self.record("shop_ship", arguments='{"customer": 17, "pin": 1}')
        second = self.record("shop_ship", arguments='{"customer": 18}')
        out = StringIO()
        with override_settings(
            GEARMANNY={"RECORDS": {"STORE": "database", "DATABASE": alias()}, "MASK": ["pin"]}
        ):
            call_command("gearmanny", "jobs", "show", first, stdout=out)
        assert '{"customer": 17, "pin": "********"}' in out.getvalue()
        call_command("gearmanny", "jobs", "delete", "--argument", "customer=17", stdout=out)
        assert [str(job.id) for job in JobRecord.objects.all()] == [second]
        with pytest.raises(SystemExit, match="1"):
            call_command("gearmanny", "jobs", "cancel", first, stdout=out)
        with self.assertRaisesMessage(CommandError, "Say which jobs to delete"):
            call_command("gearmanny", "jobs", "delete", stdout=out)


SCHEDULES = "/admin/gearmanny/jobschedule/"

FORM = {
    "name": "nightly",
    "function": "shop_report",
    "arguments": '{"kind": "short"}',
    "cron": "0 3 * * mon-fri",
    "timezone": "Europe/Berlin",
    "jitter": "5",
    "overlap": "skip",
}


class SchedulePages(TestCase):
    databases = "__all__"

    def setUp(self) -> None:
        found = get_store()
        assert found is not None
        self.store: Any = found.of_callers
        self.client.force_login(User.objects.create_superuser("admin"))

    def add(self, **changed: str) -> Any:
        return self.client.post(f"{SCHEDULES}add/", FORM | changed)

    def id_of(self, name: str) -> str:
        id: str = self.store.schedules.get(name).id
        return id

    def act(self, action: str, name: str) -> Any:
        data = {"action": action, "_selected_action": [self.id_of(name)]}
        return self.client.post(SCHEDULES, data, follow=True)

    def test_one_is_added_and_begins_now(self) -> None:
        self.assertContains(self.client.get(f"{SCHEDULES}add/"), "Instead of that, an expression")
        self.assertRedirects(self.add(), SCHEDULES)
        found = self.store.schedules.get("nightly")
        assert (found.function, found.arguments) == ("shop_report", FORM["arguments"])
        assert (found.timezone, found.jitter, found.from_code) == ("Europe/Berlin", 5, 0)
        assert found.next > found.last
        self.assertContains(self.client.get(SCHEDULES), '<td class="field-last_runs">-</td>')
        page = self.client.get(SCHEDULES)
        self.assertContains(page, "at 03:00 on Monday through Friday, Europe/Berlin time")

    def test_one_is_changed_and_keeps_its_name(self) -> None:
        self.add()
        page = f"{SCHEDULES}{self.id_of('nightly')}/change/"
        self.assertContains(self.client.get(page), "Europe/Berlin")
        form = FORM | {"name": "other", "cron": "", "every": "60", "catch_up": "on"}
        self.assertRedirects(self.client.post(page, form), SCHEDULES)
        (found,) = self.store.schedules.all()
        assert (found.name, found.every, found.cron) == ("nightly", 60.0, None)
        assert (found.catch_up, found.overlap) == (True, "queue")

    def test_what_makes_no_sense_is_said_at_the_form(self) -> None:
        self.assertContains(self.add(cron="every day"), "cron must be five fields")
        self.assertContains(self.add(every="5"), "either every or cron")
        self.assertContains(self.add(arguments="[1]"), "This is not a JSON object.")
        for bad in ("{", '{"a": NaN}'):
            self.assertContains(self.add(arguments=bad), "This is not a JSON object.")
        self.assertContains(self.add(arguments='{"a": 1e400}'), "not JSON compliant")
        self.assertContains(self.add(jitter="1e18"), "from 0 to 3e9")
        self.assertContains(self.add(function="a b"), "a b")
        self.assertContains(self.add(timezone="Berlin"), "timezone must be the name")
        assert self.store.schedules.all() == []
        self.add()
        self.assertContains(self.add(), "already exists")

    def test_one_is_paused_resumed_run_and_deleted(self) -> None:
        self.add()
        self.assertContains(self.act("pause", "nightly"), "1 schedule paused.")
        assert self.store.schedules.get("nightly").paused
        self.act("resume", "nightly")
        assert not self.store.schedules.get("nightly").paused
        self.act("run_now", "nightly")
        job = JobRecord.objects.get(function="shop_report")
        self.store.cancel(str(job.id))
        self.assertContains(self.client.get(SCHEDULES), "1 job, 0 failed")
        assert job.arguments == FORM["arguments"]
        page = f"{SCHEDULES}{self.id_of('nightly')}/delete/"
        self.assertRedirects(self.client.post(page, {"post": "yes"}), SCHEDULES)
        assert self.store.schedules.all() == []

    def test_its_secrets_are_masked_and_kept(self) -> None:
        self.add(arguments='{"kind": "a", "token": "s3cret", "deep": [{"pin-token": "t0p"}]}')
        page = f"{SCHEDULES}{self.id_of('nightly')}/change/"
        shown = self.client.get(page)
        for secret in ("s3cret", "t0p"):
            self.assertNotContains(shown, secret)
        text = shown.context["adminform"].form["arguments"].value()
        changed = FORM | {"arguments": text.replace('"a"', '"b"').replace("\n", "\r\n")}
        self.assertRedirects(self.client.post(page, changed), SCHEDULES)
        arguments = json.loads(self.store.schedules.get("nightly").arguments)
        assert arguments == {"kind": "b", "token": "s3cret", "deep": [{"pin-token": "t0p"}]}
        again = changed | {"arguments": '{"token": "new", "more": 1}'}
        self.assertRedirects(self.client.post(page, again), SCHEDULES)
        found = self.store.schedules.get("nightly")
        assert json.loads(found.arguments) == {"token": "new", "more": 1}

    def test_its_secrets_are_for_its_function_alone(self) -> None:
        self.add(arguments='{"token": "s3cret"}')
        page = f"{SCHEDULES}{self.id_of('nightly')}/change/"
        text = self.client.get(page).context["adminform"].form["arguments"].value()
        stolen = FORM | {"arguments": text, "function": "shop_echo"}
        self.assertContains(self.client.post(page, stolen), "Another function does not get")
        assert self.store.schedules.get("nightly").function == "shop_report"
        given = stolen | {"arguments": '{"token": "mine"}'}
        self.assertRedirects(self.client.post(page, given), SCHEDULES)
        assert self.store.schedules.get("nightly").arguments == '{"token": "mine"}'

    def test_its_secrets_are_masked_where_it_cannot_be_changed(self) -> None:
        arguments = '{"kind": "a", "token": "s3cret"}'
        new = NewSchedule("shop_tick", "shop_tick", arguments, Timetable(every=60))
        self.store.schedules.offer([new])
        self.store.schedules.add(new._replace(name="mine"))
        pages = [f"{SCHEDULES}{self.id_of(name)}/change/" for name in ("shop_tick", "mine")]
        shown = [self.client.get(pages[0])]
        self.assertNotContains(shown[0], 'name="_save"')
        self.assertContains(shown[0], "in the code of a worker")
        user = User.objects.create_user("viewer", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_jobschedule"))
        self.client.force_login(user)
        shown += [self.client.get(page) for page in pages]
        for each in shown:
            self.assertContains(each, "kind")
            self.assertNotContains(each, "s3cret")

    def test_one_whose_arguments_are_no_json_can_be_seen(self) -> None:
        for name, arguments in (("yaml", "kind: short"), ("secret", "token: s3cret")):
            self.store.schedules.add(NewSchedule(name, "f", arguments, Timetable(every=60)))
        yaml, secret = (
            self.client.get(f"{SCHEDULES}{self.id_of(name)}/change/") for name in ("yaml", "secret")
        )
        self.assertContains(yaml, "kind: short")
        self.assertNotContains(secret, "s3cret")

    def test_one_that_is_in_code_can_be_paused_but_not_changed(self) -> None:
        self.store.schedules.offer([NewSchedule("shop_tick", "shop_tick", "", Timetable(every=60))])
        page = f"{SCHEDULES}{self.id_of('shop_tick')}/change/"
        self.assertNotContains(self.client.get(page), 'name="every"')
        self.assertRedirects(self.client.post(page, {"every": "5"}), SCHEDULES)
        assert self.store.schedules.get("shop_tick").every == 60.0
        self.act("pause", "shop_tick")
        assert self.store.schedules.get("shop_tick").paused
        self.act("delete_selected", "shop_tick")
        data = {"action": "delete_selected", "_selected_action": [self.id_of("shop_tick")]}
        self.client.post(SCHEDULES, data | {"post": "yes"})
        assert self.store.schedules.all() == []

    def test_the_list_looks_once_at_the_processes(self) -> None:
        for name in ("a", "b", "c"):
            self.add(name=name)
        with patch.object(schedules, "offers", wraps=schedules.offers) as looks:
            self.assertContains(self.client.get(SCHEDULES), "no worker", count=3)
        assert looks.call_count == 1

    def test_one_that_cannot_be_read_is_shown_all_the_same(self) -> None:
        self.add()
        JobSchedule.objects.update(cron="x")
        self.assertContains(self.client.get(SCHEDULES), "cron must be five fields")
        self.assertContains(self.act("resume", "nightly"), "cron must be five fields")

    def test_without_records_there_is_no_page(self) -> None:
        with override_settings(GEARMANNY={"RECORDS": {"STORE": None}}):
            assert self.client.get(SCHEDULES).status_code == 403
