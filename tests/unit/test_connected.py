"""A connection of the job server: the bytes that wait for it, and giving it up."""

from __future__ import annotations

from gearmanny.protocol.connected import ServerConnection, Unread
from gearmanny.protocol.packets import PacketType as P
from tests.unit.wire import response


def connected(limit: int = 1000) -> tuple[ServerConnection, Unread, dict[ServerConnection, None]]:
    ready: dict[ServerConnection, None] = {}
    unread = Unread(limit)
    return ServerConnection(1, "127.0.0.1", ready, unread), unread, ready


def test_bytes_are_sent_once_and_in_order() -> None:
    connection, unread, ready = connected()
    assert connection.data_to_send() == b""
    connection.send(P.ECHO_RES, b"a")
    connection.send_bytes(b"b", times=3)
    assert ready == {connection: None}
    assert connection.unread == unread.total > 0
    sent = b""
    while data := connection.data_to_send():
        sent += data
    assert sent == response(P.ECHO_RES, b"a") + b"bbb"
    assert connection.unread == unread.total == 0


def test_repeated_bytes_count_as_often_as_they_are_queued() -> None:
    once, thrice = connected()[0], connected()[0]
    for _ in range(3):
        once.send_bytes(b"ab", b"c")
    thrice.send_bytes(b"ab", b"c", times=3)
    assert thrice.unread == once.unread


def test_a_connection_over_the_limit_is_given_up() -> None:
    connection, unread, ready = connected(limit=500)
    connection.send_bytes(b"x" * 1000)
    assert not connection.deaf  # a single answer may have any size
    ready.clear()
    connection.send_bytes(b"y")
    assert connection.deaf
    assert connection in ready
    assert connection.data_to_send() == b""
    assert unread.total == 0
    connection.send_bytes(b"z")
    assert unread.total == 0


def test_a_sleeping_worker_is_woken_once() -> None:
    connection, _, _ = connected()
    connection.wake()
    assert connection.data_to_send() == b""
    connection.asleep = True
    connection.wake()
    connection.wake()
    assert connection.data_to_send() == response(P.NOOP)
