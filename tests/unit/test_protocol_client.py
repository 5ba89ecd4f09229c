"""The client side of a connection: which event belongs to which job."""

from __future__ import annotations

import itertools
from collections.abc import Hashable

import pytest

from gearmanny.errors import ProtocolError
from gearmanny.protocol.client import (
    ClientConnection,
    Completed,
    Created,
    DataSent,
    Excepted,
    Failed,
    Progressed,
    Rejected,
    StatusReceived,
    Warned,
)
from gearmanny.protocol.packets import PacketType
from tests.unit.wire import OPTION_RES, complete, created, request, response, with_jobs


def test_a_connection_opens_by_asking_for_exceptions() -> None:
    connection = ClientConnection()
    assert connection.data_to_send() == request(PacketType.OPTION_REQ, b"exceptions")


def test_queued_bytes_are_given_out_once_and_in_order() -> None:
    connection = ClientConnection()
    connection.data_to_send()
    connection.submit("one", b"f", b"{}")
    connection.submit("two", b"g", b"a\0b", unique=b"key")
    assert connection.data_to_send() == (
        request(PacketType.SUBMIT_JOB, b"f", b"", b"{}")
        + request(PacketType.SUBMIT_JOB, b"g", b"key", b"a\0b")
    )
    assert connection.data_to_send() == b""


def test_a_job_is_created_and_completed() -> None:
    connection = ClientConnection()
    connection.submit("job", b"f", b"{}")
    assert list(connection.receive(OPTION_RES)) == []
    assert list(connection.receive(created(b"H:vm:1"))) == [("job", Created(b"H:vm:1"))]
    assert list(connection.receive(complete(b"H:vm:1", b"a\0b"))) == [("job", Completed(b"a\0b"))]


@pytest.mark.parametrize("job", [0, "", (), frozenset(), None], ids=repr)
def test_anything_hashable_names_a_job(job: Hashable) -> None:
    connection = ClientConnection()
    connection.submit(job, b"f", b"{}")
    events = list(connection.receive(OPTION_RES + created(b"H:vm:1") + complete(b"H:vm:1")))
    assert events == [(job, Created(b"H:vm:1")), (job, Completed(b"1"))]


def test_replies_belong_to_submissions_in_their_order() -> None:
    connection = ClientConnection()
    for job in "abc":
        connection.submit(job, b"f", b"{}")
    events = list(
        connection.receive(OPTION_RES + created(b"H:9") + created(b"H:7") + created(b"H:8"))
    )
    assert events == [("a", Created(b"H:9")), ("b", Created(b"H:7")), ("c", Created(b"H:8"))]


def test_answers_come_in_any_order() -> None:
    connection = with_jobs(a=b"H:1", b=b"H:2")
    assert list(connection.receive(complete(b"H:2") + complete(b"H:1"))) == [
        ("b", Completed(b"1")),
        ("a", Completed(b"1")),
    ]


def test_an_error_ends_only_its_own_submission() -> None:
    connection = ClientConnection()
    for job in "abc":
        connection.submit(job, b"f", b"{}")
    full = response(PacketType.ERROR, b"QUEUE_ERROR", b"Job queue is full")
    assert list(connection.receive(OPTION_RES + created(b"H:1") + full + created(b"H:2"))) == [
        ("a", Created(b"H:1")),
        ("b", Rejected(b"QUEUE_ERROR", b"Job queue is full")),
        ("c", Created(b"H:2")),
    ]
    assert list(connection.receive(complete(b"H:2", b"of c") + complete(b"H:1", b"of a"))) == [
        ("c", Completed(b"of c")),
        ("a", Completed(b"of a")),
    ]
    assert connection.unanswered() == []


def test_a_server_without_the_option_still_works() -> None:
    connection = ClientConnection()
    connection.submit("job", b"f", b"{}")
    refusal = response(PacketType.ERROR, b"UNKNOWN_OPTION", b"no exceptions here")
    assert list(connection.receive(refusal + created(b"H:1"))) == [("job", Created(b"H:1"))]


@pytest.mark.parametrize("handle", [b"H:vm:1", b"H:vm:1\0"])
def test_the_handle_of_a_failure_may_end_in_nul(handle: bytes) -> None:
    connection = with_jobs(job=b"H:vm:1")
    assert list(connection.receive(response(PacketType.WORK_FAIL, handle))) == [("job", Failed())]
    assert connection.unanswered() == []


def test_an_exception_is_an_answer() -> None:
    connection = with_jobs(job=b"H:1")
    assert list(connection.receive(response(PacketType.WORK_EXCEPTION, b"H:1", b"sold out"))) == [
        ("job", Excepted(b"sold out"))
    ]
    assert connection.unanswered() == []


def test_updates_keep_their_order_and_their_text() -> None:
    connection = with_jobs(job=b"H:1")
    sent = (
        response(PacketType.WORK_STATUS, b"H:1", b"0.5", b"1")
        + response(PacketType.WORK_DATA, b"H:1", b"a\0")
        + response(PacketType.WORK_WARNING, b"H:1", b"careful")
        + response(PacketType.WORK_STATUS, b"H:1", b"1", b"1")
        + response(PacketType.WORK_FAIL, b"H:1\0")
    )
    assert list(connection.receive(sent)) == [
        ("job", Progressed(b"0.5", b"1")),
        ("job", DataSent(b"a\0")),
        ("job", Warned(b"careful")),
        ("job", Progressed(b"1", b"1")),
        ("job", Failed()),
    ]


@pytest.mark.parametrize(
    "packet",
    [
        complete(b"H:2"),
        response(PacketType.WORK_FAIL, b"H:2\0"),
        response(PacketType.WORK_EXCEPTION, b"H:2", b"e"),
        response(PacketType.WORK_DATA, b"H:2", b"d"),
        response(PacketType.WORK_WARNING, b"H:2", b"w"),
        response(PacketType.WORK_STATUS, b"H:2", b"1", b"2"),
    ],
)
def test_packets_for_other_handles_are_ignored(packet: bytes) -> None:
    connection = with_jobs(job=b"H:1")
    assert list(connection.receive(packet)) == []
    assert list(connection.receive(complete(b"H:1"))) == [("job", Completed(b"1"))]
    assert list(connection.receive(packet.replace(b"H:2", b"H:1"))) == []  # late


def test_a_cancelled_job_is_answered_once() -> None:
    # gearmand fails a running job when it is cancelled, and later also completes it.
    connection = with_jobs(job=b"H:1")
    sent = response(PacketType.WORK_FAIL, b"H:1\0") + complete(b"H:1")
    assert list(connection.receive(sent)) == [("job", Failed())]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_coalesced_job_sees_each_packet_once(count: int) -> None:
    jobs = [f"job {number}" for number in range(count)]
    connection = with_jobs(**dict.fromkeys(jobs, b"H:1"))
    packets = [
        response(PacketType.WORK_STATUS, b"H:1", b"1", b"2"),
        response(PacketType.WORK_DATA, b"H:1", b"part"),
        response(PacketType.WORK_WARNING, b"H:1", b"careful"),
        complete(b"H:1"),
    ]
    events = list(connection.receive(b"".join(packet * count for packet in packets)))
    for job in jobs:
        assert [(name, event) for name, event in events if name == job] == [
            (job, Progressed(b"1", b"2")),
            (job, DataSent(b"part")),
            (job, Warned(b"careful")),
            (job, Completed(b"1")),
        ]
    assert connection.unanswered() == []


def test_who_joins_a_running_job_sees_what_comes_from_then_on() -> None:
    connection = with_jobs(first=b"H:1")
    early = response(PacketType.WORK_DATA, b"H:1", b"early")
    late = response(PacketType.WORK_DATA, b"H:1", b"late")
    connection.submit("second", b"f", b"{}")
    events = list(connection.receive(early + created(b"H:1") + late * 2 + complete(b"H:1") * 2))
    seen = {
        job: [type(event) for name, event in events if name == job] for job in ("first", "second")
    }
    assert seen == {
        "first": [DataSent, DataSent, Completed],
        "second": [Created, DataSent, Completed],
    }


def test_a_handle_may_serve_again_after_its_answer() -> None:
    # A job server counts its handles from 1 again when it was started anew.
    connection = with_jobs(job=b"H:1")
    list(connection.receive(complete(b"H:1")))
    connection.submit("again", b"f", b"{}")
    assert list(connection.receive(created(b"H:1") + complete(b"H:1", b"2"))) == [
        ("again", Created(b"H:1")),
        ("again", Completed(b"2")),
    ]


def test_bytes_may_come_one_by_one() -> None:
    connection = ClientConnection()
    connection.submit("job", b"f", b"{}")
    stream = OPTION_RES + created(b"H:1") + complete(b"H:1")
    pieces = (stream[at : at + 1] for at in range(len(stream)))
    events = list(itertools.chain.from_iterable(map(connection.receive, pieces)))
    assert events == [("job", Created(b"H:1")), ("job", Completed(b"1"))]


@pytest.mark.parametrize(
    ("priority", "background", "type"),
    [
        ("high", False, PacketType.SUBMIT_JOB_HIGH),
        ("normal", False, PacketType.SUBMIT_JOB),
        ("low", False, PacketType.SUBMIT_JOB_LOW),
        ("high", True, PacketType.SUBMIT_JOB_HIGH_BG),
        ("normal", True, PacketType.SUBMIT_JOB_BG),
        ("low", True, PacketType.SUBMIT_JOB_LOW_BG),
    ],
)
def test_a_priority_is_the_type_of_a_packet(
    priority: str, background: bool, type: PacketType
) -> None:
    connection = with_jobs()
    connection.submit("job", b"f", b"{}", b"key", background, priority)
    assert connection.data_to_send() == request(type, b"f", b"key", b"{}")
    assert list(connection.receive(created(b"H:1"))) == [("job", Created(b"H:1"))]
    assert connection.unanswered() == ([] if background else ["job"])


def test_a_job_for_later_tells_when() -> None:
    connection = with_jobs()
    connection.submit("job", b"f", b"{}", b"key", background=True, at=1_900_000_000)
    assert connection.data_to_send() == request(
        PacketType.SUBMIT_JOB_EPOCH, b"f", b"key", b"1900000000", b"{}"
    )
    assert list(connection.receive(created(b"H:1"))) == [("job", Created(b"H:1"))]
    assert connection.unanswered() == []


def status_of(handle: bytes, known: bool, running: bool, done: bytes, total: bytes) -> bytes:
    return response(PacketType.STATUS_RES, handle, b"%d" % known, b"%d" % running, done, total)


def test_a_question_for_a_job_is_answered() -> None:
    connection = with_jobs(job=b"H:1")
    connection.ask_status("question", b"H:1")
    connection.ask_status_of_unique("other", b"key")
    assert connection.data_to_send() == (
        request(PacketType.GET_STATUS, b"H:1") + request(PacketType.GET_STATUS_UNIQUE, b"key")
    )
    by_unique = response(PacketType.STATUS_RES_UNIQUE, b"key", b"0", b"0", b"0", b"0", b"0")
    assert list(connection.receive(status_of(b"H:1", True, True, b"1", b"2") + by_unique)) == [
        ("question", StatusReceived(True, True, b"1", b"2")),
        ("other", StatusReceived(False, False, b"0", b"0")),
    ]
    assert connection.unanswered() == ["job"]


def test_answers_belong_to_questions_and_submissions_in_their_order() -> None:
    connection = with_jobs(job=b"H:1")
    connection.ask_status("first", b"H:1")
    connection.submit("new", b"f", b"{}")
    connection.ask_status("second", b"H:1")
    sent = (
        status_of(b"H:1", True, False, b"0", b"0")
        + complete(b"H:1")
        + created(b"H:2")
        + status_of(b"H:1", False, False, b"0", b"0")
    )
    assert list(connection.receive(sent)) == [
        ("first", StatusReceived(True, False, b"0", b"0")),
        ("job", Completed(b"1")),
        ("new", Created(b"H:2")),
        ("second", StatusReceived(False, False, b"0", b"0")),
    ]


def test_an_error_may_answer_a_question() -> None:
    connection = with_jobs(job=b"H:1")
    connection.ask_status_of_unique("question", b"key")
    connection.submit("new", b"f", b"{}")
    refused = response(PacketType.ERROR, b"NO", b"not here")
    assert list(connection.receive(refused + created(b"H:2"))) == [
        ("question", Rejected(b"NO", b"not here")),
        ("new", Created(b"H:2")),
    ]


def test_questions_without_an_answer_are_told_when_the_connection_ends() -> None:
    connection = with_jobs(job=b"H:1")
    connection.ask_status("by handle", b"H:1")
    connection.ask_status_of_unique("by unique", b"key")
    connection.submit("kept", b"f", b"{}", b"u", background=True)
    assert connection.unanswered() == ["by handle", "by unique", "kept", "job"]
    connection.abandon()
    assert connection.unanswered() == []


def test_a_question_for_an_impossible_unique_id_is_not_asked() -> None:
    connection = with_jobs()
    for unique in (b"u" * 64, b"a\0b"):
        with pytest.raises(ValueError, match="has at most"):
            connection.ask_status_of_unique("question", unique)
    assert connection.data_to_send() == b""
    assert connection.unanswered() == []


def test_what_answers_something_else_is_a_protocol_error() -> None:
    told = status_of(b"H:1", True, True, b"1", b"2")
    connection = with_jobs()
    connection.ask_status("question", b"H:1")
    with pytest.raises(ProtocolError, match="does not match the request"):
        list(connection.receive(created(b"H:2")))
    connection = with_jobs()
    connection.submit("job", b"f", b"{}")
    with pytest.raises(ProtocolError, match="does not match the request"):
        list(connection.receive(told))
    with pytest.raises(ProtocolError, match="reply without a request"):
        list(with_jobs().receive(told))
