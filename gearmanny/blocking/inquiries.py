"""Questions to job servers for the state of a job, over the connections of a client."""

from __future__ import annotations

from gearmanny.admin import JobServer
from gearmanny.blocking.channel import Channel, ChannelSubmission
from gearmanny.blocking.connections import Connections
from gearmanny.calling.silence import silent_too, why_silent
from gearmanny.calling.submission import JobState, JobStatus
from gearmanny.errors import GearmanException, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.vocabulary.gearman_api import DataEncoder


def status_by_handle(channel: Channel, handle: bytes, deadline: Deadline) -> JobStatus:
    """Returns the state of a job that was created on this connection.

    Raises:
        JobServerUnavailable: no answer in time.
        JobServerLost: the connection ended before the answer came.
        JobServerError: the job server refused.
    """
    question = ChannelSubmission(channel, "", DataEncoder)
    channel.ask_status(question, handle)
    return _answer(channel, question, deadline)


def status_by_unique(channel: Channel, unique: bytes, deadline: Deadline) -> JobStatus:
    """Returns the state of the job with a unique id. Raises what `status_by_handle` raises."""
    question = ChannelSubmission(channel, "", DataEncoder)
    channel.ask_status_of_unique(question, unique)
    return _answer(channel, question, deadline)


def find_status(connections: Connections, unique: bytes, deadline: Deadline) -> JobStatus:
    """Returns the state of the job with a unique id, at the first job server that knows it.

    Raises:
        JobServerUnavailable: none knows it, and some could not be asked.
        JobServerLost, JobServerError: see `status_by_handle`.
    """
    failures: dict[str, str] = {}
    for host in connections.servers.hosts:
        try:
            status = status_by_unique(connections.channel_to(host), unique, deadline)
        except JobServerUnavailable as error:
            failures |= error.failures
            continue
        if status.state is not JobState.UNKNOWN:
            return status
    if failures:
        raise JobServerUnavailable(failures)
    return JobStatus(JobState.UNKNOWN)


def explain_silence(server: JobServer, function: str) -> str:
    """Returns a sentence on why a function did not answer, from what its job server says.

    Args:
        server: the job server that the job was sent to.
        function: the Gearman function.
    """
    try:
        return why_silent(str(server), function, server.status())
    except GearmanException:
        return silent_too(str(server))


def _answer(channel: Channel, question: ChannelSubmission, deadline: Deadline) -> JobStatus:
    if channel.error is None:
        channel.flush(deadline)
    if not channel.wait(question, lambda: question.outcome is not None, deadline):
        raise JobServerUnavailable({str(channel.host): "no answer in time about a job"})
    status: JobStatus = question.value()
    return status
