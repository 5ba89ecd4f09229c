"""`manage.py runworkers`: runs the workers of all installed apps until SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import time
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from gearmanny import __version__
from gearmanny.contrib.django.discovery import DiscoveryError, FoundWorker, find_workers
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.forking import closed_before_forks
from gearmanny.contrib.django.settings import Settings, get_settings
from gearmanny.errors import InvalidOption, InvalidTask, JobServerUnavailable
from gearmanny.hooks import Hook
from gearmanny.payload.checks import check_seconds
from gearmanny.serving.process import running_where_none_is
from gearmanny.tasks.finding import functions_of
from gearmanny.workrunner import WorkRunner

_NO_JOB_SERVER = 3
_CRASH_LOOP = 4
"""Exit codes, beside those of Django: 1 for a CommandError, 2 for the command line."""

_MISCONFIGURED = (
    DiscoveryError,
    ImproperlyConfigured,
    ImportError,
    InvalidOption,
    InvalidTask,
)
"""What is told in one line. ImportError: an extra that the metrics need."""

_EPILOG = f"""
SIGTERM and Ctrl-C let the current jobs finish, a second one ends at once; SIGHUP replaces the
processes one after another. Exits with 0 when it was stopped, 1 when something is configured
wrongly or, with --no-keepalive, when a process ended badly, 2 when the command line is wrong,
{_NO_JOB_SERVER} when no job server answered within --connect-timeout, {_CRASH_LOOP} when a process
crashed again and again.
"""


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number, at least 1")
    return number


def _port(text: str) -> int:
    number = _positive(text)
    if number >= 2**16:
        raise ArgumentTypeError(f"{text!r} is no port: there are 65535")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
        check_seconds("it", seconds)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no number of seconds, at least 0") from None
    return seconds


_LIMITS = [
    (
        "--grace",
        _seconds,
        "SECONDS",
        "for the current jobs, when told to stop (default: GEARMANNY['GRACE'])",
    ),
    (
        "--max-jobs",
        _positive,
        "N",
        "recycle a process after so many jobs (default: GEARMANNY['MAX_JOBS'])",
    ),
    (
        "--max-memory",
        _positive,
        "MIB",
        "recycle a process that has grown so large (default: GEARMANNY['MAX_MEMORY'])",
    ),
    (
        "--max-crashes",
        _positive,
        "N",
        "give up when a process has crashed so often within GEARMANNY['CRASH_WINDOW'] seconds "
        "(default: GEARMANNY['MAX_CRASHES'])",
    ),
    (
        "--connect-timeout",
        _seconds,
        "SECONDS",
        "give up when no job server has answered in time (default: wait for one)",
    ),
]


class Command(BaseCommand):
    """Parses, prints the banner, and hands over to `WorkRunner`."""

    help = "Runs the Gearman workers found in the workers.py of the installed apps."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = _EPILOG
        parser.add_argument(
            "names",
            nargs="*",
            metavar="name",
            help="run only the workers of these names (default: all)",
        )
        parser.add_argument(
            "--hosts",
            metavar="HOST[,HOST…]",
            help="job servers, name:port or unix:/path (default: GEARMANNY['HOSTS'])",
        )
        parser.add_argument(
            "--embedded",
            action=BooleanOptionalAction,
            help="start a job server for development where none listens "
            "(default: GEARMANNY['EMBEDDED'])",
        )
        parser.add_argument(
            "--threads",
            type=_positive,
            metavar="N",
            help="processes for every work_class (default: GEARMANNY['THREADS'])",
        )
        parser.add_argument(
            "--prefetch",
            type=_positive,
            metavar="N",
            help="jobs that a process holds at a time (default: GEARMANNY['PREFETCH'])",
        )
        parser.add_argument(
            "--concurrency",
            type=_positive,
            metavar="N",
            help="jobs of 'async def' tasks that a process runs at a time "
            "(default: GEARMANNY['CONCURRENCY'])",
        )
        parser.add_argument(
            "--metrics-port",
            type=_port,
            metavar="PORT",
            help="serve metrics for Prometheus on this port of GEARMANNY['METRICS_ADDRESS'] "
            "(default: GEARMANNY['METRICS_PORT'])",
        )
        for option, kind, metavar, text in _LIMITS:
            parser.add_argument(option, type=kind, metavar=metavar, help=text)
        parser.add_argument(
            "--no-keepalive",
            action="store_true",
            help="do not replace a process that ends (default: GEARMANNY['KEEPALIVE'])",
        )
        parser.add_argument(
            "--list", action="store_true", help="print the workers with their functions, and exit"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            settings = get_settings()
            workers = self._select(find_workers(), options["names"])
            hosts = settings.HOSTS
            if options["hosts"]:
                hosts = [host.strip() for host in options["hosts"].split(",")]
            verbosity = min(options["verbosity"], 2)
            metrics_port = options["metrics_port"] or settings.METRICS_PORT
            runner = WorkRunner(
                [found.worker for found in workers],
                hosts,
                verbosity,
                hooks=self._hooks(settings, metrics_port),
                sync_to_async=sync_to_async,
                send_tracebacks=django_settings.DEBUG or None,
                prefetch=options["prefetch"] or settings.PREFETCH,
                concurrency=options["concurrency"] or settings.CONCURRENCY,
                max_packet=settings.MAX_PACKET,
                tls=settings.TLS,
                default_work_class=DjangoJsonWorker,
                grace=settings.GRACE if options["grace"] is None else options["grace"],
                max_jobs=options["max_jobs"] or settings.MAX_JOBS,
                max_memory=options["max_memory"] or settings.MAX_MEMORY,
                max_crashes=options["max_crashes"] or settings.MAX_CRASHES,
                crash_window=settings.CRASH_WINDOW,
                connect_timeout=options["connect_timeout"],
            )
        except _MISCONFIGURED as error:
            raise CommandError(str(error)) from error
        if options["list"]:
            self._print_workers(workers)
            return
        threads = options["threads"] or settings.THREADS
        self._log_to_stderr()
        embedded = settings.EMBEDDED if options["embedded"] is None else options["embedded"]
        with (
            closed_before_forks(),
            self._job_server(hosts, settings, verbosity) if embedded else nullcontext(),
        ):
            try:
                with self._metrics(settings, hosts, metrics_port) as metrics_url:
                    if verbosity:
                        self._print_banner(workers, hosts, threads, verbosity, metrics_url)
                    self._run(runner, threads, settings.KEEPALIVE and not options["no_keepalive"])
            except InvalidOption as error:
                raise CommandError(str(error)) from error

    def _hooks(self, settings: Settings, metrics_port: int | None) -> tuple[Hook, ...]:
        hooks = settings.hooks()
        if metrics_port is None:
            return hooks
        from gearmanny.contrib.prometheus import metrics  # noqa: PLC0415  needs an extra

        return hooks if metrics in hooks else (metrics, *hooks)

    def _metrics(
        self, settings: Settings, hosts: list[str], port: int | None
    ) -> AbstractContextManager[str | None]:
        if port is None:
            return nullcontext()
        from gearmanny.contrib.prometheus import serve_metrics  # noqa: PLC0415  needs an extra

        return serve_metrics(hosts, port=port, address=settings.METRICS_ADDRESS, tls=settings.TLS)

    @contextlib.contextmanager
    def _job_server(self, hosts: list[str], settings: Settings, verbosity: int) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                version = stack.enter_context(running_where_none_is(hosts, tls=settings.TLS))
            except InvalidOption as error:
                raise CommandError(str(error)) from error
            if verbosity:
                self.stdout.write(
                    f"Started an embedded job server at {hosts[0]}. It keeps jobs in memory, until "
                    "runworkers stops: production runs on gearmand."
                    if version is None
                    else f"Job server {version} runs at {hosts[0]} already: none was started."
                )
                self.stdout.flush()
            yield

    def _run(self, runner: WorkRunner, threads: int, keep_alive: bool) -> None:
        try:
            all_well = runner.start(threads, keep_alive)
        except JobServerUnavailable as error:
            raise CommandError(str(error), returncode=_NO_JOB_SERVER) from error
        if all_well:
            return
        if keep_alive:
            raise CommandError(
                "A process crashed again and again; the log says why.", returncode=_CRASH_LOOP
            )
        raise CommandError("A process ended badly; the log says why.")

    def _select(self, workers: list[FoundWorker], names: list[str]) -> list[FoundWorker]:
        known = [getattr(found.worker, "name", None) for found in workers]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise CommandError(
                f"No worker is named {', '.join(map(repr, unknown))}. "
                f"There are: {', '.join(sorted(filter(None, known)))}."
            )
        return [
            found for found, name in zip(workers, known, strict=True) if not names or name in names
        ]

    def _print_workers(self, workers: list[FoundWorker]) -> None:
        for found in workers:
            functions = ", ".join(functions_of(found.worker))
            self.stdout.write(
                f"{self.style.SUCCESS(str(found))} ({found.worker.name}): {functions}"
            )

    def _print_banner(
        self,
        workers: list[FoundWorker],
        hosts: list[str],
        threads: int,
        verbosity: int,
        metrics_url: str | None,
    ) -> None:
        work_classes = {found.worker.work_class for found in workers}
        processes = threads * len(work_classes)
        self.stdout.write(
            f"gearmanny {__version__}, Django settings {django_settings.SETTINGS_MODULE!r}\n"
            f"Job servers: {', '.join(hosts)}\n"
            f"{len(workers)} worker(s) in {processes} process(es), "
            f"logging at {'INFO' if verbosity == 1 else 'DEBUG'}\n"
        )
        self._print_workers(workers)
        if metrics_url is not None:
            self.stdout.write(f"Metrics: {metrics_url}")
        self.stdout.write("Ready; quit with CONTROL-C.")
        self.stdout.flush()

    def _log_to_stderr(self) -> None:
        """Shows our log where the project configured none: Django's default shows nothing of it."""
        logger = logging.getLogger("gearmanny")
        if logger.hasHandlers():
            return
        handler = logging.StreamHandler()
        formatter = logging.Formatter(
            "%(asctime)s [%(process)d] %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"
        )
        # Django sets the time zone of the process to that of the settings: UTC is unmistakable.
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
        logger.addHandler(handler)
