"""Workers: a class whose `task_*` methods any process can call by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Unpack

from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.logs import ROOT, show_log
from gearmanny.net.forks import ending_forks, stopped_by_sigterm
from gearmanny.net.hosts import HOSTS, Host, parse_hosts
from gearmanny.net.tls import TLS, TLSOption
from gearmanny.payload.checks import FLAG
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.records.contract import Store
from gearmanny.tasks.finding import find_tasks, find_tasks_of, help_function, takes_payload
from gearmanny.tasks.interface import Interface
from gearmanny.tasks.options import task
from gearmanny.tasks.spec import TaskSpec, help_table
from gearmanny.vocabulary.encoders import JSONDataEncoder, RawDataEncoder
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker, Job, hosts_of, tls_of
from gearmanny.working.atomic import AtomicRunner
from gearmanny.working.exported import Callback, Exported, Loop, Owner, owners
from gearmanny.working.hooks import Hook, SyncToAsync, check_hooks
from gearmanny.working.loop import loop_of
from gearmanny.working.observer import Observer
from gearmanny.working.options import Privacy, Transaction, WorkerOptions, check_work_class
from gearmanny.working.reports import Reports
from gearmanny.working.runners import (
    AttemptRunner,
    CallbackRunner,
    TaskRunner,
    interruptible,
    waiting_for_result,
)

__all__ = ["BaseWorker", "GearmanWorker", "Hook", "Job", "JsonWorker", "RawWorker", "task"]


def set_verbosity(verbosity: int) -> None:
    """Sets the level of the logger `gearmanny`: 1 logs every job, 2 its arguments too; to stderr,
    where nobody configured logging.

    0 leaves the level alone: it may have been set with care elsewhere.
    """
    if verbosity:
        logging.getLogger(ROOT).setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
        show_log()


def _checked(gearman_worker: object, kind: type[BaseWorker]) -> GearmanWorker | None:
    for flag in ("send_tracebacks", "send_exceptions"):
        FLAG.check(f"{kind.__name__}.{flag}", getattr(kind, flag))
    check_work_class(f"{kind.__name__}.work_class", kind.work_class)
    if gearman_worker is None or isinstance(gearman_worker, GearmanWorker):
        return gearman_worker
    raise InvalidOption(
        "gearman_worker must be an object of a work_class, such as JsonWorker(), not "
        f"{gearman_worker!r}."
    )


class JsonWorker(GearmanWorker):
    """The default `work_class`: a gearman3 worker that speaks JSON and runs on our engine."""

    data_encoder = JSONDataEncoder
    work_loop: Loop | None = None
    """The loop that `work()` runs."""

    def work(self, poll_timeout: float | None = None) -> None:
        """Takes jobs for ever from the hosts given to the constructor.

        Args:
            poll_timeout: taken for gearman3's sake; our engine needs none.
        """
        hosts = parse_hosts(hosts_of(self) or HOSTS)
        options = WorkerOptions(hosts=hosts, tls=TLS.of(tls_of(self)))
        self.work_loop = loop = loop_of(self, options)
        try:
            loop.run()
        finally:
            self.work_loop = None

    def wait_until_updates_sent(
        self, multiple_gearman_jobs: Sequence[GearmanJob], poll_timeout: float | None = None
    ) -> None:
        """Does nothing: our engine has sent an update before the call returns."""


class RawWorker(JsonWorker):
    """A `work_class` without JSON: a task is given the bytes of a payload, as its one argument, and
    returns bytes, or yields those of its result. Only `<name>_help` and failures are JSON."""

    data_encoder = RawDataEncoder


class BaseWorker(Reports, Interface):
    """A worker. Subclass it, name it, and give it `task_*` methods, or others under `@task`.

    Class attributes:
        name: every task is exported as `<name>_<task>`. Required.
        work_class: the `gearman.GearmanWorker` subclass whose `data_encoder` makes the payloads.
        send_tracebacks: whether callers get the traceback of a task that failed.
        send_exceptions: whether a failure travels as WORK_EXCEPTION instead of WORK_WARNING and
            WORK_FAIL. That hangs libgearman 1.1.20 clients that did not ask for exceptions.
        hooks: functions of a job that return the context in which its task runs, the first one
            outermost; around every attempt at one that is tried again. They take none of the time
            of a task. See `gearmanny.hooks`.
        sync_to_async: how synchronous hooks are called around an `async def` task: given a
            function, returns one to be awaited, as `asgiref.sync.sync_to_async` does, which
            `runworkers` sets. None: in the thread of the event loop, which they must not block.
        prefetch: how many jobs are asked for or held at a time; one of them runs, the others wait
            for it, also when another worker is free. More than 1 spares short jobs a round trip
            to the job server, and makes them wait behind long ones.
        concurrency: how many jobs of `async def` tasks run at a time, in one event loop for each
            process; plain tasks still run one at a time, in a thread of their own. As many jobs
            are asked for, whatever they are for.
        timeout: seconds that a task may take, None for ever; `@task(timeout=…)` says otherwise for
            one of them. Then `TaskTimeLimitExceeded` is raised inside it: in the main thread of
            the process also out of a blocking call, in another thread after that has returned.
        timeout_grace: seconds that such a task may go on nevertheless, None for ever. Then its
            caller gets the failure, and the process ends with all that runs in it.
        observer: notified when the worker serves, and after every job.
    """

    work_class: ClassVar[type[GearmanWorker]] = JsonWorker
    send_tracebacks: bool = False
    send_exceptions: bool = False
    hooks: Sequence[Hook] = ()
    sync_to_async: SyncToAsync | None = None
    prefetch: int = 1
    concurrency: int = 1
    timeout: ClassVar[float | None] = None
    timeout_grace: ClassVar[float | None] = 10.0
    observer: Observer | None = None
    work_loop: Loop | None = None
    gearman_worker: GearmanWorker
    hosts: list[Host]
    worker_options: WorkerOptions
    """The options of the loop of this worker; `running/factory.py` replaces them."""

    def __init__(
        self,
        hosts: Sequence[str] | None = None,
        verbosity: int = 0,
        gearman_worker: GearmanWorker | None = None,
        *,
        hooks: Sequence[Hook] = (),
        prefetch: int | None = None,
        concurrency: int | None = None,
        max_packet: int = MAX_PACKET,
        tls: TLSOption = None,
        records: Store | None = None,
        transaction: Transaction | None = None,
        **privacy: Unpack[Privacy],
    ) -> None:
        """
        Args:
            hosts: job servers, `"name:port"`, `"[::1]:port"` or `"unix:/path"`. Default: those of
                `gearman_worker`, or `localhost:4730`.
            verbosity: 1 logs every job, 2 its arguments too, on the logger `gearmanny`;
                0 leaves the level of that logger alone.
            gearman_worker: shared with other workers, whose tasks then run in the same loop;
                `start()` of any of them runs all, with the options of that one. Default: a new
                `work_class`.
            hooks: contexts around every job, outside of those of the class.
            prefetch: overrides that of the class.
            concurrency: overrides that of the class.
            max_packet: bytes of the longest packet, both ways. A longer job or result fails.
            tls: how the job servers are secured, as `SimpleClient` takes it. Default: as
                `gearman_worker` was told, or plain connections.
            records, transaction, privacy: those of `WorkRunner`; the latter are `max_result`,
                `forget_arguments`, `mask` and `listener`.

        Raises:
            InvalidTask: the class has no usable name, a task cannot be called with keywords,
                or a function is exported by another worker of the same `gearman_worker`.
            InvalidOption: an argument, or an attribute of the class, has a value that is invalid.
        """
        self.gearman_worker = _checked(gearman_worker, type(self)) or self.work_class()
        tasks = find_tasks(type(self), self.gearman_worker)
        set_verbosity(verbosity)
        self.hosts = parse_hosts(
            (hosts_of(self.gearman_worker) or HOSTS) if hosts is None else hosts
        )
        self.hooks = (*check_hooks(hooks), *check_hooks(self.hooks))
        self.prefetch = self.prefetch if prefetch is None else prefetch
        self.concurrency = self.concurrency if concurrency is None else concurrency
        self.worker_options = WorkerOptions(
            hosts=self.hosts,
            max_packet=max_packet,
            tls=TLS.of(tls_of(self.gearman_worker) if tls is None else tls),
            records=records,
            transaction=transaction,
            **privacy,
        )
        self.worker_options.settled([self])  # reports now what the loop could not take
        self._stopped = False
        self._export_tasks(tasks)
        self.setUp()
        self._export_own()

    def _export_tasks(self, tasks: list[TaskSpec]) -> None:
        self._assigned: dict[str, Any] = {}
        self._tasks = {spec.function: spec for spec in tasks}
        for spec in tasks:
            self._export(spec.function, self._runner_of(spec)(self, spec))
        self._export(help_function(type(self)), CallbackRunner(self, lambda *_: self._help))
        self._tell_help()

    def _export_own(self) -> None:
        """Exports the tasks that were added to this object, or replaced in it, since the last time:
        by `setUp`, or by the `__init__` of a class when that of this class has returned."""
        assigned, self._assigned = self._assigned, vars(self).copy()
        own = [
            spec
            for spec in find_tasks_of(self, self.gearman_worker)
            if assigned.get(spec.method) is not self._assigned[spec.method]
        ]
        for spec in own:
            runner = self._runner_of(spec)(self, spec)
            if spec.function in self._tasks:
                self.gearman_worker.register_task(spec.function, runner)
            else:
                self._export(spec.function, runner)
            self._tasks[spec.function] = spec
        if own:
            self._tell_help()

    def _tell_help(self) -> None:
        tasks = sorted(self._tasks.values(), key=lambda spec: spec.function)
        self._help: Any = help_table(tasks)
        self._help_table: dict[str, Any] = self._help
        if takes_payload(self.gearman_worker):
            self._help = JSONDataEncoder.encode(self._help)

    @staticmethod
    def _runner_of(spec: TaskSpec) -> Callable[[Owner, TaskSpec], Exported]:
        if spec.is_async:
            from gearmanny.working.coroutines import CoroutineRunner  # noqa: PLC0415  imports asyncio

            return CoroutineRunner
        if spec.options.atomic:
            return AtomicRunner
        return AttemptRunner if spec.options.retries else TaskRunner

    def setUp(self) -> None:
        """Called once the tasks are registered, in the process that runs them. Override it to
        open what they need, or to register more. A function that is assigned to
        `self.task_<name>`, here or in `__init__`, is a task, too: it is given no `self`."""

    def register_task(self, name: str, callback: Callback) -> None:
        """Exports a function that is no method.

        Args:
            name: name of the Gearman function, as it is: without the name of the worker.
            callback: called with the `GearmanWorker` and the `GearmanJob`, whose `data` is
                decoded; what it returns is the result, or is awaited for the result.

        Raises:
            InvalidTask: the function is exported already, or cannot have that name.
        """
        self._export(
            name,
            CallbackRunner(self, interruptible(self, waiting_for_result(ending_forks(callback)))),
        )

    def start(self) -> None:
        """Takes jobs until `stop()` is called. A job server that is away is waited for.

        SIGTERM lets it return once the current job is answered, if this is the main thread and the
        program has no handler of its own.

        `KeyboardInterrupt`, and the `SystemExit` of a signal handler, pass through, also out of a
        task; the job that runs goes back to its queue. `SystemExit` that a task raises itself is
        the failure of its job.

        Raises:
            InvalidOption: a task is atomic, and there is no `transaction`.
        """
        for owner in {self, *owners(self.gearman_worker)}:
            if isinstance(owner, BaseWorker):
                owner._export_own()
        options = self.worker_options.settled([self])
        self.work_loop = loop = loop_of(self.gearman_worker, options, self.observer)
        try:
            with stopped_by_sigterm(loop.stop):
                if self._stopped:
                    loop.stop()
                loop.run()
        finally:
            self.work_loop = None
            self._stopped = False

    def stop(self) -> None:
        """Lets `start()` return once the current job is answered, also that of another worker
        which shares the `gearman_worker`. For signal handlers and threads; called before
        `start()`, it lets that return at once."""
        self._stopped = True
        loops = {owner.work_loop for owner in (self, *owners(self.gearman_worker))}
        if isinstance(self.gearman_worker, JsonWorker):
            loops.add(self.gearman_worker.work_loop)
        for loop in loops:
            if loop is not None:
                loop.stop()
                self._stopped = False

    def __getstate__(self) -> object:
        # As multiprocessing asks for, where it is given a method of a worker.
        name = type(self).__name__
        raise TypeError(
            f"A {name} cannot be sent to another process, because its connections belong to this "
            f"one. Give that process a static method of {name}, or a function of a module, and let "
            "that return what it finds."
        )

    def _export(self, function: str, callback: Exported) -> None:
        known = self.gearman_worker.worker_abilities.get(function)
        if known is not None:
            owner = type(known.worker).__name__ if isinstance(known, Exported) else known
            raise InvalidTask(
                f"{function}() of {type(self).__name__} is exported by {owner} already. "
                "Give one of the workers another name."
            )
        self.gearman_worker.register_task(function, callback)
