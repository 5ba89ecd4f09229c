"""`manage.py runworkers`: runs the workers of all installed apps until SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from gearmanny import __version__
from gearmanny.contrib.django.commandline import add_flags, overridden
from gearmanny.contrib.django.discovery import DiscoveryError, find_workers
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.forking import closed_before_forks
from gearmanny.contrib.django.reloading import Watcher, can_watch, is_watched
from gearmanny.contrib.django.sections import NAME
from gearmanny.contrib.django.selection import Selection, select
from gearmanny.contrib.django.settings import Settings, get_settings
from gearmanny.contrib.django.signalling import SignalSender
from gearmanny.contrib.django.store import get_store, task_transaction
from gearmanny.errors import (
    InvalidOption,
    InvalidTask,
    JobServerUnavailable,
    StoreUnavailable,
)
from gearmanny.hooks import Hook
from gearmanny.logs import escape_unprintable, show_log
from gearmanny.running.slots import Slot
from gearmanny.serving.process import ServerProcess, running_where_none_is
from gearmanny.tasks.finding import functions_of
from gearmanny.workrunner import WorkRunner

if TYPE_CHECKING:
    from gearmanny.contrib.django.records import DjangoStore

_NO_JOB_SERVER = 3
_CRASH_LOOP = 4
_JOBS_FAILED = 5
"""Exit codes, beside those of Django: 1 for a CommandError, 2 for the command line."""

_MISCONFIGURED = (
    DiscoveryError,
    ImproperlyConfigured,
    ImportError,
    InvalidOption,
    InvalidTask,
)
"""Errors that are reported in one line. ImportError: an extra that the metrics need."""

_EPILOG = f"""
SIGTERM and Ctrl-C let current jobs finish; a second signal ends them at once. SIGHUP replaces the
processes, one after another. The exit code is 0 after a signal to stop; 1 if something is
misconfigured or, with --no-keepalive, if a process ended badly; 2 if the command line is wrong;
{_NO_JOB_SERVER} if no job server answered within --connect-timeout; {_CRASH_LOOP} if a process
crashed again and again; {_JOBS_FAILED} if a job failed, with --once.
"""


class Command(BaseCommand):
    """Parses the command line, prints a banner, and runs a `WorkRunner`."""

    _is_watched = False
    """Whether a process that watches the code runs this one, and will run another after it."""
    _is_program = False
    """Whether it was not called by code, which does not expect to be started again."""

    help = "Runs the Gearman workers found in the workers.py of the installed apps."

    def add_arguments(self, parser: ArgumentParser) -> None:
        escape_unprintable()
        parser.epilog = _EPILOG
        add_flags(parser)

    def run_from_argv(self, argv: list[str]) -> None:
        """Runs the command that this program was started for."""
        self._is_program = True
        super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Watches the code where that is wanted, and leaves all else to a child process.

        Raises:
            CommandError: the code cannot be watched, or an embedded job server not be started.
        """
        self._is_watched = is_watched()
        if not self._is_watched and self._is_to_watch(options):
            self._watch(options)
            return None
        return super().execute(*args, **options)

    def _is_to_watch(self, options: Mapping[str, Any]) -> bool:
        if options["list"]:
            return False
        if options["once"] and options["reload"]:
            raise CommandError("--once ends when no job is left, and --reload never does.")
        if options["once"]:
            return False
        if options["reload"] is None:
            return django_settings.DEBUG and self._is_program and can_watch()
        if options["reload"] and not can_watch():
            raise CommandError(
                "--reload watches the code from the main thread, and not inside of Django's own "
                "autoreload, which it replaces."
            )
        return bool(options["reload"])

    def _watch(self, options: Mapping[str, Any]) -> None:
        verbosity = min(options["verbosity"], 2)
        try:
            settings = overridden(get_settings(), options)
        except _MISCONFIGURED as error:
            raise CommandError(str(error)) from error
        show_log()
        if verbosity:
            self._tell("Watching for changes of code; --no-reload switches that off.")
        with self._job_server(settings, verbosity) as server:
            code = Watcher(self._tell, (_NO_JOB_SERVER,), server).run()
        if code:
            raise SystemExit(code)

    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def handle(self, *args: Any, **options: Any) -> None:
        verbosity = min(options["verbosity"], 2)
        try:
            settings = overridden(get_settings(), options)
            selection = select(find_workers(), settings.POOLS, options)
            runner = WorkRunner(
                [found.worker for found in selection.workers],
                settings.HOSTS,
                verbosity,
                hooks=self._hooks(settings),
                sync_to_async=sync_to_async,
                send_tracebacks=django_settings.DEBUG or None,
                default_work_class=DjangoJsonWorker,
                records=_checked_store(),
                transaction=task_transaction,
                listener=SignalSender(),
                dispatch=not options["no_dispatch"],
                connect_timeout=options["connect_timeout"],
                pools=selection.pools,
                **settings.for_runner(),
            )
            slots = runner.slots(settings.THREADS)
        except _MISCONFIGURED as error:
            raise CommandError(str(error)) from error
        if options["list"]:
            self._print_workers(selection, slots)
            return
        show_log()
        with closed_before_forks(), self._job_server(settings, verbosity) as server:
            if server is not None:
                runner.look_after(server)
            try:
                with self._metrics(settings, runner) as metrics_url:
                    if verbosity:
                        self._print_banner(selection, slots, verbosity, metrics_url)
                    self._run(runner, settings, once=options["once"])
            except (InvalidOption, InvalidTask) as error:
                raise CommandError(str(error)) from error

    def _hooks(self, settings: Settings) -> tuple[Hook, ...]:
        hooks = settings.hooks()
        if settings.METRICS_PORT is None:
            return hooks
        from gearmanny.contrib.prometheus import metrics  # noqa: PLC0415  needs an extra

        return hooks if metrics in hooks else (metrics, *hooks)

    @contextlib.contextmanager
    def _metrics(self, settings: Settings, runner: WorkRunner) -> Iterator[str | None]:
        if settings.METRICS_PORT is None:
            yield None
            return
        from gearmanny.contrib.prometheus.serving import (  # noqa: PLC0415  needs an extra
            metrics_process,
        )

        with metrics_process(
            settings.HOSTS,
            port=settings.METRICS_PORT,
            address=settings.METRICS_ADDRESS,
            tls=settings.TLS,
            records=get_store(),
        ) as process:
            runner.look_after(process)
            yield process.url

    @contextlib.contextmanager
    def _job_server(self, settings: Settings, verbosity: int) -> Iterator[ServerProcess | None]:
        if not settings.EMBEDDED:
            yield None
            return
        hosts = settings.HOSTS
        with contextlib.ExitStack() as stack:
            try:
                running = stack.enter_context(running_where_none_is(hosts, tls=settings.TLS))
            except InvalidOption as error:
                raise CommandError(str(error)) from error
            server = running if isinstance(running, ServerProcess) else None
            if verbosity and server is not None:
                self._tell(
                    f"Started an embedded job server at {hosts[0]}. It keeps jobs in memory, until "
                    "runworkers stops: production runs on gearmand."
                )
            elif verbosity and not self._is_watched:
                self._tell(f"Job server {running} runs at {hosts[0]} already: none was started.")
            yield server

    def _run(self, runner: WorkRunner, settings: Settings, *, once: bool) -> None:
        try:
            all_well = runner.start(settings.THREADS, settings.KEEPALIVE, once=once)
        except JobServerUnavailable as error:
            raise CommandError(str(error), returncode=_NO_JOB_SERVER) from error
        if all_well:
            return
        if runner.jobs_failed:
            raise CommandError("A job failed; the log says why.", returncode=_JOBS_FAILED)
        if settings.KEEPALIVE:
            raise CommandError(
                "A process crashed again and again; the log says why.", returncode=_CRASH_LOOP
            )
        raise CommandError("A process ended badly; the log says why.")

    def _print_workers(self, selection: Selection, slots: Sequence[Slot]) -> None:
        for pool, workers in selection.by_pool().items():
            if selection.pools:
                self.stdout.write(selection.describe(pool, slots))
            for found in workers:
                self.stdout.write(
                    f"{'  ' if selection.pools else ''}{self.style.SUCCESS(str(found))} "
                    f"({found.worker.name}): {', '.join(functions_of(found.worker))}"
                )

    def _print_banner(
        self,
        selection: Selection,
        slots: Sequence[Slot],
        verbosity: int,
        metrics_url: str | None,
    ) -> None:
        hosts = slots[0].options.worker.hosts
        self.stdout.write(
            f"gearmanny {__version__}, Django settings {django_settings.SETTINGS_MODULE!r}\n"
            f"Job servers: {', '.join(map(str, hosts))}\n"
            f"{len(selection.workers)} worker(s) in {len(slots)} process(es), "
            f"logging at {'INFO' if verbosity == 1 else 'DEBUG'}\n"
        )
        self._print_workers(selection, slots)
        if len(slots) == 1 < len(selection.workers):
            self.stdout.write(
                "All of them share one process, where a long job keeps the others waiting: "
                f"--threads gives them more, and {NAME}['POOLS'] processes of their own."
            )
        if metrics_url is not None:
            self.stdout.write(f"Metrics: {metrics_url}")
        self._tell("Ready; quit with CONTROL-C.")


def _checked_store() -> DjangoStore | None:
    """Returns the store of the project, if it has one. Its tables must be there, if its database
    is; if not, the workers wait for it.

    Raises:
        InvalidOption: the tables are missing, or of another version.
    """
    store = get_store()
    if store is not None:
        with contextlib.suppress(StoreUnavailable), contextlib.closing(store):
            store.id  # noqa: B018 - looks
    return store
