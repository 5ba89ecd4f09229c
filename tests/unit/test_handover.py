"""Recorded jobs leave at once, wait for a connection that is being made, or are left to the
dispatchers."""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gearmanny.calling import handover, line
from gearmanny.calling.handover import JobHandOver, Receive
from gearmanny.errors import JobServerLost, JobServerUnavailable
from gearmanny.net.hosts import Host, Servers
from gearmanny.protocol.connected import ServerConnection
from gearmanny.protocol.server import Server
from gearmanny.records.ids import new_id
from gearmanny.records.values import Submitted
from tests.unit.steps import A, B, C

AWAY = JobServerUnavailable({"a:4730": "connection refused"})
LOST = JobServerLost("a:4730", "closed by the job server")


class FakeStore:
    id = "0123abcd"


class FakeSender:
    """A connection in memory to a job server, or to one that is deaf."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.server = Server(b"H:a", version="1", pid=0)
        self.peer: ServerConnection = self.server.connect(0, "a")
        self.room = room
        self.sends = 0
        self.closed: list[float | None] = []
        self.error: BaseException | None = None
        self.noise = b""

    @property
    def uniques(self) -> list[bytes]:
        """The jobs that have arrived."""
        return [job.unique for job in self.server.broker.queue.jobs.values()]

    def send_some(self, data: bytes | memoryview) -> int:
        self.sends += self.room > 0
        if self.error is not None:
            raise self.error
        sent = min(self.room, len(data))
        self.room -= sent
        self.server.receive(self.peer, bytes(data[:sent]), 0, 0)
        return sent

    def receive(self) -> bytes:
        if self.error is not None:
            raise self.error
        noise, self.noise = self.noise, b""
        return noise + b"".join(iter(self.peer.data_to_send, b""))

    def finish(self, timeout: float) -> None:
        self.closed.append(timeout)

    def close(self) -> None:
        self.closed.append(None)


class FakeAside:
    """Makes connections when the test says so, or at once to those that are up."""

    def __init__(self) -> None:
        self.asked: list[tuple[Host, Receive]] = []
        self.waits: list[float] = []
        self.up: dict[Host, FakeSender | JobServerUnavailable] = {}
        self.error: BaseException | None = None
        self.refusal: AssertionError | None = None

    def check(self, host: Host) -> None:
        if self.refusal is not None:
            raise self.refusal

    def new_lock(self) -> Any:
        return threading.RLock()

    def connect(self, host: Host, servers: Servers, receive: Receive) -> Callable[[float], object]:
        if self.error is not None:
            raise self.error
        self.asked.append((host, receive))
        if host in self.up:
            receive(self.up[host])
        return lambda seconds: self.wait(seconds)  # noqa: PLW0108  tests replace it

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
def aside() -> FakeAside:
    return FakeAside()


def handing(aside: FakeAside, *hosts: Host) -> JobHandOver:
    return JobHandOver(FakeStore(), Servers([*hosts], 5, 1 << 20, None), aside)  # type: ignore[arg-type]


def job(priority: int = 0) -> Submitted:
    return Submitted(new_id(), True, True, "f", priority)


def jobs(count: int) -> list[Submitted]:
    return [job() for _ in range(count)]


def uniques(*jobs: Submitted) -> list[bytes]:
    return [b"j:0123abcd:%s.1" % job.id.replace("-", "").encode() for job in jobs]


def test_many_jobs_leave_in_one_send(aside: FakeAside) -> None:
    sender = aside.up[A] = FakeSender()
    hand_over, many = handing(aside, A), jobs(100)
    hand_over(many)
    assert (sender.uniques, sender.sends, aside.waits) == (uniques(*many), 1, [])
    hand_over([one := job()])
    assert (sender.uniques[-1:], sender.sends, len(aside.asked)) == (uniques(one), 2, 1)


def test_they_travel_with_their_priority_and_without_arguments(aside: FakeAside) -> None:
    sender = aside.up[A] = FakeSender()
    handing(aside, A)([job(-1), job(0), job(1)])
    found = sender.server.broker.queue.jobs.values()
    assert [job.function.name for job in found] == [b"f"] * 3
    assert [job.data for job in found] == [b""] * 3
    assert len({job.priority for job in found}) == 3
    assert not any(job.submitters for job in found)


def test_those_that_begin_to_connect_wait_a_moment(aside: FakeAside) -> None:
    hand_over, first, second = handing(aside, A, B), job(), job()
    hand_over([first])
    assert [host for host, _ in aside.asked] == [A, B]
    assert all(0 <= wait <= handover.PATIENCE for wait in aside.waits)
    hand_over([second])
    assert (len(aside.asked), len(aside.waits)) == (2, 2)
    sender = FakeSender()
    aside.asked[1][1](sender)
    assert sender.uniques == uniques(first, second)
    aside.asked[0][1](other := FakeSender())
    hand_over([third := job()])
    hand_over([fourth := job()])
    assert {*sender.uniques[2:], *other.uniques} == {*uniques(third, fourth)}
    assert len(other.uniques) == 1, "they take turns"


def test_nobody_waits_once_all_have_left(aside: FakeAside) -> None:
    aside.up[A] = sender = FakeSender()
    handing(aside, A, B)([one := job()])
    assert (sender.uniques, aside.waits) == (uniques(one), [])


def test_a_job_server_that_is_away_is_left_alone_for_a_while(
    aside: FakeAside, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside.up[A] = AWAY
    hand_over = handing(aside, A)
    for _ in range(3):
        hand_over([job()])
    assert (len(aside.asked), hand_over._waiting) == (1, collections.deque())
    monkeypatch.setattr(line, "_REST", 0)
    hand_over._lines[0].failed("again")
    hand_over([job()])
    assert len(aside.asked) == 2
    (record,) = caplog.records
    assert record.getMessage().startswith("Recorded jobs are not handed over to a:4730, but left")
    assert (record.levelno, record.action) == (logging.WARNING, "hand_over_failed")  # type: ignore[attr-defined]
    sender = aside.up[A] = FakeSender()
    hand_over([one := job()])
    assert sender.uniques == uniques(one), "what was given up is the dispatchers'"


def test_jobs_that_waited_too_long_are_left_to_the_dispatchers(
    aside: FakeAside, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over, sender, fresh = handing(aside, A), FakeSender(), job()
    monkeypatch.setattr(handover, "_FRESH", 0)
    hand_over([job()])
    monkeypatch.setattr(handover, "_FRESH", 60)
    hand_over([fresh])
    aside.asked[0][1](sender)
    assert sender.uniques == uniques(fresh)


def test_only_so_many_wait(aside: FakeAside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MOST_WAITING", 2)
    hand_over, sender, last = handing(aside, A), FakeSender(), jobs(3)
    hand_over([job()])
    hand_over(last[:2])
    hand_over(last[2:])
    aside.asked[0][1](sender)
    assert sender.uniques == uniques(*last)


def test_a_full_buffer_holds_nobody_up(aside: FakeAside) -> None:
    sender = aside.up[A] = FakeSender(room=100)
    hand_over, first, second = handing(aside, A), jobs(3), job()
    hand_over(first)
    hand_over([second])
    assert len(sender.uniques) < 3
    sender.room = 1 << 20
    hand_over([third := job()])
    assert sender.uniques == uniques(*first, third), "half a packet is continued, nothing between"


def test_another_job_server_takes_what_one_does_not(aside: FakeAside) -> None:
    aside.up[A], aside.up[B] = FakeSender(room=100), FakeSender()
    hand_over = handing(aside, A, B)
    for _ in range(6):
        hand_over(jobs(3))
    assert len(aside.up[B].uniques) >= 12  # type: ignore[union-attr]


@pytest.mark.parametrize("while_sending", [False, True])
def test_a_connection_that_ended_is_made_anew(aside: FakeAside, while_sending: bool) -> None:
    ended = aside.up[A] = FakeSender()
    hand_over = handing(aside, A)
    hand_over([job()])
    if while_sending:
        ended.receive = bytes  # type: ignore[method-assign]  # it ends after that
    ended.error = LOST
    aside.up[A] = sender = FakeSender()
    hand_over([one := job()])
    assert ended.closed == [None]
    if while_sending:  # it may have arrived
        assert sender.uniques == []
        hand_over([one := job()])
    assert sender.uniques == uniques(one)


def test_what_is_no_job_server_is_dropped(aside: FakeAside) -> None:
    first = aside.up[A] = FakeSender()
    hand_over = handing(aside, A)
    hand_over([job()])
    first.noise = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    aside.up[A] = sender = FakeSender()
    hand_over([one := job()])
    assert (first.closed, sender.uniques) == ([None], uniques(one))


def test_a_refusal_is_logged_once(aside: FakeAside, caplog: pytest.LogCaptureFixture) -> None:
    sender = aside.up[A] = FakeSender()
    hand_over = handing(aside, A)
    for _ in range(2):
        hand_over([job()])
    for _ in range(2):
        answers = [b"\0RES\0\0\0\x13\0\0\0\x0aQUEUE\0full", b""]
        sender.receive = iter(answers).__next__  # type: ignore[method-assign]
        hand_over([job()])
    assert [record.getMessage() for record in caplog.records] == [
        "Recorded jobs are not handed over to a:4730, but left to the dispatchers: it refuses "
        "them (QUEUE)"
    ]


def test_it_reads_for_no_longer_than_buffers_are_deep(aside: FakeAside) -> None:
    sender = aside.up[A] = FakeSender()
    hand_over = handing(aside, A)
    hand_over([job()])
    for _ in range(2):
        hand_over([job()])
    created = b"\0RES\0\0\0\x08\0\0\x10\0"  # a packet of 4096 bytes, and its bytes one by one
    pieces = itertools.chain([created], itertools.repeat(b"H"))
    reads = itertools.count()
    sender.receive = lambda: next(pieces) if next(reads) >= 0 else b""  # type: ignore[method-assign]
    hand_over([one := job()])
    assert next(reads) == line._LOOKS
    assert sender.uniques[-1:] == uniques(one)


def test_it_never_raises(aside: FakeAside, caplog: pytest.LogCaptureFixture) -> None:
    aside.error = RuntimeError("can't start new thread")
    hand_over = handing(aside, A)
    hand_over([job()])
    aside.error = None
    hand_over._lines[0]._rest = None
    aside.up[A] = sender = FakeSender()
    hand_over([one := job()])
    assert sender.uniques == uniques(one)
    sender.error = ValueError("unexpected")
    hand_over([job()])
    aside.up[A] = fresh = FakeSender()
    hand_over([two := job()])
    assert (sender.closed, fresh.uniques) == ([None], uniques(two))
    assert [record.action for record in caplog.records] == ["hand_over_failed"] * 2  # type: ignore[attr-defined]


def test_an_interrupt_while_it_begins_to_connect_leaves_no_trace(aside: FakeAside) -> None:
    aside.error = KeyboardInterrupt()
    hand_over = handing(aside, A)
    with pytest.raises(KeyboardInterrupt):
        hand_over([job()])
    aside.error = None
    aside.up[A] = sender = FakeSender()
    hand_over([one := job()])
    assert sender.uniques[-1:] == uniques(one)
    aside.asked[0][1](late := FakeSender())
    assert late.closed == [None], "its thread had begun, and there is another one by now"


def test_an_interrupt_ends_a_connection_on_which_half_a_packet_may_have_left(
    aside: FakeAside,
) -> None:
    sender = aside.up[A] = FakeSender()
    hand_over = handing(aside, A)
    hand_over([job()])
    sender.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        hand_over([job()])
    sender.error = None
    aside.up[A] = fresh = FakeSender()
    hand_over([one := job()])
    assert (sender.closed, fresh.uniques[-1:]) == ([None], uniques(one))


def test_a_signal_handler_may_hand_over_while_its_thread_does(aside: FakeAside) -> None:
    sender = aside.up[A] = FakeSender()
    hand_over, inner, outer = handing(aside, A), job(), job()
    hand_over([job()])

    def receive() -> bytes:
        sender.receive = bytes  # type: ignore[method-assign]
        hand_over([inner])
        return b""

    sender.receive = receive  # type: ignore[method-assign]
    hand_over([outer])
    assert sender.uniques[1:] == uniques(outer), "the other one is the dispatchers'"


def test_closing_says_goodbye_and_ends_what_is_being_made(
    aside: FakeAside, caplog: pytest.LogCaptureFixture
) -> None:
    sender = aside.up[A] = FakeSender()
    hand_over = handing(aside, A, B, C)
    hand_over([job()])
    hand_over.close()
    (goodbye,) = sender.closed
    assert goodbye is not None
    assert 0 < goodbye <= handover.GOODBYE
    late = FakeSender()
    aside.asked[1][1](late)
    aside.asked[2][1](AWAY)
    assert caplog.records == [], "nobody asks any more"
    assert aside.waits == [], "nothing is left that could arrive"
    assert late.closed == [None]
    aside.up[A] = again = FakeSender()
    hand_over([one := job()])
    assert again.uniques == uniques(one)


def test_closing_waits_for_a_connection_that_jobs_wait_for(aside: FakeAside) -> None:
    hand_over, sender, one = handing(aside, A), FakeSender(), job()
    hand_over([one])
    aside.wait = lambda seconds: aside.asked[0][1](sender)  # type: ignore[method-assign]
    hand_over.close()
    assert (sender.uniques, len(sender.closed)) == (uniques(one), 1)


def test_it_is_closed_when_the_program_ends(aside: FakeAside) -> None:
    sender = aside.up[A] = FakeSender()
    hand_over = handing(aside, A)
    hand_over([job()])
    handover._at_exit()
    assert len(sender.closed) == 1


def test_a_forked_child_makes_connections_of_its_own(aside: FakeAside) -> None:
    sender = aside.up[A] = FakeSender()
    hand_over = handing(aside, A)
    hand_over([job()])
    sender.error = AssertionError("used by the child")
    with contextlib.suppress(ChildProcessError):
        pid = os.fork()
        if not pid:
            aside.up[A] = own = FakeSender()
            hand_over([one := job()])
            os._exit(own.uniques != uniques(one))
        assert os.waitpid(pid, 0)[1] == 0


def test_there_may_be_many_hosts(aside: FakeAside) -> None:
    aside.up[C] = sender = FakeSender()
    aside.up[A] = aside.up[B] = AWAY
    handing(aside, A, B, C)([one := job()])
    assert sender.uniques == uniques(one)
