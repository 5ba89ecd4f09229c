"""`manage.py gearmanny`: what there is to see and to do beside running workers, by verbs."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from gearmanny.commands import INTERRUPTED, WRONG, call, status
from gearmanny.commands.cache import add_cache, run_cache
from gearmanny.commands.call import add_call, run_call
from gearmanny.commands.status import add_status, run_status
from gearmanny.contrib.django.clients import async_client, get_cache
from gearmanny.contrib.django.discovery import DiscoveryError, find_workers
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.store import get_store
from gearmanny.errors import GearmanException, InvalidOption, InvalidTask
from gearmanny.logs import escape_unprintable, show_log
from gearmanny.records.console import Console, add_jobs, run_jobs
from gearmanny.tasks.finding import functions_of
from gearmanny.worker import set_verbosity

if TYPE_CHECKING:
    from gearmanny.contrib.django.records import DjangoStore


class Command(BaseCommand):
    """Does what its verb says."""

    help = "Shows job servers, calls functions, shows and changes recorded jobs and the cache."

    def add_arguments(self, parser: ArgumentParser) -> None:
        escape_unprintable()
        subjects = parser.add_subparsers(required=True, metavar="subject")
        cache = subjects.add_parser("cache", help="the cached answers in MongoDB")
        add_cache(cache)
        cache.set_defaults(run=self._cache)
        dispatch = subjects.add_parser(
            "dispatch", help="hand over recorded jobs, for `runworkers --no-dispatch`"
        )
        dispatch.set_defaults(run=self._dispatch)
        shown = subjects.add_parser(
            "status", help="show job servers, functions, and processes that run recorded jobs"
        )
        add_status(shown)
        shown.set_defaults(run=self._status)
        called = subjects.add_parser("call", help="call a function, and print what it returns")
        add_call(called)
        called.set_defaults(run=self._call)
        jobs = subjects.add_parser(
            "jobs", help="show recorded jobs, queue them again, cancel and delete them"
        )
        add_jobs(jobs)
        jobs.set_defaults(run=self._jobs)

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs the verb.

        Raises:
            CommandError: it cannot be done.
        """
        try:
            options["run"](options)
        except InvalidOption as error:
            raise CommandError(str(error), returncode=WRONG) from error
        except (ImproperlyConfigured, GearmanException) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    def _cache(self, options: dict[str, Any]) -> None:
        run_cache(options, get_cache, self._write)

    def _dispatch(self, options: dict[str, Any]) -> None:
        from gearmanny.dispatching.process import dispatch  # noqa: PLC0415  only needed here

        settings, store = get_settings(), _store()
        show_log()
        set_verbosity(min(options["verbosity"], 2))
        dispatch(
            store,
            settings.HOSTS,
            tls=settings.TLS,
            keep=settings.RECORDS.keep,
            max_deaths=settings.MAX_DEATHS,
        )

    def _status(self, options: dict[str, Any]) -> None:
        settings, store = get_settings(), get_store()
        console = status.Console(
            settings.HOSTS,
            settings.TLS,
            None if store is None else store.of_callers,
            self._expected(),
            self._write,
            self.stderr.write,
            self.stdout.isatty(),
            color=not options["no_color"],
        )
        _end_with(run_status(options, console))

    def _expected(self) -> list[str]:
        """Returns the functions that the workers of this project should offer."""
        try:
            return [name for found in find_workers() for name in functions_of(found.worker)]
        except (DiscoveryError, InvalidTask) as error:
            self.stderr.write(str(error))
            return []

    def _call(self, options: dict[str, Any]) -> None:
        has_records = get_store() is not None
        console = call.Console(async_client, has_records, self._write, self.stderr.write)
        _end_with(run_call(options, console))

    def _write(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _jobs(self, options: dict[str, Any]) -> None:
        # On Django's connection, as everything else that a command does.
        console = Console(_store().of_callers, self.stdout.write, get_settings().MASK)
        _end_with(run_jobs(options, console))


def _end_with(code: int) -> None:
    if code:
        raise SystemExit(code)


def _store() -> DjangoStore:
    store = get_store()
    if store is None:
        raise CommandError("There are no recorded jobs: GEARMANNY['RECORDS']['STORE'] is None.")
    return store
