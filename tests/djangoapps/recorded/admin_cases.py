"""The pages of the records, as a browser gets them: run by `manage.py test`."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User
from django.test import TestCase, override_settings

from gearmanny.contrib.django.models import JobRecord, JobSchedule
from gearmanny.contrib.django.store import get_store
from gearmanny.records.scheduling import NewSchedule
from gearmanny.records.states import Event
from gearmanny.records.values import Claimed, NewJob
from gearmanny.schedules.timetable import Timetable

LIST = "/admin/gearmanny/jobrecord/"

FAILURE = json.dumps(
    {"gearmanny_error": {"type": "builtins.ValueError", "message": "<b>no</b>", "traceback": None}}
)


class RecordPages(TestCase):
    def setUp(self) -> None:
        found = get_store()
        assert found is not None
        self.store: Any = found.of_callers
        self.client.force_login(User.objects.create_superuser("admin"))
        self.process = self.store.register(pool="tests")

    def record(self, function: str, **options: Any) -> str:
        (submitted,) = self.store.record([NewJob(function, **options)], lambda jobs: None)
        id: str = submitted.id
        return id

    def claim(self, id: str, function: str) -> Any:
        claimed = self.store.claim(id, function, 1, self.process.id)
        assert isinstance(claimed, Claimed)
        return claimed.claim

    def test_the_list_is_short_of_payloads_and_filters(self) -> None:
        waiting, failed = self.record("shop_ship", arguments='{"a": 1}'), self.record("shop_bill")
        self.store.finish(self.claim(failed, "shop_bill"), Event.FAILED, error=FAILURE)
        page = self.client.get(LIST)
        self.assertContains(page, waiting[-12:])
        self.assertContains(page, failed[-12:])
        self.assertContains(page, "?function=shop_bill")
        self.assertNotContains(page, "Add job")
        page = self.client.get(f"{LIST}?state=failed")
        self.assertNotContains(page, waiting[-12:])
        page = self.client.get(f"{LIST}?function=shop_ship")
        self.assertContains(page, waiting[-12:])
        self.assertNotContains(page, failed[-12:])

    def test_search_is_by_id_or_function(self) -> None:
        first, second = self.record("shop_ship"), self.record("shop_bill")
        for term in (first, first.replace("-", ""), "shop_ship"):
            page = self.client.get(LIST, {"q": term})
            self.assertContains(page, first[-12:])
            self.assertNotContains(page, second[-12:])

    def test_a_page_shows_what_a_job_got_and_gave(self) -> None:
        id = self.record("shop_ship", arguments='{"to": "<script>"}')
        self.store.finish(self.claim(id, "shop_ship"), Event.SUCCEEDED, '{"parcels": [1, 2]}')
        page = self.client.get(f"{LIST}{id}/change/")
        self.assertContains(page, "&quot;to&quot;: &quot;&lt;script&gt;&quot;")
        self.assertContains(page, "&quot;parcels&quot;: [")
        self.assertNotContains(page, 'name="_save"')
        raw = self.record("raw", arguments=b"\x00\xff")
        self.assertContains(self.client.get(f"{LIST}{raw}/change/"), r"b&#x27;\x00\xff&#x27;")

    def test_a_page_shows_what_failed(self) -> None:
        id = self.record("shop_ship")
        self.store.finish(self.claim(id, "shop_ship"), Event.FAILED, error=FAILURE)
        page = self.client.get(f"{LIST}{id}/change/")
        self.assertContains(page, "builtins.ValueError: &lt;b&gt;no&lt;/b&gt;")
        self.assertContains(page, "<td>failed</td>")

    def test_nothing_can_be_changed(self) -> None:
        id = self.record("shop_ship")
        for url in (f"{LIST}add/", f"{LIST}{id}/delete/"):
            assert self.client.get(url).status_code == 403
        self.client.post(f"{LIST}{id}/change/", {"function": "other"})
        assert JobRecord.objects.get().function == "shop_ship"

    def test_without_records_there_are_no_pages(self) -> None:
        with override_settings(GEARMANNY={}):
            self.assertNotContains(self.client.get("/admin/"), "Gearman")
            assert self.client.get(LIST).status_code == 403


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
        self.assertContains(self.add(arguments="{"), "This is not a JSON object.")
        self.assertContains(self.add(function="a b"), "a b")
        self.assertContains(self.add(timezone="Berlin"), "timezone must be the name")
        assert self.store.schedules.all() == []
        self.add()
        self.assertContains(self.add(), "already exists")

    def test_one_is_paused_resumed_run_and_deleted(self) -> None:
        self.add()
        self.assertContains(self.act("pause", "nightly"), "1 schedule: done.")
        assert self.store.schedules.get("nightly").paused
        self.act("resume", "nightly")
        assert not self.store.schedules.get("nightly").paused
        self.act("run_now", "nightly")
        job = JobRecord.objects.get(function="shop_report")
        assert job.arguments == FORM["arguments"]
        page = f"{SCHEDULES}{self.id_of('nightly')}/delete/"
        self.assertRedirects(self.client.post(page, {"post": "yes"}), SCHEDULES)
        assert self.store.schedules.all() == []

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

    def test_one_that_cannot_be_read_is_shown_all_the_same(self) -> None:
        self.add()
        JobSchedule.objects.update(cron="x")
        self.assertContains(self.client.get(SCHEDULES), "cron must be five fields")
        self.assertContains(self.act("resume", "nightly"), "cron must be five fields")

    def test_without_records_there_is_no_page(self) -> None:
        with override_settings(GEARMANNY={"RECORDS": {"STORE": None}}):
            assert self.client.get(SCHEDULES).status_code == 403
