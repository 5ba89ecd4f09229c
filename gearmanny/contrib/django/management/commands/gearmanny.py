"""`manage.py gearmanny`: what there is to see and to do beside running workers, by verbs."""

from __future__ import annotations

import functools
from argparse import ArgumentParser
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from gearmanny.contrib.django.clients import get_cache
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.store import get_store
from gearmanny.errors import InvalidOption, StoreUnavailable
from gearmanny.logs import escape_unprintable, show_log
from gearmanny.payload.counts import number_of
from gearmanny.records.console import Console, add_jobs, run_jobs
from gearmanny.worker import set_verbosity

if TYPE_CHECKING:
    from gearmanny.contrib.django.records import DjangoStore


class Command(BaseCommand):
    """Does what its verb says."""

    help = "Shows and clears the cache; hands over, shows and changes recorded jobs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        escape_unprintable()
        subjects = parser.add_subparsers(required=True, metavar="subject")
        cache = subjects.add_parser("cache", help="the cached answers in MongoDB")
        verbs = cache.add_subparsers(required=True, metavar="verb")
        for verb, show, text in (
            ("info", self._cache_info, "show how many answers there are of each function"),
            ("clear", self._cache_clear, "delete the answers of one function, or all answers"),
        ):
            each = verbs.add_parser(verb, help=text)
            each.add_argument("name", nargs="?", help="the unique_name of a function")
            each.set_defaults(run=functools.partial(self._cache, show))
        dispatch = subjects.add_parser(
            "dispatch", help="hand over recorded jobs, for `runworkers --no-dispatch`"
        )
        dispatch.set_defaults(run=self._dispatch)
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
        options["run"](options)

    def _cache(self, show: Callable[[str | None], None], options: dict[str, Any]) -> None:
        try:
            from gearmanny.helpers.cache_mongodb import Unavailable  # noqa: PLC0415
        except ImportError as error:
            raise CommandError(str(error)) from error
        try:
            show(options["name"])
        except Unavailable as error:
            raise CommandError("MongoDB cannot be used. The log says why.") from error

    def _cache_info(self, name: str | None) -> None:
        for row in get_cache().info(name):
            newest = f"{row['newest']:%Y-%m-%d %H:%M}" if row["newest"] else "unknown"
            self.stdout.write(
                f"{row['_id']}: {row['entries']} answers, {row['bytes']} bytes, newest {newest}"
            )

    def _cache_clear(self, name: str | None) -> None:
        self.stdout.write(f"{number_of(get_cache().clear(name), 'answer')} deleted")

    def _dispatch(self, options: dict[str, Any]) -> None:
        from gearmanny.dispatching.process import dispatch  # noqa: PLC0415  only needed here

        try:
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
        except (ImproperlyConfigured, InvalidOption, StoreUnavailable) as error:
            raise CommandError(str(error)) from error

    def _jobs(self, options: dict[str, Any]) -> None:
        try:
            # On Django's connection, as everything else that a command does.
            console = Console(_store().of_callers, self.stdout.write, get_settings().MASK)
            code = run_jobs(options, console)
        except (ImproperlyConfigured, InvalidOption, StoreUnavailable) as error:
            raise CommandError(str(error)) from error
        if code:
            raise SystemExit(code)


def _store() -> DjangoStore:
    store = get_store()
    if store is None:
        raise CommandError("There are no recorded jobs: GEARMANNY['RECORDS']['STORE'] is None.")
    return store
