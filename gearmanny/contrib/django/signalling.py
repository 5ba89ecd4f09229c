"""The listener that sends the signals of `signals.py`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.dispatch import Signal

from gearmanny.contrib.django.connections import tidy_up
from gearmanny.contrib.django.hooks import begin_beside_others, end_beside_others
from gearmanny.contrib.django.signals import job_failed, job_started, job_succeeded
from gearmanny.payload.failures import message_of, type_name
from gearmanny.vocabulary.gearman_api import GearmanJob

logger = logging.getLogger("gearmanny.worker")


class SignalSender:
    """Sends a signal to its receivers. Without any, it does nothing."""

    def __init__(self, clean_up: Callable[[], object] | None = tidy_up) -> None:
        """
        Args:
            clean_up: called with the database connections of a thread when receivers have used
                them, and no job uses them; None where they are in the transaction of a test.
        """
        self._clean_up = clean_up

    @property
    def listens(self) -> bool:
        """Whether there is any receiver."""
        return bool(job_started.receivers or job_succeeded.receivers or job_failed.receivers)

    def started(self, kind: type, job: GearmanJob) -> None:
        """Sends `job_started`.

        Args:
            kind: the class of the worker.
            job: the job.
        """
        if job_started.receivers:
            self._send(job_started, kind, job=job)

    def succeeded(self, kind: type, job: GearmanJob) -> None:
        """Sends `job_succeeded`.

        Args:
            kind: the class of the worker.
            job: the job.
        """
        if job_succeeded.receivers:
            self._send(job_succeeded, kind, job=job)

    def failed(self, kind: type, job: GearmanJob, error: BaseException, will_retry: bool) -> None:
        """Sends `job_failed`.

        Args:
            kind: the class of the worker.
            job: the job.
            error: the exception.
            will_retry: whether another attempt follows.
        """
        if job_failed.receivers:
            self._send(job_failed, kind, job=job, exception=error, will_retry=will_retry)

    def _send(self, signal: Signal, kind: type, **about: Any) -> None:
        if self._clean_up is None:
            _send(signal, kind, about)
            return
        begin_beside_others()
        try:
            _send(signal, kind, about)
        finally:
            end_beside_others(self._clean_up)


def _send(signal: Signal, kind: type, about: dict[str, Any]) -> None:
    for receiver, response in signal.send_robust(kind, **about):
        if isinstance(response, Exception):
            job = about["job"]
            # Django has logged the traceback, but by default nobody sees its log.
            logger.warning(
                "%s.%s, a receiver of a signal about %s, failed: %s: %s",
                receiver.__module__,
                getattr(receiver, "__qualname__", receiver),
                job.task,
                type_name(response),
                message_of(response),
                extra={"action": "report_failed", "function": job.task, "handle": job.handle},
            )
