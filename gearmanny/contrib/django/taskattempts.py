"""One attempt at a Django task, in the process that runs it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.utils import timezone

from gearmanny.contrib.django.compat import (
    InvalidTask,
    TaskResultStatus,
    task_backends,
    task_finished,
    task_started,
)
from gearmanny.contrib.django.taskclass import GearmanContext, GearmanResult
from gearmanny.contrib.django.taskoptions import BackendOptions
from gearmanny.contrib.django.taskqueues import OnGearman
from gearmanny.contrib.django.taskresults import Envelope, change, error_of, find_task, read
from gearmanny.contrib.django.taskvalues import normalized
from gearmanny.payload.failures import encode_failure
from gearmanny.records.states import Event
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.attempts import log_retry
from gearmanny.working.claims import Claims
from gearmanny.working.handler import Handler
from gearmanny.working.interrupts import GivenBack, Skipped, TriedLater, stops_worker

logger = logging.getLogger("gearmanny.worker")


class Attempt:
    """One attempt at a task."""

    def __init__(self, handler: Handler, job: GearmanJob, queue: str, envelope: Envelope) -> None:
        """
        Args:
            handler: that of the job.
            job: the job.
            queue: that it came from.
            envelope: its arguments.

        Raises:
            InvalidTask: it names no task that this worker runs.
        """
        self._handler = handler
        self._job = job
        self._envelope = envelope
        claims = handler.context.claims
        self._claims: Claims | None = claims if claims and claims.holds(job) else None
        self._result = self._new_result(queue, envelope)
        self._saved = json.dumps(self._result.metadata)
        self._sender = type(task_backends[envelope.backend])
        self.failure: BaseException | None = None
        """The exception that the job was answered with, if any."""

    def _new_result(self, queue: str, envelope: Envelope) -> GearmanResult:
        alias = envelope.backend
        backend: Any = task_backends[alias] if alias in task_backends.settings else None
        if not isinstance(backend, OnGearman) or queue not in backend.queues:
            raise InvalidTask(
                f"TASKS[{alias!r}] of this worker has no queue {queue!r} on Gearman. Do caller and "
                "worker have the same settings?"
            )
        if self._claims is None and not _may_be_imported(envelope.task):
            raise InvalidTask(
                f"{envelope.task} is in no app of INSTALLED_APPS. Whoever reaches the job server "
                "names the module, so others are imported only for jobs that have records."
            )
        task = find_task(envelope.task)
        if task is None:
            raise InvalidTask(
                f"There is no task {envelope.task}. Do caller and worker have the same code?"
            )
        if self._claims is not None:
            snapshot = self._claims.look(self._job)
            if snapshot is None:  # it was deleted since
                raise GivenBack
            result = envelope.result(task, queue, snapshot)
            read(result, snapshot)
            return result
        result = envelope.result(task, queue)
        now = timezone.now()
        change(
            result,
            status=TaskResultStatus.RUNNING,
            started_at=now,
            last_attempted_at=now,
            worker_ids=[f"{os.uname().nodename}:{os.getpid()}"],
        )
        return result

    def run(self, within_limit: Callable[[Callable[[], Any]], Any]) -> Any:
        """Runs the task, and returns what it returns.

        Args:
            within_limit: calls a function which is interrupted when the job is cancelled. The rest
                is not: half of an end could be written.

        Raises:
            BaseException: the task failed, or the worker is to stop.
        """
        self._tell(task_started)
        try:
            value = within_limit(self._call)
            is_over = self._succeed(value)
        except BaseException as error:
            if stops_worker(error) or isinstance(error, (GivenBack, Skipped)):
                raise
            self._fail(error)
            raise
        if not is_over:
            raise Skipped("somebody else has taken it over")
        change(
            self._result,
            _return_value=value,
            finished_at=timezone.now(),
            status=TaskResultStatus.SUCCESSFUL,
        )
        self._tell(task_finished)
        return value

    def _call(self) -> Any:
        result = self._result
        context: tuple[Any, ...] = ()
        if result.task.takes_context:
            context = (GearmanContext(task_result=result, save=self._save_metadata),)
        return normalized(result.task.call(*context, *result.args, **result.kwargs))

    def _save_metadata(self) -> None:
        if self._claims is None:
            raise NotImplementedError("Metadata are saved in records, and this job has none.")
        metadata = json.dumps(normalized(self._result.metadata), allow_nan=False)
        if metadata != self._saved:
            with self._handler.link.uninterrupted():  # half a statement would break the connection
                self._claims.save_metadata(self._job, metadata)
            self._saved = metadata

    def _succeed(self, value: Any) -> bool:
        """Returns whether the job ended with that. If not, somebody else has it."""
        if self._claims is None:
            return True
        self._save_metadata()
        kept = json.dumps(self._envelope.without_arguments())
        return self._claims.succeed(self._job, self._handler.recorded(value), kept)

    def _fail(self, error: BaseException) -> None:
        """Notes a failure, while its exception is being handled: receivers of the signal look at
        `sys.exc_info()`."""
        self._result.errors.append(error_of(encode_failure(error, with_traceback=True).decode()))
        change(self._result, finished_at=timezone.now(), status=TaskResultStatus.FAILED)
        delay = self._delay_after(error)
        link, answers = self._handler.link, self._handler.context.answers
        if delay is None:
            is_over = answers.fail(link, self._job, error)
        else:
            event = answers.try_later(link, self._job, TriedLater(error, delay))
            is_over = event is not None and event is not Event.RETRIED  # it was cancelled just now
        self.failure = error
        if is_over:
            self._tell(task_finished)

    def _delay_after(self, error: BaseException) -> float | None:
        """Returns the seconds until the next attempt; None if there is none."""
        if self._claims is None:
            return None
        try:
            self._save_metadata()
        except (TypeError, ValueError):
            self._log("the metadata of %s cannot be saved", {"action": "metadata_lost"})
        if self._claims.is_cancelled(self._job):
            return None
        task, failures = self._result.task, self._claims.failures(self._job) + 1
        try:
            options = BackendOptions(task.get_backend().options).of(task.module_path, task)
            delay = options.delay_after(failures, error, self._result)
        except Exception:
            self._log("the backoff of %s failed", {"action": "backoff_failed"})
            return None
        if delay is not None:
            log_retry(self._job, failures, error, delay)
        return delay

    def _log(self, text: str, extra: dict[str, str]) -> None:
        logger.exception(text, self._result.task.module_path, extra=extra)

    def _tell(self, signal: Any) -> None:
        # What is wrong with a receiver is no failure of the task: it is in the log.
        signal.send_robust(self._sender, task_result=self._result)


def _may_be_imported(path: str) -> bool:
    """Returns whether a module may be imported that somebody at the job server has named."""
    module = path.rpartition(".")[0]
    return module in sys.modules or apps.get_containing_app_config(path) is not None
