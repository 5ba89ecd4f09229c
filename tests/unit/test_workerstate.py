"""The states of the worker side of a connection: its table, and the ways through it."""

from __future__ import annotations

import pytest

from gearmanny.errors import ProtocolError
from gearmanny.protocol import workerstate
from gearmanny.protocol.packets import PacketType
from gearmanny.protocol.worker import WorkerConnection
from gearmanny.protocol.workerstate import TRANSITIONS, Input, State
from tests.unit.wire import request, response

NO_JOB = response(PacketType.NO_JOB)
NOOP = response(PacketType.NOOP)
PRE_SLEEP = request(PacketType.PRE_SLEEP)


def job(number: int) -> bytes:
    return response(PacketType.JOB_ASSIGN_UNIQ, b"H:%d" % number, b"f", b"", b"")


def drawn() -> dict[State, dict[Input, State]]:
    """The table that the docstring of the module draws."""
    assert workerstate.__doc__
    lines = [line.split() for line in workerstate.__doc__.splitlines()]
    head = next(line for line in lines if line[:1] == ["state"])
    rows = [line for line in lines if line and line[0] in State.__members__ and len(line) == 7]
    return {
        State[state]: {
            Input[input]: State[after]
            for input, after in zip(head[1:], cells, strict=True)
            if after != "-"
        }
        for state, *cells in rows
    }


def test_the_table_in_the_docstring_is_the_table() -> None:
    assert drawn() == TRANSITIONS


def worker_in(state: State) -> WorkerConnection:
    """A connection in that state which has two questions under way where it has any."""
    connection = WorkerConnection()
    connection.offer([b"f"])
    if state is not State.AWAKE:
        connection.grab(3 if state is State.DRAINING else 2)
    if state in (State.DRAINING, State.ASLEEP):
        list(connection.receive(NO_JOB if state is State.DRAINING else NO_JOB * 2))
    connection.data_to_send()
    assert connection.state is state
    return connection


def happens(connection: WorkerConnection, input: Input) -> None:
    match input:
        case Input.ASK:
            connection.grab()
        case Input.CALL:
            list(connection.receive(NOOP))
        case Input.JOB:
            list(connection.receive(job(1)))
        case Input.LAST_JOB:
            list(connection.receive(job(1) + job(2)))
        case Input.NO_JOB:
            list(connection.receive(NO_JOB))
        case Input.LAST_NO_JOB:
            list(connection.receive(job(1) + NO_JOB))


@pytest.mark.parametrize(
    ("state", "input", "after"),
    [(state, input, after) for state, row in TRANSITIONS.items() for input, after in row.items()],
    ids=lambda value: value.name,
)
def test_every_transition_is_made(state: State, input: Input, after: State) -> None:
    connection = worker_in(state)
    happens(connection, input)
    assert connection.state is after
    asleep = after is State.ASLEEP and state is not State.ASLEEP
    assert (connection.data_to_send() == PRE_SLEEP) is asleep


@pytest.mark.parametrize("state", [State.AWAKE, State.ASLEEP], ids=lambda state: state.name)
@pytest.mark.parametrize("packet", [job(1), NO_JOB], ids=["job", "no job"])
def test_an_answer_to_no_question_is_an_error(state: State, packet: bytes) -> None:
    connection = worker_in(state)
    with pytest.raises(ProtocolError, match="but we asked for no job"):
        list(connection.receive(packet))
    assert connection.state is state


@pytest.mark.parametrize("state", [State.DRAINING, State.ASLEEP], ids=lambda state: state.name)
def test_nothing_is_asked_after_there_was_no_job(state: State) -> None:
    connection = worker_in(state)
    asking = connection.asking
    connection.grab()
    assert (connection.state, connection.asking) == (state, asking)
    assert connection.data_to_send() == b""


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_held_jobs_change_no_state(state: State) -> None:
    connection = worker_in(state)
    connection.held.add(b"H:9")
    connection.complete(b"H:9", b"1")
    assert connection.state is state


def test_jobs_one_by_one_take_one_send_each() -> None:
    connection = worker_in(State.AWAKE)
    sent = []
    for number in range(3):
        connection.wake()
        connection.grab()
        connection.data_to_send()
        list(connection.receive(job(number)))
        connection.complete(b"H:%d" % number, b"1")
        connection.data_to_send()
        connection.grab()
        sent.append(bytes(connection.data_to_send()))
        list(connection.receive(NO_JOB))
        sent.append(bytes(connection.data_to_send()))
    grab = request(PacketType.GRAB_JOB_UNIQ)
    assert sent == [grab, PRE_SLEEP, grab + PRE_SLEEP, b"", grab + PRE_SLEEP, b""]
