"""The Django project of docs/durable.md, which has jobs in a row and side by side."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_documents import BLOCKS, FILE
from tests.support.servers import PATIENCE, Server, end, until, workers_of


class Project:
    """The project in a folder, whose workers run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manage(self, *arguments: str) -> str:
        """Returns what a management command prints."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=True,
        ).stdout

    def run(self, code: str) -> Any:
        """Returns what some Python prints, as JSON."""
        imports = (
            "import json\n"
            "from django.db.models import Count\n"
            "from gearmanny.contrib.django import client\n"
            "from gearmanny.contrib.django.models import JobRecord, WorkerProcess\n"
            "from shop.models import *\n"
            "later = client.using(background=True)\n"
        )
        return json.loads(self.manage("shell", "-v0", "-c", imports + code))


@pytest.fixture(params=["postgresql", "sqlite"])
def project(
    request: pytest.FixtureRequest,
    gearman_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Project]:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "mysite.settings")
    for command in (["startproject", "mysite", "."], ["startapp", "shop"]):
        subprocess.run([sys.executable, "-m", "django", *command], cwd=tmp_path, check=True)
    more = {"HOSTS": [gearman_server.host], "RECORDS": {"STORE": "database"}}
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write(
            f'INSTALLED_APPS += ["gearmanny.contrib.django", "shop"]\nGEARMANNY = {more}\n'
        )
        if request.param == "postgresql":
            entry = request.getfixturevalue("postgres_database")
            settings.write(f"DATABASES = {{'default': {entry}}}\n")
        else:
            settings.write("DATABASES['default']['OPTIONS'] = {'timeout': 30}\n")
    for code in BLOCKS["durable.md"]:
        if (file := FILE.match(code)) and file[1].startswith("shop/"):
            (tmp_path / file[1]).write_text(code)
    made = Project(tmp_path)
    made.manage("makemigrations", "shop")
    made.manage("migrate")
    workers = subprocess.Popen(
        [sys.executable, "manage.py", "runworkers", "--threads", "2", "--max-crashes", "1000"],
        cwd=tmp_path,
    )
    try:
        until(lambda: workers_of(gearman_server, "imports_line") == 2, "the workers")
        yield made
    finally:
        end(workers)


def test_a_chain_and_a_group_go_through(project: Project) -> None:
    ids = project.run(
        "order = Order.objects.create()\n"
        "begin = later.using(unique='import 17').imports_begin\n"
        "works = [begin(id=17, lines=['250', '199']) for _ in range(2)]\n"
        "later.parcel_pack(order=order.pk)\n"
        "later.imports_begin(id=18, lines=[])\n"
        "print(json.dumps([work.id for work in works]))"
    )
    assert ids[0] == ids[1]
    found = (
        "print(json.dumps([Order.objects.get().state,"
        " dict(Import.objects.values_list('pk', 'total'))]))"
    )
    until(lambda: project.run(found) == ["shipped", {"17": 449, "18": None}], "both through")
    ended = "print(JobRecord.objects.filter(function='imports_end', state='succeeded').count())"
    until(lambda: project.run(ended) == 2, "both imports at their end")


def test_a_line_that_fails_keeps_the_others_waiting_until_it_is_retried(project: Project) -> None:
    rename = (
        "from django.db import connection\n"
        "connection.cursor().execute('ALTER TABLE shop_{} RENAME TO shop_{}')\n"
    )
    project.run(
        f"{rename.format('price', 'elsewhere')}"
        "print(json.dumps(later.imports_begin(id=17, lines=['250', '199']).id))"
    )
    states = "print(json.dumps(list(JobRecord.objects.filter(function='imports_line')"
    states += ".values_list('state', flat=True))))"
    until(lambda: project.run(states) == ["failed", "failed"], "both lines failing")
    assert project.run("print(Import.objects.get().left)") == 2
    project.run(f"{rename.format('elsewhere', 'price')}print(0)")
    retried = project.manage("gearmanny", "jobs", "retry", "--function", "imports_line")
    assert retried == "2 jobs queued again\n"
    total = "print(json.dumps(Import.objects.get().total))"
    until(lambda: project.run(total) == 449, "the end of the import")


def test_nothing_is_lost_or_runs_twice_when_processes_are_killed(project: Project) -> None:
    lines = [str(n) for n in range(60)]
    project.run(f"print(json.dumps(later.imports_begin(id=17, lines={lines}).id))")
    pids = "print(json.dumps(list(WorkerProcess.objects.values_list('pid', flat=True))))"
    look = "print(json.dumps([Import.objects.first() and Import.objects.get().total,"
    look += " Price.objects.count()]))"
    chance, killed = random.Random(17), 0
    while (seen := project.run(look))[0] is None or killed < 3:
        for pid in chance.sample(found := project.run(pids), min(len(found), 1)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    assert seen == [sum(map(int, lines)), 60]
    counted = "print(json.dumps(dict(JobRecord.objects.values_list('function')"
    counted += ".annotate(Count('id')))))"
    assert project.run(counted) == {"imports_begin": 1, "imports_line": 60, "imports_end": 1}
