"""The worker side of a connection: announcing and withdrawing functions.

gearmand counts a repeated CAN_DO as one more worker, and takes a job away from
the worker that withdraws its function with CANT_DO: the job then runs twice.
"""

from __future__ import annotations

import random

import pytest

from gearmanny.protocol.packets import PacketType
from gearmanny.protocol.worker import WorkerConnection
from tests.unit.test_protocol_worker import (
    COMPLETE,
    GRAB,
    JOB,
    NO_JOB,
    PRE_SLEEP,
    Doing,
    state_of,
    worker_in,
)
from tests.unit.wire import request


def can_do(function: bytes) -> bytes:
    return request(PacketType.CAN_DO, function)


def cant_do(function: bytes) -> bytes:
    return request(PacketType.CANT_DO, function)


def test_every_function_is_announced_once() -> None:
    worker = WorkerConnection()
    worker.offer([b"g", b"f", b"g"])
    worker.offer([b"f", b"g"])
    worker.offer({b"f", b"g", b"h"})
    assert worker.data_to_send() == can_do(b"f") + can_do(b"g") + can_do(b"h")


@pytest.mark.parametrize("state", Doing, ids=lambda state: state.name)
def test_a_new_function_is_announced_in_any_state(state: Doing) -> None:
    worker = worker_in(state, b"f")
    worker.offer([b"f", b"new"])
    assert worker.data_to_send() == can_do(b"new")
    # A sleeper is not called for jobs that wait for the new function already.
    assert state_of(worker) is (Doing.AWAKE if state is Doing.ASLEEP else state)


@pytest.mark.parametrize("state", [Doing.AWAKE, Doing.ASLEEP], ids=lambda state: state.name)
def test_what_is_offered_no_longer_is_withdrawn_at_once(state: Doing) -> None:
    worker = worker_in(state, b"f", b"g", b"h")
    worker.offer([b"g"])
    assert worker.data_to_send() == cant_do(b"f") + cant_do(b"h")
    worker.offer([b"g"])
    assert worker.data_to_send() == b""


def test_what_was_withdrawn_can_be_offered_again() -> None:
    worker = worker_in(Doing.AWAKE, b"f")
    worker.offer([])
    worker.offer([b"f"])
    assert worker.data_to_send() == cant_do(b"f") + can_do(b"f")


def test_a_withdrawal_waits_until_the_held_job_is_answered() -> None:
    worker = worker_in(Doing.HOLDING, b"f")
    worker.offer([])
    assert worker.data_to_send() == b""
    worker.complete(b"H:1", b"1")
    worker.grab()
    assert worker.data_to_send() == COMPLETE + cant_do(b"f") + GRAB


def test_a_withdrawal_waits_while_a_job_may_be_on_its_way() -> None:
    worker = worker_in(Doing.ASKING, b"f")
    worker.offer([])
    assert worker.data_to_send() == b""
    list(worker.receive(JOB))
    assert worker.data_to_send() == b""
    worker.complete(b"H:1", b"1")
    assert worker.data_to_send() == COMPLETE + cant_do(b"f")


def test_a_withdrawal_that_waited_is_sent_when_there_was_no_job() -> None:
    worker = worker_in(Doing.ASKING, b"f")
    worker.offer([])
    assert worker.data_to_send() == b""
    list(worker.receive(NO_JOB))
    assert worker.data_to_send() in (cant_do(b"f") + PRE_SLEEP, PRE_SLEEP + cant_do(b"f"))


def test_a_withdrawal_that_was_taken_back_is_not_sent() -> None:
    worker = worker_in(Doing.HOLDING, b"f")
    worker.offer([])
    worker.offer([b"f"])
    assert worker.data_to_send() == b""  # it is still announced
    worker.complete(b"H:1", b"1")
    assert worker.data_to_send() == COMPLETE


def test_the_server_knows_what_is_offered_whatever_was_changed_when() -> None:
    random_ = random.Random(42)
    functions = [b"e", b"f", b"g"]
    for _ in range(300):
        worker = WorkerConnection()
        known = dict.fromkeys(functions, 0)
        offered: set[bytes] = set()
        for _ in range(20):
            match random_.randrange(4):
                case 0:
                    offered = set(random_.sample(functions, random_.randrange(4)))
                    worker.offer(offered)
                case 1:
                    worker.grab()
                case 2 if state_of(worker) is Doing.ASKING:
                    list(worker.receive(random_.choice([JOB, NO_JOB]) if known[b"f"] else NO_JOB))
                case 3:
                    worker.complete(b"H:1", b"1")
                    worker.wake()
            sent = worker.data_to_send()
            for function in functions:
                known[function] += sent.count(can_do(function)) - sent.count(cant_do(function))
            assert set(known.values()) <= {0, 1}
            if not worker.asking and not worker.held:
                assert {function for function, count in known.items() if count} == offered
