"""The job server without sockets: what depends on time, on chance, and on where bytes are cut."""

from __future__ import annotations

import random

import pytest

from gearmanny.errors import ProtocolError
from gearmanny.protocol.connected import ServerConnection
from gearmanny.protocol.packets import PacketType as P
from gearmanny.protocol.server import Server
from tests.unit.wire import request, response

NOON = 1_000_000.0

Kept = tuple[bytes, bytes, bytes, int, float]


class Recorded:
    """A journal that shows what it holds."""

    def __init__(self, **jobs: Kept) -> None:
        self.kept = {int(row.removeprefix("row")): job for row, job in jobs.items()}

    def jobs(self) -> list[tuple[int, bytes, bytes, bytes, int, float]]:
        return [(row, *job) for row, job in self.kept.items()]

    def keep(self, function: bytes, unique: bytes, data: bytes, priority: int, due: float) -> int:
        row = max(self.kept, default=0) + 1
        self.kept[row] = (function, unique, data, priority, due)
        return row

    def forget(self, row: int) -> None:
        del self.kept[row]


class Machine:
    """A job server at a time that stands still until it is set."""

    def __init__(self, journal: Recorded | None = None, **limits: int) -> None:
        self.server = Server(
            b"H:t", version="t", pid=7, journal=journal, max_packet=10_000, **limits
        )
        self.now = NOON

    def connect(self) -> ServerConnection:
        return self.server.connect(1, "127.0.0.1")

    def ask(self, connection: ServerConnection, type: P, *arguments: bytes) -> bytes:
        """Returns what the connection is sent for a packet, and since it was asked last."""
        self.tell(connection, type, *arguments)
        return connection.data_to_send()

    def tell(self, connection: ServerConnection, type: P, *arguments: bytes) -> None:
        """Passes a packet on, and leaves the answer unread."""
        self.server.receive(connection, request(type, *arguments), self.now, self.now)

    def pass_until(self, now: float) -> None:
        self.now = now
        self.server.pass_time(now, now)

    def text(self, command: str) -> str:
        asking = self.connect()
        self.server.receive(asking, command.encode() + b"\n", self.now, self.now)
        answer = asking.data_to_send().decode()
        self.server.disconnect(asking)
        return answer

    def status(self, function: bytes) -> list[int]:
        """Returns total, running and workers of a function."""
        rows = dict(line.split("\t", 1) for line in self.text("status").splitlines()[:-1])
        return [int(number) for number in rows[function.decode()].split("\t")]


def created(number: int) -> bytes:
    return response(P.JOB_CREATED, b"H:t:%d" % number)


NO_JOB = response(P.NO_JOB)
NOOP = response(P.NOOP)
WRONG_MAXQUEUE = "ERR INVALID_ARGUMENTS The+arguments+of+maxqueue+are+not+right\r\n"


def test_a_scheduled_job_is_queued_at_its_second_and_calls_who_sleeps() -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(worker, P.PRE_SLEEP)
    due = b"%d" % (NOON + 60)
    assert machine.ask(caller, P.SUBMIT_JOB_EPOCH, b"f", b"u", due, b"data") == created(1)
    assert machine.server.next_timers() == (NOON + 60, None)
    machine.pass_until(NOON + 59.9)
    assert machine.ask(worker, P.GRAB_JOB) == NO_JOB
    machine.ask(worker, P.PRE_SLEEP)
    machine.pass_until(NOON + 60)
    assert worker.data_to_send() == NOOP
    assert machine.server.next_timers() == (None, None)
    assert machine.ask(worker, P.GRAB_JOB) == response(P.JOB_ASSIGN, b"H:t:1", b"f", b"data")


def test_a_scheduled_job_hides_none_that_waits() -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(worker, P.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (NOON + 60), b"later")
    assert machine.ask(worker, P.PRE_SLEEP) == b""
    assert machine.ask(worker, P.SUBMIT_JOB_LOW_BG, b"f", b"", b"now") == NOOP + created(2)
    assert machine.ask(worker, P.GRAB_JOB) == response(P.JOB_ASSIGN, b"H:t:2", b"f", b"now")
    assert machine.ask(worker, P.GRAB_JOB) == NO_JOB


def test_a_cancelled_scheduled_job_never_runs() -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(worker, P.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (NOON + 60), b"")
    assert machine.text("cancel job H:t:1") == "OK\r\n"
    assert machine.server.next_timers() == (None, None)
    machine.pass_until(NOON + 61)
    assert machine.ask(worker, P.GRAB_JOB) == NO_JOB
    assert machine.status(b"f") == [0, 0, 1]


def test_a_job_that_takes_longer_than_its_worker_said_fails() -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO_TIMEOUT, b"f", b"1500")
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    assert machine.server.next_timers() == (None, NOON + 1.5)
    machine.pass_until(NOON + 1.4)
    assert caller.data_to_send() == b""
    machine.pass_until(NOON + 1.5)
    assert caller.data_to_send() == response(P.WORK_FAIL, b"H:t:1")
    assert b"JOB_NOT_FOUND" in machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"late")
    assert machine.ask(worker, P.GRAB_JOB) == NO_JOB
    assert machine.status(b"f") == [0, 0, 1]


def test_the_time_limit_of_each_job_begins_with_it() -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO_TIMEOUT, b"f", b"1000")
    for _ in range(2):
        machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    machine.now += 0.5
    machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"")
    machine.ask(worker, P.GRAB_JOB)
    caller.data_to_send()
    machine.pass_until(NOON + 1.25)
    assert caller.data_to_send() == b""
    machine.pass_until(NOON + 1.5)
    assert caller.data_to_send() == response(P.WORK_FAIL, b"H:t:2")


@pytest.mark.parametrize("milliseconds", [b"0", b"-5", b"soon"])
def test_no_time_limit(milliseconds: bytes) -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO_TIMEOUT, b"f", milliseconds)
    machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    assert machine.server.next_timers() == (None, None)


@pytest.mark.parametrize("huge", [b"9" * 30, b"9" * 400, b"9" * 5000])
def test_a_number_of_any_size_is_a_number(huge: bytes) -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO_TIMEOUT, b"f", huge)
    assert machine.ask(worker, P.SUBMIT_JOB_EPOCH, b"f", b"", huge, b"") == created(1)
    assert machine.ask(worker, P.GRAB_JOB) == NO_JOB
    assert machine.ask(worker, P.SUBMIT_JOB_EPOCH, b"f", b"", b"-" + huge, b"") == created(2)
    assert machine.ask(worker, P.GRAB_JOB) == response(P.JOB_ASSIGN, b"H:t:2", b"f", b"")
    assert machine.text(f"maxqueue f {huge.decode()}") in ("OK\r\n", WRONG_MAXQUEUE)


def test_timers_that_are_out_of_use_do_not_pile_up() -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO_TIMEOUT, b"f", b"3600000")
    for number in range(1, 1001):
        machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"", b"")
        machine.ask(worker, P.GRAB_JOB)
        machine.ask(worker, P.WORK_COMPLETE, b"H:t:%d" % number, b"")
    assert len(machine.server.broker.queue.limits._heap) < 100


def test_a_function_that_is_offered_twice_counts_once() -> None:
    machine = Machine()
    worker = machine.connect()
    for _ in range(2):
        machine.ask(worker, P.CAN_DO, b"f")
    assert machine.status(b"f") == [0, 0, 1]


def test_a_sleeping_worker_is_called_for_the_jobs_of_a_new_function() -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"", b"")
    assert machine.ask(worker, P.PRE_SLEEP) == b""
    assert machine.ask(worker, P.CAN_DO, b"f") == NOOP


def test_progress_begins_anew_with_another_worker() -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"u", b"")
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_STATUS, b"H:t:1", b"1", b"2")
    machine.server.disconnect(worker)
    caller.data_to_send()
    assert machine.ask(caller, P.GET_STATUS, b"H:t:1") == response(
        P.STATUS_RES, b"H:t:1", b"1", b"0", b"0", b"0"
    )


def test_a_job_nobody_waits_for_is_not_run_again() -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    machine.server.disconnect(caller)
    assert machine.status(b"f") == [1, 1, 1]
    machine.server.disconnect(worker)
    assert machine.status(b"f") == [0, 0, 0]


def test_dropping_a_function_fails_the_jobs_that_wait_for_it() -> None:
    machine = Machine(Recorded())
    caller = machine.connect()
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"")
    machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"", b"")
    assert machine.text("drop function f") == "OK\r\n"
    assert caller.data_to_send() == response(P.WORK_FAIL, b"H:t:1")
    assert machine.text("status") == machine.text("show jobs") == ".\n"


def test_background_jobs_are_in_the_journal_until_they_are_answered() -> None:
    journal = Recorded()
    machine = Machine(journal)
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"fg", b"")
    assert journal.kept == {}
    machine.ask(caller, P.SUBMIT_JOB_HIGH_BG, b"f", b"bg", b"data")
    machine.ask(caller, P.SUBMIT_JOB_EPOCH, b"f", b"at", b"%d" % (NOON + 9), b"data")
    assert [*journal.kept.values()] == [
        (b"f", b"bg", b"data", 0, 0.0),
        (b"f", b"at", b"data", 1, NOON + 9),
    ]
    machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"fg", b"")
    machine.server.disconnect(caller)
    machine.ask(worker, P.GRAB_JOB)
    assert len(journal.kept) == 3
    machine.ask(worker, P.WORK_FAIL, b"H:t:2")
    assert [unique for _, unique, *_ in journal.kept.values()] == [b"at", b"fg"]


def test_a_background_job_that_joins_one_that_runs_is_kept_to_be_done_at_once() -> None:
    journal = Recorded()
    machine = Machine(journal)
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO_TIMEOUT, b"f", b"3600000")
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"u", b"data")
    machine.ask(worker, P.GRAB_JOB)
    in_an_hour = b"%d" % (NOON + 3600)
    assert machine.ask(caller, P.SUBMIT_JOB_EPOCH, b"f", b"u", in_an_hour, b"") == created(1)
    assert [*journal.kept.values()] == [(b"f", b"u", b"data", 1, 0.0)]


def test_who_joins_a_scheduled_job_waits_for_its_time() -> None:
    journal = Recorded()
    machine = Machine(journal)
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    for kind, due in (
        (P.SUBMIT_JOB_EPOCH, [b"%d" % (NOON + 60)]),
        (P.SUBMIT_JOB_EPOCH, [b"%d" % (NOON + 5)]),
        (P.SUBMIT_JOB_HIGH_BG, []),
        (P.SUBMIT_JOB, []),
    ):
        assert machine.ask(caller, kind, b"f", b"u", *due, b"data") == created(1)
    machine.pass_until(NOON + 59)
    assert machine.ask(worker, P.GRAB_JOB) == NO_JOB
    assert [*journal.kept.values()] == [(b"f", b"u", b"data", 1, NOON + 60)]
    machine.pass_until(NOON + 60)
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"done")
    assert caller.data_to_send() == response(P.WORK_COMPLETE, b"H:t:1", b"done")
    assert journal.kept == {}


def test_withdrawing_a_function_that_nobody_knows_does_not_make_one() -> None:
    machine = Machine()
    machine.ask(machine.connect(), P.CANT_DO, b"f")
    assert machine.text("status") == ".\n"


def test_a_server_begins_with_what_is_in_the_journal() -> None:
    journal = Recorded(
        row1=(b"f", b"old", b"low", 2, 0.0),
        row4=(b"f", b"", b"high", 0, 0.0),
        row5=(b"f", b"", b"past", 1, NOON - 5),
        row6=(b"f", b"", b"future", 1, NOON + 5),
    )
    machine = Machine(journal)
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.pass_until(NOON)
    assert machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"old", b"again") == created(1)
    found = [machine.ask(worker, P.GRAB_JOB) for _ in range(4)]
    assert [data.rpartition(b"\0")[2] for data in found[:3]] == [b"high", b"past", b"low"]
    assert found[3] == NO_JOB
    machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"")
    assert 1 not in journal.kept


CONVERSATION = b"".join(
    [
        b"version\r\n", request(P.CAN_DO, b"f"), request(P.SUBMIT_JOB, b"f", b"u", b"a\0b"),
        b"status\n", request(P.GRAB_JOB_UNIQ), request(P.WORK_DATA, b"H:t:1", b"part"),
        request(P.ECHO_REQ, b"status\n"), request(P.WORK_COMPLETE, b"H:t:1", b"whole"),
        request(P.PRE_SLEEP), b"getpid\r\n",
    ]
)  # fmt: skip


def converse(*pieces: bytes) -> bytes:
    machine = Machine()
    connection = machine.connect()
    for piece in pieces:
        machine.server.receive(connection, piece, NOON, NOON)
    return connection.data_to_send()


def test_the_place_of_a_cut_does_not_matter() -> None:
    whole = converse(CONVERSATION)
    assert whole.startswith(b"OK t\n")
    assert whole.endswith(b"OK 7\n")
    for cut in range(len(CONVERSATION)):
        assert converse(CONVERSATION[:cut], CONVERSATION[cut:]) == whole
    assert converse(*(bytes([byte]) for byte in CONVERSATION)) == whole


TOO_MUCH = bytes(20_000)


@pytest.mark.parametrize("type", [P.SUBMIT_JOB, P.SUBMIT_JOB_BG, P.SUBMIT_JOB_EPOCH])
def test_a_job_that_is_too_large_is_refused_alone(type: P) -> None:
    machine = Machine()
    caller = machine.connect()
    names = (b"f", b"key", b"0")[: 3 if type == P.SUBMIT_JOB_EPOCH else 2]
    told = machine.ask(caller, type, *names, TOO_MUCH)
    assert b"ARGUMENT_TOO_LARGE\0The payload is too large: its 20000 bytes exceed" in told
    assert machine.ask(caller, P.SUBMIT_JOB, b"f", b"key", b"") == created(1)


@pytest.mark.parametrize("type", [P.WORK_COMPLETE, P.WORK_EXCEPTION])
def test_an_answer_that_is_too_large_fails_its_job(type: P) -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    assert b"ARGUMENT_TOO_LARGE" in machine.ask(worker, type, b"H:t:1", TOO_MUCH)
    assert caller.data_to_send() == response(P.WORK_FAIL, b"H:t:1")
    assert machine.status(b"f") == [0, 0, 1]


def test_an_update_that_is_too_large_is_left_out() -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    assert b"ARGUMENT_TOO_LARGE" in machine.ask(worker, P.WORK_DATA, b"H:t:1", TOO_MUCH)
    assert machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"1") == b""
    assert caller.data_to_send() == response(P.WORK_COMPLETE, b"H:t:1", b"1")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0RES\0\0\0\x06\0\0\0\0", "not a Gearman client or worker"),
        (b"\0REQ\0\0\0\x63\0\0\0\0", "a client or worker does not send packets of type 99"),
        (b"\0REQ\0\0\0\x07\0\0\0\x01f", "SUBMIT_JOB takes 3 arguments, but got 1"),
        (b"\0REQ\0\0\0\x10\xff\xff\xff\xff", "4294967295 bytes is over the limit of 10000 bytes"),
        (b"x" * 10_000, "a text command is over the limit of 8192 bytes"),
    ],
)
def test_what_is_not_the_protocol_is_told_so(data: bytes, reason: str) -> None:
    machine = Machine()
    connection = machine.connect()
    with pytest.raises(ProtocolError, match=reason):
        machine.server.receive(connection, request(P.ECHO_REQ, b"before") + data, NOON, NOON)
    sent = connection.data_to_send()
    assert sent.startswith(response(P.ECHO_RES, b"before"))
    assert reason.encode() in sent


def any_request(random_: random.Random, machine: Machine) -> tuple[P, list[bytes]]:
    name, key = random_.choice([b"a", b"b"]), random_.choice([b"", b"-", b"k", b"l"])
    handle = random_.choice([*machine.server.broker.queue.jobs, b"H:t:0"])
    soon = b"%d" % (machine.now + 3)
    return random_.choice(
        [
            (P.CAN_DO, [name]), (P.CAN_DO_TIMEOUT, [name, b"3000"]),
            (P.CANT_DO, [name]), (P.RESET_ABILITIES, []),
            (P.SUBMIT_JOB, [name, key, b"d"]), (P.SUBMIT_JOB_BG, [name, key, b"d"]),
            (P.SUBMIT_JOB_LOW, [name, key, b"d"]), (P.SUBMIT_JOB_EPOCH, [name, key, soon, b"d"]),
            *[(P.GRAB_JOB, [])] * 4, (P.PRE_SLEEP, []),
            *[(P.WORK_COMPLETE, [handle, b""])] * 4, (P.WORK_EXCEPTION, [handle, b""]),
        ]
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_no_job_is_lost_and_none_is_left_over(seed: int) -> None:
    random_, journal = random.Random(seed), Recorded()
    machine = Machine(journal)
    people = [machine.connect() for _ in range(5)]
    jobs = machine.server.broker.queue.jobs
    for _ in range(1500):
        who = random_.choice(people)
        type_, arguments = any_request(random_, machine)
        machine.ask(who, type_, *arguments)
        if random_.random() < 0.05:
            people.remove(who)
            machine.server.disconnect(who)
            people.append(machine.connect())
        if jobs and random_.random() < 0.02:
            machine.text(f"cancel job {random_.choice([*jobs]).decode()}")
        machine.pass_until(machine.now + random_.random())
        for name in machine.server.broker.queue.functions:
            of_it = [job for job in jobs.values() if job.function.name == name]
            running = [job for job in of_it if job.worker]
            assert machine.status(name)[:2] == [len(of_it), len(running)]
    for person in people:
        machine.server.disconnect(person)
    assert all(job.background for job in jobs.values())
    assert {job.row for job in jobs.values()} == set(journal.kept)
    machine.pass_until(machine.now + 10)
    last = machine.connect()
    for name in (b"a", b"b"):
        machine.ask(last, P.CAN_DO, name)
    while (assigned := machine.ask(last, P.GRAB_JOB)) != NO_JOB:
        machine.ask(last, P.WORK_COMPLETE, assigned[12:].split(b"\0")[0], b"")
    assert journal.kept == {}
    assert machine.status(b"a") == machine.status(b"b") == [0, 0, 1]


def test_hostile_bytes_are_answered_or_refused_and_nothing_else() -> None:
    random_ = random.Random(1)
    for _ in range(1000):
        machine = Machine()
        connection = machine.connect()
        data = bytearray(CONVERSATION)
        for _ in range(random_.randrange(1, 6)):
            data[random_.randrange(len(data))] = random_.randrange(256)
        try:
            machine.server.receive(connection, bytes(data), NOON, NOON)
        except ProtocolError:
            assert b"INVALID_PACKET" in connection.data_to_send()
        machine.server.disconnect(connection)
