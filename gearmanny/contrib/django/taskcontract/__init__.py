"""Tests for backends of Django's Tasks that have workers and keep results.

A test case of Django's, mixed with `TaskBackendContract`, runs them for a backend::

    @override_settings(TASKS={"default": {"BACKEND": "shop.backend.Backend", "QUEUES": […]}})
    class TestBackend(TaskBackendContract, SimpleTestCase):
        databases = {"default"}

        @classmethod
        @contextlib.contextmanager
        def run_worker(cls):
            with subprocess.Popen(["./manage.py", "shop_worker"]) as worker:
                yield
                worker.terminate()
"""

from __future__ import annotations

from gearmanny.contrib.django.taskcontract.effects import Effects
from gearmanny.contrib.django.taskcontract.options import Options
from gearmanny.contrib.django.taskcontract.results import Results

__all__ = ["TaskBackendContract"]


class TaskBackendContract(Results, Options, Effects):
    """The tests. Mix them with a test case that may use the database of the tasks, and whose
    transactions are real: no `TestCase`."""
