"""The client side of a connection: what ends it, and that no job is forgotten then."""

from __future__ import annotations

import pytest

from gearmanny.errors import ProtocolError
from gearmanny.payload.sizes import Oversized
from gearmanny.protocol.client import ClientConnection, Completed, Event
from gearmanny.protocol.packets import PacketType
from tests.unit.wire import OPTION_RES, complete, created, response, with_jobs


def test_an_ended_connection_tells_which_jobs_had_no_answer() -> None:
    connection = ClientConnection()
    for job in ("done", "refused", "running", "running too", "submitted"):
        connection.submit(job, b"f", b"{}")
    no = response(PacketType.ERROR, b"QUEUE_ERROR", b"full")
    list(
        connection.receive(
            OPTION_RES + created(b"H:1") + no + created(b"H:2") * 2 + complete(b"H:1")
        )
    )
    assert sorted(connection.unanswered(), key=str) == ["running", "running too", "submitted"]
    connection.abandon()
    assert connection.unanswered() == []


def test_the_option_is_no_job() -> None:
    assert ClientConnection().unanswered() == []


ILLEGAL = {
    "a packet for workers": response(PacketType.NOOP),
    "no job": response(PacketType.NO_JOB),
    "a job": response(PacketType.JOB_ASSIGN_UNIQ, b"H:1", b"f", b"", b"{}"),
    "an option that was not asked for": OPTION_RES,
    "noise": b"HTTP/1.1 400 Bad Request\r\n",
}
illegal = pytest.mark.parametrize("packet", ILLEGAL.values(), ids=ILLEGAL)


@illegal
@pytest.mark.parametrize("state", ["submitted", "running"])
def test_an_illegal_packet_raises_and_no_job_is_forgotten(packet: bytes, state: str) -> None:
    connection = with_jobs(**{"running": b"H:1"} if state == "running" else {})
    if state == "submitted":
        connection.submit("submitted", b"f", b"{}")
    with pytest.raises(ProtocolError):
        list(connection.receive(packet))
    assert connection.unanswered() == [state]


@illegal
def test_what_came_with_an_illegal_packet_is_not_swallowed(packet: bytes) -> None:
    connection = with_jobs(job=b"H:1", other=b"H:2")
    events: list[Event] = []
    with pytest.raises(ProtocolError):
        events.extend(connection.receive(complete(b"H:1") + packet))
    assert events == [("job", Completed(b"1"))]
    assert connection.unanswered() == ["other"]


def test_a_handle_is_no_answer_to_an_option() -> None:
    connection = ClientConnection()
    connection.submit("job", b"f", b"{}")
    with pytest.raises(ProtocolError):
        list(connection.receive(created(b"H:1")))
    assert connection.unanswered() == ["job"]


@pytest.mark.parametrize("packet", [created(b"H:1"), response(PacketType.ERROR, b"X", b"y")])
def test_an_answer_without_a_question_is_a_protocol_error(packet: bytes) -> None:
    connection = with_jobs()
    with pytest.raises(ProtocolError, match="reply without a request"):
        list(connection.receive(packet))


def test_the_length_of_an_answer_can_be_limited() -> None:
    connection = with_jobs(max_packet=100, large=b"H:1", small=b"H:2")
    events = list(connection.receive(complete(b"H:1", b"x" * 100) + complete(b"H:2", b"x")))
    assert events == [("large", Completed(b"")), ("small", Completed(b"x"))]
    large = events[0][1]
    assert isinstance(large, Completed)
    assert isinstance(large.data, Oversized)
    assert connection.unanswered() == []


@pytest.mark.parametrize(
    ("function", "unique"),
    [(b"a\0b", b""), (b"f" * 513, b""), (b"f", b"a\0b"), (b"f", b"u" * 64)],
    ids=["function with NUL", "function of 513 bytes", "unique with NUL", "unique of 64 bytes"],
)
def test_a_name_that_would_shift_the_arguments_is_refused_and_nothing_is_sent(
    function: bytes, unique: bytes
) -> None:
    connection = with_jobs(running=b"H:1")
    with pytest.raises(ValueError, match="has at most"):
        connection.submit("job", function, b"{}", unique)
    assert connection.data_to_send() == b""
    assert connection.unanswered() == ["running"]


def test_the_longest_names_are_sent() -> None:
    connection = with_jobs()
    connection.submit("job", b"f" * 512, b"{}", b"u" * 63)
    assert b"f" * 512 + b"\0" + b"u" * 63 + b"\0{}" in connection.data_to_send()
