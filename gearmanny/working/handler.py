"""The side of a link that gearman3 calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from gearmanny.errors import GearmanException
from gearmanny.payload.encoding import encode
from gearmanny.payload.failures import encode_failure
from gearmanny.records.values import Payload
from gearmanny.vocabulary.gearman_api import DataEncoder, GearmanJob, GearmanWorker, handle_of
from gearmanny.working.context import Context
from gearmanny.working.decisions import recorded
from gearmanny.working.link import Link
from gearmanny.working.progress import fitted


class Handler:
    """The `connection` of gearman3's jobs, and the command handler of that connection.

    `send_job_*` of any `GearmanWorker` look up both, and call the methods here, which have the
    names and the arguments that gearman3 gives them.
    """

    connected = True
    """Whether there is a connection to send over."""

    def __init__(
        self,
        link: Link,
        encoder: type[DataEncoder],
        context: Context,
        name_functions: Callable[[Iterable[str | bytes]], Iterable[bytes]],
    ) -> None:
        """
        Args:
            link: the connection.
            encoder: makes payloads of the values that tasks report and return.
            context: the loop whose jobs come by this link.
            name_functions: makes the names that travel of those that were registered.
        """
        self.link = link
        self._encoder = encoder
        self.context = context
        """The loop, for the jobs that came by this link."""
        self._name_functions = name_functions

    def fileno(self) -> int:
        """Returns the descriptor of the socket."""
        return self.link.descriptor

    def writable(self) -> bool:
        """Returns whether something is left to be sent later, which never is."""
        return False

    def set_abilities(self, abilities: Iterable[str | bytes]) -> None:
        """Offers exactly these functions from now on.

        Args:
            abilities: their names, as they were registered.

        Raises:
            InvalidTask: no function can have such a name.
            JobServerLost: the connection has ended.
        """
        self.link.offer(self._name_functions(abilities))

    def set_client_id(self, client_id: str) -> None:
        """Sends the name of the worker.

        Args:
            client_id: the name.

        Raises:
            JobServerLost: the connection has ended.
        """
        self.link.introduce(client_id)

    def send_job_status(self, current_job: GearmanJob, numerator: int, denominator: int) -> None:
        """Sends the progress of a job.

        Args:
            current_job: the job.
            numerator: how much is done.
            denominator: of how much.

        Raises:
            InvalidOption: the numbers are not whole, or negative.
            JobServerLost: the connection has ended.
            JobServerUnavailable: the job server does not take what is sent.
        """
        done, total = fitted(numerator, denominator)
        self.link.send_status(handle_of(current_job), b"%d" % done, b"%d" % total)
        if self.context.claims is not None:
            self.context.claims.progress(current_job, done, total)

    def send_job_data(self, current_job: GearmanJob, data: Any) -> None:
        """Sends a part of the result of a job.

        Args:
            current_job: the job.
            data: the part, which is encoded.

        Raises:
            EncodingError: it cannot be encoded.
            JobServerLost: the connection has ended.
            JobServerUnavailable: the job server does not take what is sent.
        """
        self.link.send_data(handle_of(current_job), self._encode(data))

    def send_job_warning(self, current_job: GearmanJob, data: Any) -> None:
        """Sends a warning of a job.

        Args:
            current_job: the job.
            data: the warning, which is encoded.

        Raises:
            EncodingError: it cannot be encoded.
            JobServerLost: the connection has ended.
            JobServerUnavailable: the job server does not take what is sent.
        """
        self.link.send_warning(handle_of(current_job), self._encode(data))

    def send_job_complete(self, current_job: GearmanJob, data: Any) -> None:
        """Answers a job, when the result is in its record, if it has one.

        Args:
            current_job: the job.
            data: its result, which is encoded.

        Raises:
            EncodingError: it cannot be encoded.
            GivenBack: it cannot be recorded.
        """
        payload = self._encode(data)
        if self.context.claims is not None:
            self.context.claims.succeed(current_job, self._recorded(payload))
        self.link.complete(handle_of(current_job), payload)

    def send_job_exception(self, current_job: GearmanJob, data: Any) -> None:
        """Answers a job with an exception.

        Args:
            current_job: the job.
            data: the exception, which is encoded.

        Raises:
            EncodingError: it cannot be encoded.
            GivenBack: it cannot be recorded.
        """
        payload = self._encode(data)
        error = sys.exc_info()[1] or _without_reason(current_job)
        self.context.answers.failed(current_job, error)
        if self.context.claims is not None:
            self.context.claims.fail(current_job, encode_failure(error).decode())
        self.context.ledger.failed()
        self.link.raise_(handle_of(current_job), payload)

    def send_job_failure(self, current_job: GearmanJob) -> None:
        """Answers a job that failed.

        gearman3 calls this while it handles the exception of the callback, and has no other way to
        hand it over. So the reason is the exception that is being handled.

        Args:
            current_job: the job.

        Raises:
            GivenBack: it cannot be recorded.
        """
        error = sys.exc_info()[1]
        if error is not None:
            self.context.answers.fail(self.link, current_job, error)
            return
        error = _without_reason(current_job)
        self.context.answers.failed(current_job, error)
        if self.context.claims is not None:
            self.context.claims.fail(current_job, encode_failure(error).decode())
        self.context.ledger.failed()
        self.link.fail(handle_of(current_job))

    def recorded(self, value: Any) -> Payload:
        """Returns a result as it is recorded.

        Args:
            value: the result, which is encoded.

        Raises:
            EncodingError: it cannot be encoded.
        """
        return self._recorded(self._encode(value))

    def _recorded(self, payload: bytes) -> Payload:
        return recorded(payload, is_text=not getattr(self._encoder, "takes_payload", False))

    def _encode(self, value: Any) -> bytes:
        return encode(self._encoder, value, self.link.max_packet)


def _without_reason(job: GearmanJob) -> GearmanException:
    return GearmanException(f"{job.task} failed without a reason")


def handler_of(gearman_worker: GearmanWorker, job: GearmanJob) -> Handler:
    """Returns the handler of a job, as gearman3 finds it.

    Args:
        gearman_worker: the worker that has the job.
        job: the job.

    Raises:
        KeyError: the connection that the job came by is gone.
    """
    handler: Handler = gearman_worker.connection_to_handler_map[job.connection]
    return handler
