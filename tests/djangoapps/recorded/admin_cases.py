"""The pages of the records, as a browser gets them: run by `manage.py test`."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import TestCase, override_settings

from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.store import get_store
from gearmanny.records.states import Event
from gearmanny.records.values import Claimed, NewJob

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

    def test_a_page_masks_secrets(self) -> None:
        id = self.record("shop_ship", arguments='{"user": {"api_key": "s3cret"}}')
        self.store.finish(self.claim(id, "shop_ship"), Event.SUCCEEDED, '[{"Token": "s3cret"}]')
        page = self.client.get(f"{LIST}{id}/change/")
        self.assertContains(page, "&quot;api_key&quot;: &quot;********&quot;")
        self.assertNotContains(page, "s3cret")

    def test_the_command_does_what_it_is_told(self) -> None:
        first = self.record("shop_ship", arguments='{"customer": 17, "pin": 1}')
        second = self.record("shop_ship", arguments='{"customer": 18}')
        out = StringIO()
        with override_settings(GEARMANNY={"RECORDS": {"STORE": "database"}, "MASK": ["pin"]}):
            call_command("gearmanny", "jobs", "show", first, stdout=out)
        assert '{"customer": 17, "pin": "********"}' in out.getvalue()
        call_command("gearmanny", "jobs", "delete", "--argument", "customer=17", stdout=out)
        assert [str(job.id) for job in JobRecord.objects.all()] == [second]
        with pytest.raises(SystemExit, match="1"):
            call_command("gearmanny", "jobs", "cancel", first, stdout=out)
        with self.assertRaisesMessage(CommandError, "Say which jobs to delete"):
            call_command("gearmanny", "jobs", "delete", stdout=out)

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
