"""The tests that Django has of its tasks, for our backend.

They are in the source distribution of Django, not in what is installed, and are written for the
backends `Dummy`, which never runs a task, and `Immediate`, which runs it at once. Here, their
settings name a backend of ours in the place of either: one whose workers have not come to the task
yet, and one whose caller waits for them.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from unittest import mock

import django
from asgiref.sync import sync_to_async
from django.test import override_settings

from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.tasks import GearmanBackend
from tests.support.livetasks import LiveTasks


class Waiting(GearmanBackend):
    """Has results as `Dummy` has them: no worker has come to the tasks yet."""

    _ids: ClassVar[list[str]] = []

    @property
    def results(self) -> list[Any]:
        return [self.get_result(id) for id in self._ids]

    def clear(self) -> None:
        LiveTasks.current.hold()
        JobRecord.objects.filter(id__in=self._ids).delete()
        self._ids.clear()

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        LiveTasks.current.hold()
        result = super().enqueue(task, args, kwargs)
        self._ids.append(result.id)
        return result

    @classmethod
    def end_all(cls) -> list[Any]:
        """Lets the workers run all tasks; returns their results."""
        LiveTasks.current.release()
        ours = cls("default", {"QUEUES": []})
        for result in ours.results:
            LiveTasks.current.finish(result)
        results = ours.results  # read again: the settings may name another backend by now
        cls._ids.clear()
        return results


class Ending(GearmanBackend):
    """Has results as `Immediate` has them: its caller waits for the end of the task."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        result = super().enqueue(task, args, kwargs)
        LiveTasks.current.finish(result)
        return result

    async def aenqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        result = await super().aenqueue(task, args, kwargs)
        await sync_to_async(LiveTasks.current.finish)(result)
        return result


_DUMMY = "django.tasks.backends.dummy.DummyBackend"
_IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"
_OURS = {_DUMMY: Waiting, _IMMEDIATE: Ending}


class OurSettings(override_settings):
    """The settings of a test, with our backends in the places of Django's."""

    def __init__(self, **options: Any) -> None:
        if "TASKS" in options:
            options["TASKS"] = {alias: _ours(entry) for alias, entry in options["TASKS"].items()}
        super().__init__(**options)


def _ours(entry: dict[str, Any]) -> dict[str, Any]:
    """Returns an entry for our backend. A test may have taken its own from Django's defaults."""
    ours = _OURS.get(entry["BACKEND"])
    return entry if ours is None else {**entry, "BACKEND": f"{ours.__module__}.{ours.__qualname__}"}


def fetch() -> str:
    """Returns the folder with the package `tasks` of Django's tests.

    They come with pip from where it has its packages, once for each virtual environment.
    """
    cache = Path(sys.prefix, ".cache")
    cache.mkdir(exist_ok=True)
    version = django.get_version()
    folder = cache / f"django-{version}-tests"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes of `pytest -n` do this at the same time
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as temporary:
                _download(version, Path(temporary)).rename(folder)
    return str(folder)


def _download(version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", "Django", "--dest", os.fspath(folder), f"Django=={version}"]
    subprocess.run(command, check=True)
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        root = path.name.removesuffix(".tar.gz")
        tests = [name for name in sdist.getnames() if name.startswith(f"{root}/tests/tasks/")]
        sdist.extractall(folder, [sdist.getmember(name) for name in tests], filter="data")
    return folder / root / "tests"


def load(name: str) -> ModuleType:
    """Returns a module of Django's tests, in which the names of Django's backends mean ours.

    Args:
        name: of the module, in the package `tasks`.
    """
    folder = fetch()
    if folder not in sys.path:
        sys.path.append(folder)
    with (
        mock.patch("django.test.override_settings", OurSettings),
        mock.patch(_DUMMY, Waiting),
        mock.patch(_IMMEDIATE, Ending),
        # After these, which import the backends of Django, whose base is another one.
        mock.patch("django.tasks.backends.base.BaseTaskBackend", GearmanBackend),
    ):
        return importlib.import_module(f"tasks.{name}")
