"""The pages of the records, given odd records, odd requests and odd settings: run by `manage.py
test`."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any
from unittest.mock import patch

from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from django.test.utils import override_script_prefix
from django.utils.timezone import now

from gearmanny.contrib.django.explorer import offered
from gearmanny.contrib.django.explorer.worker import RecordsWorker
from gearmanny.contrib.django.models import JobRecord, WorkerProcess
from gearmanny.contrib.django.testing import eager
from gearmanny.records.states import Event
from tests.djangoapps.recorded.admin_cases import FORM, LIST, SCHEDULES, Pages, alias
from tests.djangoapps.recorded.workers import Recorded

DEEP = "[" * 10_000 + "]" * 10_000
SECRET = '{"password": "s3cret", "more": %s}'


class OddRecords(Pages):
    def page(self, id: str) -> Any:
        page = self.client.get(f"{LIST}{id}/change/")
        assert page.status_code == 200
        return page

    def test_secrets_are_hidden_where_json_is_deep_or_has_long_numbers(self) -> None:
        for more in (DEEP, "9" * 5000, "[NaN, -Infinity]"):
            id = self.record("recorded_write", arguments=SECRET % more)
            self.store.finish(self.claim(id, "recorded_write"), Event.SUCCEEDED, SECRET % more)
            self.assertNotContains(self.page(id), "s3cret")
            assert self.client.get(LIST, {"q": "s3cret"}).status_code == 200
            self.assertNotContains(self.client.get(LIST, {"q": "s3cret"}), id)
            out = StringIO()
            call_command("gearmanny", "jobs", "show", id, stdout=out)
            assert "s3cret" not in out.getvalue()

    def test_deep_json_is_shown_where_nothing_is_masked(self) -> None:
        with override_settings(GEARMANNY=dict(django_settings.GEARMANNY) | {"MASK": []}):
            for depth in (25, 400, 850):
                deep = '{"a": %s%s}' % ("[" * depth, "]" * depth)
                old = self.fail("recorded_write", arguments=deep)
                self.page(old)
                page = self.client.post(f"{LIST}{old}/change/", {"again": "1", "arguments": deep})
                assert page.status_code == 302

    def test_a_deep_failure_is_shown(self) -> None:
        id = self.fail("recorded_write", '{"gearmanny_error": {"type": "a", "args": %s}}' % DEEP)
        self.page(id)
        assert self.client.get(f"{LIST}errors/").status_code == 200

    def test_arguments_that_are_no_object_run_again_as_they_are(self) -> None:
        for arguments in ("[1, 2]", "not JSON", '"text"', SECRET % ("9" * 5000)):
            old = self.fail("recorded_write", arguments=arguments)
            self.assertContains(self.page(old), "Run again")
            page = self.client.post(f"{LIST}{old}/change/", {"again": "1"})
            assert page.status_code == 302, page.content
            new = JobRecord.objects.exclude(id=old).get()
            assert bytes(new.arguments_raw) == arguments.encode()
            self.assertNotContains(self.page(str(new.id)), "s3cret")
            JobRecord.objects.all().delete()

    def test_a_number_becomes_a_truth_value_where_somebody_writes_so(self) -> None:
        old = self.fail("recorded_write", arguments='{"a": 1, "b": 0, "token": "x"}')
        changed = '{"a": true, "b": 0.0, "token": "********"}'
        self.client.post(f"{LIST}{old}/change/", {"again": "1", "arguments": changed})
        new = JobRecord.objects.exclude(id=old).get()
        assert json.loads(new.arguments)["a"] is True
        assert isinstance(json.loads(new.arguments)["b"], float)
        assert json.loads(new.arguments)["token"] == "x"

    def test_long_texts_are_cut_everywhere(self) -> None:
        long = "<" * 1_000_000
        failure = {"type": "a.B", "message": long, "traceback": long}
        id = self.record("recorded_write", arguments=json.dumps({long[:300_000]: long}))
        self.store.finish(
            self.claim(id, "recorded_write"),
            Event.FAILED,
            error=json.dumps({"gearmanny_error": failure}),
        )
        assert len(self.page(id).content) < 1_000_000
        rows = json.dumps([long[:19_000]] * 500)
        id = self.record("recorded_write", arguments=rows)
        assert len(self.page(id).content) < 1_000_000

    def test_a_job_that_is_gone_is_told(self) -> None:
        id = self.fail("recorded_write")
        job = JobRecord.objects.get(id=id)
        self.store.delete([id])
        with patch("gearmanny.contrib.django.explorer.jobadmin.jobs_with", return_value=[job]):
            for change in ("retry", "cancel", "discard"):
                page = self.client.post(LIST, {"change": change, "id": [id]}, follow=True)
                assert page.status_code == 200
        assert self.client.post(f"{LIST}{id}/change/", {"change": "retry"}).status_code == 404


class OddRequests(Pages):
    def test_no_address_is_an_error(self) -> None:
        self.fail("recorded_write")
        for address in (
            f"{LIST}errors/?function=%00",
            f"{LIST}errors/?function=%ED%A0%80",
            f"{LIST}?function=%00",
            f"{LIST}?q=%ED%A0%80",
            f"{LIST}?q=%25_!",
            f"{LIST}?since=0001-01-01T00:00",
            f"{LIST}?until=0001-01-01T00:00",
            f"{LIST}?since=9999-12-31T23:59",
            f"{LIST}?until=9999-12-31T23:59",
            f"{LIST}?since=1969-12-31T00:00&until=1960-01-01T00:00",
            f"{LIST}?before=ffffffff-ffff-ffff-ffff-ffffffffffff",
            f"{LIST}?q=x&before=x",
            f"{LIST}call/a%0Ab/",
            f"{LIST}a%0Ab/change/",
            f"{LIST}a%00b/change/",
            f"{LIST}a%00b/history/",
        ):
            assert self.client.get(address, follow=True).status_code in (200, 404), address

    def test_texts_that_are_no_unicode_are_refused_at_the_form(self) -> None:
        for how in ("background", "foreground"):
            with eager([Recorded]):
                page = self.client.post(
                    f"{LIST}call/recorded_write_and_fail/",
                    {"argument-": '{"name": "\\ud800"}', "how": how},
                )
                assert page.status_code in (200, 302)
        old = self.fail("recorded_write", arguments="{}")
        for text in ('{"name": "\\ud800"}', '{"a": 1' + "0" * 5000 + "}", '{"a": ' + DEEP + "}"):
            page = self.client.post(f"{LIST}{old}/change/", {"again": "1", "arguments": text})
            assert page.status_code in (200, 302)

    def test_help_that_makes_no_sense_is_no_help(self) -> None:
        class Odd:
            def __init__(self, table: Any) -> None:
                self.table = table

            def get_result(self, timeout: Any) -> Any:
                return self.table

        WorkerProcess.objects.all().delete()
        tables: list[Any] = [
            *([], "x", None, 5),
            {"recorded_write": []},
            {"recorded_write": {"input": []}},
            {"recorded_write": {"input": {"name": None}, "description": 5}},
            {"recorded_write": {"input": {"name": {"annotation": [], "default": {}}}}},
            {"recorded_write": {"input": {"": {}}}},
            {"recorded_write": {"description": {"a": 1}}},
        ]
        for table in tables:
            with patch.object(offered, "async_client") as client:
                client.using.return_value.recorded_help = lambda table=table: Odd(table)
                page = self.client.get(f"{LIST}call/recorded_write/")
                assert page.status_code == 200, table


class Escalation(Pages):
    def test_cancelling_all_spares_the_job_that_does_so(self) -> None:
        ids = [self.record("shop_ship") for _ in range(3)]
        with eager([RecordsWorker]), self.captureOnCommitCallbacks(using=alias(), execute=True):
            self.client.post(LIST, {"change": "cancel", "scope": "all", "sure": "yes"})
        job = JobRecord.objects.get(function="gearmanny_records_change")
        assert (job.state, json.loads(job.result)["changed"]) == ("succeeded", 3)
        assert {self.state(id) for id in ids} == {"cancelled"}

    def test_schedules_run_what_somebody_may_call_and_nothing_else(self) -> None:
        user = User.objects.create_user("scheduler", is_staff=True)
        names = ("add_jobschedule", "change_jobschedule", "view_jobschedule", "view_jobrecord")
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        self.client.force_login(user)
        self.client.post(f"{SCHEDULES}add/", FORM)
        assert self.store.schedules.all() == []
        user.user_permissions.add(Permission.objects.get(codename="call_jobrecord"))
        for function in ("gearmanny_records_change", "tasks_default"):
            self.client.post(f"{SCHEDULES}add/", FORM | {"function": function})
            assert self.store.schedules.all() == []
        self.client.post(f"{SCHEDULES}add/", FORM)
        (made,) = self.store.schedules.all()
        user.user_permissions.remove(Permission.objects.get(codename="call_jobrecord"))
        self.client.post(
            SCHEDULES, {"action": "run_now", "_selected_action": [made.id]}, follow=True
        )
        assert not JobRecord.objects.exists()


class Sites(Pages):
    def test_a_site_with_schedules_alone_has_an_index(self) -> None:
        assert self.client.get("/schedules/gearmanny/").status_code == 200

    def test_numbers_in_attributes_are_not_localized(self) -> None:
        id = self.record("recorded_write")
        self.store.progress(self.claim(id, "recorded_write"), 1234567, 12345678)
        for language in ("de", "ar", "en"):
            with override_settings(USE_THOUSAND_SEPARATOR=True, LANGUAGE_CODE=language):
                page = self.client.get(f"{LIST}{id}/change/")
                self.assertContains(page, '<progress max="12345678" value="1234567"')
                for address in ("/admin/gearmanny/", LIST, f"{LIST}errors/", SCHEDULES):
                    content = self.client.get(address).content.decode()
                    for attribute in re.findall(
                        r'(?:width|height|x|y|points|data-\w+)="[^"]*"', content
                    ):
                        assert not re.search(r"\d[ \u00a0.,']\d{3}\b", attribute), attribute

    def test_static_files_have_the_names_of_a_manifest(self) -> None:
        manifest = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
        with tempfile.TemporaryDirectory() as root:
            storages = django_settings.STORAGES | {"staticfiles": {"BACKEND": manifest}}
            with override_settings(STORAGES=storages, STATIC_ROOT=root):
                call_command("collectstatic", verbosity=0, interactive=False)
                for address in ("/admin/gearmanny/", LIST, SCHEDULES):
                    content = self.client.get(address).content.decode()
                    assert re.search(r"gearmanny/explorer\.[0-9a-f]{12}\.css", content)

    def test_under_a_prefix(self) -> None:
        id = self.fail("recorded_write")
        with override_settings(FORCE_SCRIPT_NAME="/under"), override_script_prefix("/under/"):
            for address in (
                "/admin/gearmanny/",
                LIST,
                f"{LIST}{id}/change/",
                f"{LIST}functions/",
                f"{LIST}call/recorded_write/",
                f"{LIST}errors/",
            ):
                page = self.client.get(address, SCRIPT_NAME="/under")
                assert page.status_code == 200
                for link in re.findall(
                    r'(?:href|action)="(/(?!static/)[^"]*)"', page.content.decode()
                ):
                    assert link.startswith("/under"), (address, link)
            page = self.client.post(
                f"{LIST}{id}/change/", {"change": "retry"}, SCRIPT_NAME="/under"
            )
            assert page["Location"].startswith("/under/"), page["Location"]

    def test_in_transactions_of_requests(self) -> None:
        for each in connections.all():
            each.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            id = self.fail("recorded_write", unique="k")
            self.record("recorded_write", unique="k")
            page = self.client.post(LIST, {"change": "retry", "id": [id]}, follow=True)
            self.assertContains(page, "another one has its key now")
            with eager([Recorded]):
                page = self.client.post(
                    f"{LIST}call/recorded_write/", {"argument-name": "a", "how": "foreground"}
                )
                self.assertContains(page, "&quot;a&quot;")
            for address in ("/admin/gearmanny/", LIST, f"{LIST}{id}/change/"):
                assert self.client.get(address).status_code == 200
        finally:
            for each in connections.all():
                each.settings_dict["ATOMIC_REQUESTS"] = False


class NoRecords(Pages):
    """The database of the records is away, or has no tables."""

    def test_the_pages_say_so(self) -> None:
        id = self.fail("recorded_write")
        with tempfile.TemporaryDirectory() as folder:
            for name in (f"{folder}/missing/db", f"{folder}/empty"):
                entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
                with self.records_in(entry):
                    for address in (
                        *(LIST, f"{LIST}{id}/change/", f"{LIST}errors/", f"{LIST}functions/"),
                        *(f"{LIST}call/recorded_write/", SCHEDULES, f"{LIST}?before=x"),
                        *(f"{LIST}?q=x", f"{SCHEDULES}{id}/change/"),
                    ):
                        page = self.client.get(address, follow=True)
                        self.assertContains(page, "cannot be read", status_code=503)
                    page = self.client.post(LIST, {"change": "retry", "id": [id]})
                    assert page.status_code == 503
                    page = self.client.get("/admin/gearmanny/")
                    self.assertContains(page, "errornote")
                    assert self.client.get("/admin/").status_code == 200

    @contextlib.contextmanager
    def records_in(self, entry: dict[str, Any]) -> Iterator[None]:
        connections.settings["elsewhere"] = connections.configure_settings(
            {"default": {}, "elsewhere": entry}
        )["elsewhere"]
        records = {"STORE": "database", "DATABASE": "elsewhere"}
        known = type(self).databases
        type(self).databases = {*known, "elsewhere"}
        try:
            with override_settings(
                GEARMANNY=dict(django_settings.GEARMANNY) | {"RECORDS": records}
            ):
                yield
        finally:
            type(self).databases = known
            connections["elsewhere"].close()
            del connections["elsewhere"], connections.settings["elsewhere"]


@contextlib.contextmanager
def silence(workers: bytes, version: bytes = b"OK 1.1.21\n") -> Iterator[str]:
    """A job server that begins its answers, and does not end that about its workers."""
    answers = {b"version": version, b"status": b"f\t1\t0\t1\n.\n", b"workers": workers}
    connections: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(listener.accept()[0])
                connections[-1].sendall(answers.get(connections[-1].recv(1000).strip(), version))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for each in connections:
        each.close()


class NowPages(Pages):
    def look(self, *hosts: str) -> Any:
        with override_settings(GEARMANNY=dict(django_settings.GEARMANNY) | {"HOSTS": list(hosts)}):
            return self.client.get("/admin/gearmanny/")

    def test_a_server_that_hangs_in_the_middle_of_its_answer(self) -> None:
        with silence(b"5 127.0.0.1 - : f") as host:
            page = self.look(host, "127.0.0.1:1")
        self.assertContains(page, "1.1.21")
        self.assertContains(page, "down")

    def test_a_server_that_is_something_else(self) -> None:
        with silence(b"", b"HTTP/1.1 400 <b>Bad</b> Request\r\n\r\n<html>") as host:
            page = self.look(host)
        self.assertContains(page, "down")
        self.assertNotContains(page, "<b>Bad")

    def test_hundreds_of_functions_and_processes_with_odd_names(self) -> None:
        for number in range(200):
            self.record(f"many_{number}")
        functions = {f"many_{number}": {"description": "x" * 100} for number in range(20)}
        WorkerProcess.objects.bulk_create(
            WorkerProcess(
                **self.process._asdict()
                | {
                    "id": f"018f0000-0000-7000-8000-{number:012x}",
                    "pool": "\u202e<b>pool",
                    "functions": json.dumps(functions),
                    "client_id": f"<i>{number}",
                    "liveness": "lease",
                    "beat": now(),
                }
            )
            for number in range(500)
        )
        page = self.look("127.0.0.1:1")
        self.assertContains(page, "many_199")
        self.assertContains(page, "&lt;i&gt;499</bdi>")
        self.assertContains(page, "<bdi>\u202e&lt;b&gt;pool</bdi>")
