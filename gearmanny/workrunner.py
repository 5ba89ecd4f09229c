"""Runs workers in processes.

The parent forks, watches and replaces processes (`running/supervisor.py`); it takes no jobs and
keeps no connection. Children are forked rather than spawned, so that worker classes need not be
importable by name, and a Django that is set up is shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Unpack

from gearmanny.dispatching.options import Keep
from gearmanny.errors import InvalidTask
from gearmanny.net.hosts import parse_hosts
from gearmanny.net.tls import TLS, TLSOption
from gearmanny.payload.checks import SWITCH
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.records.contract import Store
from gearmanny.records.ids import new_id
from gearmanny.running.backlog import Backlog
from gearmanny.running.childprocess import check_memory
from gearmanny.running.companions import Companion
from gearmanny.running.dispatchprocess import dispatching
from gearmanny.running.factory import check_kinds
from gearmanny.running.inherited import name_threads
from gearmanny.running.memory import shared_memory
from gearmanny.running.options import RunnerOptions
from gearmanny.running.pools import Pools, check_pools
from gearmanny.running.reaching import reach_a_job_server
from gearmanny.running.signals import handled_signals
from gearmanny.running.slots import Slot, slots_of
from gearmanny.running.supervisor import Supervisor
from gearmanny.tasks.finding import find_tasks, functions_of
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.worker import BaseWorker, JsonWorker, set_verbosity
from gearmanny.working.atomic import check_transaction
from gearmanny.working.hooks import Hook, SyncToAsync, check_hooks
from gearmanny.working.limited import check_limits
from gearmanny.working.options import Recording, WorkerOptions

__all__ = ["WorkRunner"]


class WorkRunner:
    """Runs worker classes in processes, and replaces processes that end.

    Args:
        workers: worker classes. Each process makes its own objects of them.
        hosts: job servers, `"name:port"`, `"[::1]:port"` or `"unix:/path"`. Default:
            `localhost:4730`.
        verbosity: 1 logs every job, 2 its arguments too, on the logger `gearmanny`; 0 leaves the
            level of that logger alone.
        hooks: contexts around every job of every worker, outside of its own hooks.
        sync_to_async: how synchronous hooks are called around `async def` tasks, such as
            `asgiref.sync.sync_to_async`. None: as each worker class says.
        send_tracebacks: whether callers get the traceback of a task that failed. None: as each
            worker class says.
        prefetch: how many jobs a process asks for or holds at a time. None: as the worker classes
            say, of which the least counts if they share a process.
        concurrency: how many `async def` tasks a process runs at a time. None: as the worker
            classes say, of which the most counts if they share a process.
        max_packet: bytes of the longest packet, both ways. A longer job or result fails.
        tls: how the job servers are secured: True for the authorities that the system trusts, a
            dict with the paths of PEM files `"ca"`, `"cert"` and `"key"`, each optional, or an
            `ssl.SSLContext`. None, the default, for plain connections.
        default_work_class: the `work_class` of workers that chose none.
        grace: seconds in which a process may finish its current jobs when it has to stop. After
            that it is killed, and gearmand gives the jobs to other workers. None: as long as it
            takes.
        max_jobs: the number of jobs after which a process is recycled: it ends, between two jobs,
            once a fresh one is ready to serve. None: never.
        max_memory: MiB of resident memory with which a process is recycled after a job. None:
            never. Not enforced, with a warning, on systems without `/proc/self/statm`.
        recycle_after_timeout: whether a process that interrupted a plain task, at its time limit or
            because its job was cancelled, is recycled, likewise: the task may have left a lock
            held, or an object half changed.
        max_crashes: with `keepAlive`, how many crashes of a process and its replacements within
            `crash_window` make the runner give up. None: it never does. A process that was running
            a job counts for `max_deaths` instead.
        crash_window: seconds, see `max_crashes`.
        max_deaths: how many processes a job may kill. After that, it is failed instead of run, and
            its caller is told how those processes ended. None: any number.
        stall_timeout: seconds after which a process that shows no sign of life is named in the log,
            with the job that it runs: it was stopped, or C code holds the GIL.
            None: never.
        health_file: path of a file that says every second whether the processes are healthy, for
            `gearmanny health`; one for each runner. None: none is written.
        records: the store of background jobs that have a record, such as
            `SQLStore("sqlite:///jobs.db")`; None for workers that run none of them.
        transaction: returns the transaction in which an atomic task runs: a context manager that
            yields the connection of the driver, commits, and rolls back after an error.
        pools: workers with processes of their own, by the name of the pool: `{"reports":
            {"workers": ["reports"], "threads": 2, "max_memory": 900}}`. `workers` are the names of
            workers; those that no pool names are in `"default"`. `threads`, `prefetch`,
            `concurrency`, `grace`, `max_jobs`, `max_memory` and `recycle_after_timeout` are those
            of the runner, unless a pool says otherwise. None: there is one pool.
        dispatch: with `records`, whether a process beside the workers hands over the jobs that are
            due, and those that got lost. If not, run `gearmanny dispatch` somewhere.
        keep: seconds for which that process keeps the records of jobs that have ended. None: for
            ever. A dict may say it for each state: `{"succeeded": 86400, "failed": None}`; the
            states are `"succeeded"`, `"failed"` and `"cancelled"`, and the others have the default.
        listener: an object that is notified of every job, in the process that runs it: see
            `gearmanny.working.jobevents.JobListener`. None: nobody is.
        max_result: bytes of the largest result in a record: a job with a larger one fails, and is
            not tried again. None: any size.
        forget_arguments: whether the record of a job that has succeeded keeps no arguments.
        mask: names whose values are masked where arguments are logged. A name is one of them if it
            contains one, in any case: `"api_key"` is found in `"X-Api-Key"`.
        connect_timeout: seconds from the start within which a job server has to answer. None:
            job servers are waited for, however long it takes.

    Raises:
        InvalidTask: there are no workers, one cannot be exported, or two export the same function.
        InvalidOption: a host, a hook, a number, `tls`, `records` or a pool is invalid, a task is
            atomic and there is no `transaction`, it has limits and there are no `records`, or
            this process already takes more memory than `max_memory` allows.
    """

    _supervisor: Supervisor | None = None
    _stopped = False
    jobs_failed = False
    """Whether a job failed in the last `start(once=True)`: when it was tried for the last time."""
    _companions: tuple[Companion, ...] = ()

    def __init__(
        self,
        workers: Sequence[type[BaseWorker]],
        hosts: Sequence[str] | None = None,
        verbosity: int = 0,
        *,
        hooks: Sequence[Hook] = (),
        sync_to_async: SyncToAsync | None = None,
        send_tracebacks: bool | None = None,
        prefetch: int | None = None,
        concurrency: int | None = None,
        max_packet: int = MAX_PACKET,
        tls: TLSOption = None,
        default_work_class: type[GearmanWorker] = JsonWorker,
        grace: float | None = RunnerOptions.grace,
        max_jobs: int | None = RunnerOptions.max_jobs,
        max_memory: int | None = RunnerOptions.max_memory,
        recycle_after_timeout: bool = RunnerOptions.recycle_after_timeout,
        max_crashes: int | None = RunnerOptions.max_crashes,
        crash_window: float = RunnerOptions.crash_window,
        max_deaths: int | None = RunnerOptions.max_deaths,
        stall_timeout: float | None = RunnerOptions.stall_timeout,
        health_file: str | PurePath | None = RunnerOptions.health_file,
        connect_timeout: float | None = RunnerOptions.connect_timeout,
        records: Store | None = None,
        dispatch: bool = RunnerOptions.dispatch,
        keep: Keep = RunnerOptions.keep,
        pools: Pools | None = None,
        **recording: Unpack[Recording],
    ) -> None:
        self._workers, self._pools = _checked(workers, records, recording), check_pools(pools)
        self._options = RunnerOptions(
            worker=WorkerOptions(
                hosts=() if hosts is None else parse_hosts(hosts),
                verbosity=verbosity,
                hooks=check_hooks(hooks),
                sync_to_async=sync_to_async,
                send_tracebacks=send_tracebacks,
                default_work_class=default_work_class,
                prefetch=prefetch,
                concurrency=concurrency,
                max_packet=max_packet,
                tls=TLS.of(tls),
                records=records,
                **recording,
            ),
            grace=grace,
            max_jobs=max_jobs,
            max_memory=max_memory,
            recycle_after_timeout=recycle_after_timeout,
            max_crashes=max_crashes,
            crash_window=crash_window,
            max_deaths=max_deaths,
            stall_timeout=stall_timeout,
            health_file=health_file,
            connect_timeout=connect_timeout,
            dispatch=dispatch,
            keep=keep,
        )
        self._check_memory()

    def start(self, threads: int = 1, keepAlive: bool = True, *, once: bool = False) -> bool:
        """Runs the workers until SIGTERM or SIGINT, which let current jobs finish, within `grace`.
        A second signal ends them at once, and gearmand gives their jobs to other workers.

        SIGHUP replaces the processes, see `restart()`. If it is sent because the terminal was
        closed, it is like SIGTERM; where it is ignored, as under `nohup`, it stays so.

        SIGUSR1 writes the Python stacks of all processes to the log, unless the program has a
        handler of its own for that signal.

        Signals are handled only if this is called in the main thread; otherwise, call `stop()` and
        `restart()`.

        Args:
            threads: processes for every distinct `work_class`; each runs all of its workers, or
                those of one pool.
            keepAlive: whether a process that ends is replaced. If not, this returns when all
                have ended.
            once: whether to stop when no job is left that is due: at job servers, and in the
                database, if there are records and `dispatch`.

        Returns:
            With `keepAlive`, False if it gave up: a process crashed too often, see `max_crashes`.
            Without, False if a process ended badly: by itself, with an exit code or by a signal.
            With `once`, also if a job failed for good: see `jobs_failed`.

        Raises:
            InvalidOption: `threads` is not a number of processes, or the `health_file` cannot be
                written.
            InvalidTask: the workers cannot be made, in any process: one of them raised
                `InvalidTask` or `InvalidOption` when it was made, or in `setUp()`.
            JobServerUnavailable: no job server answered within `connect_timeout`.
        """
        set_verbosity(self._options.worker.verbosity)
        SWITCH.check("once", once)
        options = self._with_new_id()
        backlog = self._backlog(options) if once else None
        supervisor = Supervisor(
            self._slots(threads, options),
            options,
            keep_alive=keepAlive,
            companions=self._companions,
            backlog=backlog,
        )
        self._supervisor = supervisor
        has_coroutines = any(task.is_async for kind in self._workers for task in find_tasks(kind))
        try:
            with handled_signals(supervisor), shared_memory(coroutines=has_coroutines):
                if self._stopped and not supervisor.stopping:
                    supervisor.stop()
                name_threads()
                reach_a_job_server(supervisor, options)
                with dispatching(options) as supervisor.dispatcher:
                    all_well = supervisor.run()
                self.jobs_failed = backlog is not None and backlog.has_failed()
                return all_well and not self.jobs_failed
        finally:
            self._supervisor = None
            self._stopped = False
            supervisor.close()

    def _with_new_id(self) -> RunnerOptions:
        worker = self._options.worker
        if worker.records is None:
            return self._options
        worker = replace(worker, runner=new_id(), max_deaths=self._options.max_deaths)
        return replace(self._options, worker=worker)

    def stop(self) -> None:
        """Lets `start()` return once the current jobs are done; a second call ends them at once.

        For other threads. Called before `start()`, it lets that return immediately.
        """
        self._stopped = True
        if self._supervisor is not None:
            self._supervisor.stop()

    def restart(self) -> None:
        """Replaces the processes, one after another: each ends once a fresh one is ready to serve.
        For other threads.

        Fresh processes are copies of this process, too: their `setUp()` is called again, but their
        code is what was imported before `start()`. New code needs a new runner.
        """
        if self._supervisor is not None:
            self._supervisor.restart()

    def look_after(self, companion: Companion) -> None:
        """Replaces a process that is not a worker, too, when it ends during `start()`.

        Args:
            companion: the process.
        """
        self._companions = (*self._companions, companion)

    def slots(self, threads: int) -> list[Slot]:
        """Returns what `start(threads)` runs, one process each.

        Args:
            threads: processes for every distinct `work_class`, in pools that do not say how many.

        Raises:
            InvalidOption: `threads` is not a number of processes.
        """
        return self._slots(threads, self._options)

    def _backlog(self, options: RunnerOptions) -> Backlog:
        return Backlog([name for kind in self._workers for name in functions_of(kind)], options)

    def _check_memory(self) -> None:
        for limit in {slot.options.max_memory for slot in self.slots(1)}:
            check_memory(limit)

    def _slots(self, threads: int, options: RunnerOptions) -> list[Slot]:
        return slots_of(self._workers, self._pools, options, threads)


def _checked(
    workers: object,
    records: Store | None,
    recording: Recording,
) -> Sequence[type[BaseWorker]]:
    workers = check_kinds(workers, "WorkRunner")
    if not workers:
        raise InvalidTask("There are no workers to run. Give at least one worker class.")
    owners: dict[str, type[BaseWorker]] = {}
    for worker in workers:
        check_hooks(worker.hooks)
        check_transaction(find_tasks(worker), recording.get("transaction"))
        check_limits(find_tasks(worker), records)
        for function in functions_of(worker):
            if function in owners:
                raise InvalidTask(
                    f"{function}() is exported by {_path(owners[function])} and by "
                    f"{_path(worker)}. Give one of them another name."
                )
            owners[function] = worker
    return workers


def _path(worker: type) -> str:
    return f"{worker.__module__}.{worker.__qualname__}"
