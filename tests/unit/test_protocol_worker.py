"""The worker side of a connection: its states, what it offers, and its answers."""

from __future__ import annotations

import enum
from collections.abc import Callable

import pytest

from gearmanny.errors import ProtocolError
from gearmanny.protocol.packets import PacketType
from gearmanny.protocol.worker import Assigned, Refused, WorkerConnection
from tests.unit.wire import request, response

JOB = response(PacketType.JOB_ASSIGN_UNIQ, b"H:1", b"f", b"key", b"a\0b")
NO_JOB = response(PacketType.NO_JOB)
NOOP = response(PacketType.NOOP)
GRAB = request(PacketType.GRAB_JOB_UNIQ)
PRE_SLEEP = request(PacketType.PRE_SLEEP)
COMPLETE = request(PacketType.WORK_COMPLETE, b"H:1", b"1")

Answer = Callable[[WorkerConnection], None]

ANSWERS: dict[str, tuple[Answer, bytes]] = {
    "complete": (lambda worker: worker.complete(b"H:1", b"1"), COMPLETE),
    "fail": (lambda worker: worker.fail(b"H:1"), request(PacketType.WORK_FAIL, b"H:1")),
    "raise": (
        lambda worker: worker.raise_(b"H:1", b"e"),
        request(PacketType.WORK_EXCEPTION, b"H:1", b"e"),
    ),
}
UPDATES: dict[str, tuple[Answer, bytes]] = {
    "status": (
        lambda worker: worker.send_status(b"H:1", b"1", b"2"),
        request(PacketType.WORK_STATUS, b"H:1", b"1", b"2"),
    ),
    "data": (
        lambda worker: worker.send_data(b"H:1", b"d\0"),
        request(PacketType.WORK_DATA, b"H:1", b"d\0"),
    ),
    "warning": (
        lambda worker: worker.send_warning(b"H:1", b"w"),
        request(PacketType.WORK_WARNING, b"H:1", b"w"),
    ),
}

answers = pytest.mark.parametrize(("answer", "packet"), ANSWERS.values(), ids=ANSWERS)
updates = pytest.mark.parametrize(("update", "packet"), UPDATES.values(), ids=UPDATES)


class Doing(enum.Enum):
    """A worker that asks for one job at a time."""

    AWAKE = enum.auto()
    ASKING = enum.auto()
    HOLDING = enum.auto()
    ASLEEP = enum.auto()


def state_of(worker: WorkerConnection) -> Doing:
    if worker.held:
        return Doing.HOLDING
    return Doing.ASKING if worker.asking else Doing[worker.state.name]


every_state = pytest.mark.parametrize("state", Doing, ids=lambda state: state.name)


def worker_in(state: Doing, *functions: bytes) -> WorkerConnection:
    """A connection in that state, offering these functions, with nothing left to be sent."""
    worker = WorkerConnection()
    worker.offer(functions or (b"f",))
    if state is not Doing.AWAKE:
        worker.grab()
    if state is Doing.HOLDING:
        list(worker.receive(JOB))
    elif state is Doing.ASLEEP:
        list(worker.receive(NO_JOB))
    worker.data_to_send()
    assert state_of(worker) is state
    return worker


def test_a_worker_begins_awake_with_nothing_to_say() -> None:
    worker = WorkerConnection()
    assert state_of(worker) is Doing.AWAKE
    assert worker.data_to_send() == b""


def test_grabbing_asks_for_a_job() -> None:
    worker = worker_in(Doing.AWAKE)
    worker.grab()
    assert state_of(worker) is Doing.ASKING
    assert worker.data_to_send() == GRAB


def test_who_sleeps_does_not_grab() -> None:
    worker = worker_in(Doing.ASLEEP)
    worker.grab()
    assert state_of(worker) is Doing.ASLEEP
    assert worker.data_to_send() == b""


def test_several_jobs_may_be_asked_for_and_held_at_once() -> None:
    worker = worker_in(Doing.AWAKE)
    worker.grab(3)
    assert worker.data_to_send() == GRAB * 3
    second = JOB.replace(b"H:1", b"H:2")
    assert [event.handle for event in worker.receive(JOB + second)] == [b"H:1", b"H:2"]
    assert (worker.asking, worker.held) == (1, {b"H:1", b"H:2"})
    worker.complete(b"H:2", b"1")
    worker.grab()
    assert worker.data_to_send() == COMPLETE.replace(b"H:1", b"H:2") + GRAB
    assert (worker.asking, worker.held) == (2, {b"H:1"})


def test_sleep_follows_the_answer_to_the_last_question() -> None:
    worker = worker_in(Doing.AWAKE)
    worker.grab(3)
    worker.data_to_send()
    list(worker.receive(NO_JOB + JOB))
    worker.grab()
    assert worker.data_to_send() == b"", "asked on, although there was no job"
    list(worker.receive(NO_JOB))
    assert worker.data_to_send() == PRE_SLEEP
    list(worker.receive(NOOP))
    worker.grab(2)
    assert worker.data_to_send() == GRAB * 2


def test_a_job_is_held_once_it_is_assigned() -> None:
    worker = worker_in(Doing.ASKING)
    assert list(worker.receive(JOB)) == [Assigned(b"H:1", b"f", b"key", b"a\0b")]
    assert state_of(worker) is Doing.HOLDING
    assert worker.data_to_send() == b""


def test_without_a_job_the_worker_says_that_it_sleeps() -> None:
    worker = worker_in(Doing.ASKING)
    assert list(worker.receive(NO_JOB)) == []
    assert state_of(worker) is Doing.ASLEEP
    assert worker.data_to_send() == PRE_SLEEP


@every_state
def test_a_call_wakes_only_who_sleeps(state: Doing) -> None:
    worker = worker_in(state)
    assert list(worker.receive(NOOP * 3)) == []
    assert state_of(worker) is (Doing.AWAKE if state is Doing.ASLEEP else state)
    assert worker.data_to_send() == b""


@every_state
def test_a_worker_can_wake_up_by_itself(state: Doing) -> None:
    worker = worker_in(state)
    worker.wake()
    assert state_of(worker) is (Doing.AWAKE if state is Doing.ASLEEP else state)


@answers
def test_an_answer_makes_the_worker_free_for_the_next_job(answer: Answer, packet: bytes) -> None:
    worker = worker_in(Doing.HOLDING)
    answer(worker)
    assert state_of(worker) is Doing.AWAKE
    worker.grab()
    assert worker.data_to_send() == packet + GRAB


@answers
def test_a_second_answer_is_not_sent(answer: Answer, packet: bytes) -> None:
    worker = worker_in(Doing.HOLDING)
    worker.complete(b"H:1", b"1")
    answer(worker)
    assert worker.data_to_send() == COMPLETE


@answers
@pytest.mark.parametrize("state", [Doing.AWAKE, Doing.ASKING, Doing.ASLEEP])
def test_who_holds_no_job_answers_none(state: Doing, answer: Answer, packet: bytes) -> None:
    worker = worker_in(state)
    answer(worker)
    assert state_of(worker) is state
    assert worker.data_to_send() == b""


@answers
def test_an_answer_to_an_earlier_job_does_not_answer_this_one(
    answer: Answer, packet: bytes
) -> None:
    worker = worker_in(Doing.HOLDING)
    worker.complete(b"H:1", b"1")
    worker.grab()
    list(worker.receive(response(PacketType.JOB_ASSIGN_UNIQ, b"H:2", b"f", b"", b"")))
    worker.data_to_send()
    answer(worker)
    assert state_of(worker) is Doing.HOLDING
    assert worker.data_to_send() == b""


@updates
def test_updates_leave_the_job_held(update: Answer, packet: bytes) -> None:
    worker = worker_in(Doing.HOLDING)
    update(worker)
    update(worker)
    assert state_of(worker) is Doing.HOLDING
    assert worker.data_to_send() == packet * 2


@updates
def test_updates_of_an_answered_job_are_not_sent(update: Answer, packet: bytes) -> None:
    worker = worker_in(Doing.HOLDING)
    worker.fail(b"H:1")
    worker.data_to_send()
    update(worker)
    assert worker.data_to_send() == b""


@updates
@pytest.mark.parametrize("state", [Doing.AWAKE, Doing.ASKING, Doing.ASLEEP])
def test_who_holds_no_job_reports_on_none(state: Doing, update: Answer, packet: bytes) -> None:
    worker = worker_in(state)
    update(worker)
    assert worker.data_to_send() == b""


def test_a_failure_with_its_reason_is_a_warning_before_a_failure() -> None:
    worker = worker_in(Doing.HOLDING)
    worker.send_warning(b"H:1", b"why")
    worker.fail(b"H:1")
    assert worker.data_to_send() == (
        request(PacketType.WORK_WARNING, b"H:1", b"why") + request(PacketType.WORK_FAIL, b"H:1")
    )


@every_state
def test_a_refusal_is_told_and_changes_nothing(state: Doing) -> None:
    worker = worker_in(state)
    refusal = response(PacketType.ERROR, b"JOB_NOT_FOUND", b"Job given in work result not found")
    assert list(worker.receive(refusal)) == [
        Refused(b"JOB_NOT_FOUND", b"Job given in work result not found")
    ]
    assert state_of(worker) is state
    assert worker.data_to_send() == b""


FOR_CLIENTS = [
    response(PacketType.JOB_CREATED, b"H:1"),
    response(PacketType.WORK_COMPLETE, b"H:1", b"1"),
    response(PacketType.OPTION_RES, b"exceptions"),
    b"HTTP/1.1 400 Bad Request\r\n",
]


@pytest.mark.parametrize(
    ("state", "packet"),
    [
        *((state, packet) for state in Doing for packet in FOR_CLIENTS),
        *((state, JOB) for state in Doing if state is not Doing.ASKING),
        *((state, NO_JOB) for state in Doing if state is not Doing.ASKING),
    ],
)
def test_an_illegal_packet_raises_and_changes_nothing(state: Doing, packet: bytes) -> None:
    worker = worker_in(state)
    with pytest.raises(ProtocolError):
        list(worker.receive(packet))
    assert state_of(worker) is state
    assert worker.data_to_send() == b""
    worker.complete(b"H:1", b"1")
    assert worker.data_to_send() == (COMPLETE if state is Doing.HOLDING else b"")


def test_a_job_for_a_function_that_was_never_offered_is_illegal() -> None:
    worker = worker_in(Doing.ASKING, b"g")
    with pytest.raises(ProtocolError, match="b'f', which we never offered"):
        list(worker.receive(JOB))
    assert state_of(worker) is Doing.ASKING


def test_the_client_id_is_sent_as_it_is() -> None:
    worker = WorkerConnection()
    worker.set_client_id(b"wk 1 with space")
    assert worker.data_to_send() == request(PacketType.SET_CLIENT_ID, b"wk 1 with space")


def called_in_vain(worker: WorkerConnection, times: int) -> None:
    for _ in range(times):
        list(worker.receive(NOOP))
        worker.grab()
        list(worker.receive(NO_JOB))


def test_calls_that_bring_no_job_are_counted_until_one_does() -> None:
    worker = worker_in(Doing.ASLEEP)
    called_in_vain(worker, 3)
    assert worker.empty_calls == 3
    list(worker.receive(NOOP))
    worker.grab()
    list(worker.receive(JOB))
    assert worker.empty_calls == 0


def test_who_looks_without_a_call_was_not_called_in_vain() -> None:
    worker = worker_in(Doing.ASLEEP)
    for _ in range(3):
        worker.wake()
        worker.grab()
        list(worker.receive(NO_JOB))
    assert worker.empty_calls == 0


def test_a_call_is_in_vain_once_however_many_jobs_were_asked_for() -> None:
    worker = worker_in(Doing.ASLEEP)
    list(worker.receive(NOOP))
    worker.grab(3)
    list(worker.receive(NO_JOB * 3))
    assert worker.empty_calls == 1


def test_a_job_that_we_hold_already_is_illegal() -> None:
    worker = worker_in(Doing.HOLDING)
    worker.grab()
    with pytest.raises(ProtocolError, match="which we hold already"):
        list(worker.receive(JOB))
    assert (worker.asking, worker.held) == (1, {b"H:1"})


@pytest.mark.parametrize("name", [b"a\0b", b"f" * 513], ids=["NUL", "513 bytes"])
def test_a_name_that_no_function_can_have_is_not_offered(name: bytes) -> None:
    worker = WorkerConnection()
    with pytest.raises(ValueError, match="name of a Gearman function has at most 512, and no NUL"):
        worker.offer([b"f", name])
    assert worker.data_to_send() == b""
    worker.offer([b"f" * 512])
    assert worker.data_to_send() == request(PacketType.CAN_DO, b"f" * 512)
