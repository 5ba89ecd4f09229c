"""Questions to job servers for the state of a job, over the connections of an asyncio client."""

from __future__ import annotations

from gearmanny.aio.connection import AioConnection, AioSubmission
from gearmanny.aio.connections import AioConnections
from gearmanny.calling.submission import JobState, JobStatus
from gearmanny.errors import JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.vocabulary.gearman_api import DataEncoder


async def status_by_handle(
    connection: AioConnection, handle: bytes, deadline: Deadline
) -> JobStatus:
    """Returns the state of a job that was created on this connection.

    Raises:
        JobServerUnavailable: no answer in time.
        JobServerLost: the connection ended before the answer came.
        JobServerError: the job server refused.
    """
    question = AioSubmission(connection, "", DataEncoder)
    connection.ask_status(question, handle)
    return await _answer(question, deadline)


async def status_by_unique(
    connection: AioConnection, unique: bytes, deadline: Deadline
) -> JobStatus:
    """Returns the state of the job with a unique id. Raises what `status_by_handle` raises."""
    question = AioSubmission(connection, "", DataEncoder)
    connection.ask_status_of_unique(question, unique)
    return await _answer(question, deadline)


async def find_status(connections: AioConnections, unique: bytes, deadline: Deadline) -> JobStatus:
    """Returns the state of the job with a unique id, at the first job server that knows it.

    Raises:
        JobServerUnavailable: none knows it, and some could not be asked.
        JobServerLost, JobServerError: see `status_by_handle`.
    """
    failures: dict[str, str] = {}
    for host in connections.servers.hosts:
        try:
            connection = await connections.connection_to(host)
            status = await status_by_unique(connection, unique, deadline)
        except JobServerUnavailable as error:
            failures |= error.failures
            continue
        if status.state is not JobState.UNKNOWN:
            return status
    if failures:
        raise JobServerUnavailable(failures)
    return JobStatus(JobState.UNKNOWN)


async def _answer(question: AioSubmission, deadline: Deadline) -> JobStatus:
    if not await question.wait(question.is_answered, deadline):
        host = str(question.connection.host)
        raise JobServerUnavailable({host: "no answer in time about a job"})
    status: JobStatus = question.value()
    return status
