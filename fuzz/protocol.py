"""Feeds the protocol machines what nobody thought of: any bytes parse, or raise the one error.

    python -m fuzz.protocol -max_total_time=60 -dict=fuzz/words.dict

Needs atheris, in an environment of its own: `make fuzz`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

import atheris

with atheris.instrument_imports(include=["gearmanny"]):
    from gearmanny.errors import JobServerError, ProtocolError
    from gearmanny.payload.sizes import Oversized
    from gearmanny.protocol.admin import AdminConnection, parse_status, parse_worker
    from gearmanny.protocol.client import ClientConnection, Completed, Excepted, Failed, Rejected
    from gearmanny.protocol.parser import PacketParser
    from gearmanny.protocol.worker import Assigned, WorkerConnection

LIMIT = 256
"""Bytes: within reach of what a fuzzer makes up."""


def outcome(feed: Callable[[bytes], Iterable[Any]], parts: Iterable[bytes]) -> list[Any]:
    told: list[Any] = []
    try:
        for part in parts:
            for item in feed(part):
                told.append(item)
    except ProtocolError as error:
        told.append(str(error))
    return told


def try_parser(stream: bytes, size: int) -> None:
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    whole = outcome(PacketParser(LIMIT).feed, [stream])
    assert whole == outcome(PacketParser(LIMIT).feed, pieces)
    for packet in whole:
        if isinstance(packet, tuple):
            assert sum(map(len, packet[1])) <= LIMIT or isinstance(packet[1][-1], Oversized)


def try_client(stream: bytes, jobs: int) -> None:
    connection = ClientConnection(LIMIT)
    for job in range(jobs):
        connection.submit(job, b"f", b"{}")
    ended: list[Any] = []
    for item in outcome(connection.receive, [stream]):
        if isinstance(item, tuple) and isinstance(item[1], (Completed, Failed, Excepted, Rejected)):
            ended.append(item[0])
    assert sorted([*ended, *connection.unanswered()]) == list(range(jobs))


def try_worker(stream: bytes, asked: int) -> None:
    connection = WorkerConnection(LIMIT)
    connection.offer([b"f"])
    connection.grab(asked)
    jobs = [item for item in outcome(connection.receive, [stream]) if isinstance(item, Assigned)]
    assert len(jobs) == len(connection.held)
    assert 0 <= connection.asking <= asked - len(jobs)


def try_admin(answer: bytes, size: int) -> None:
    for read in (AdminConnection.receive_line, AdminConnection.receive_rows):
        connection = AdminConnection()
        with contextlib.suppress(JobServerError):
            for at in range(0, len(answer), size):
                read(connection, answer[at : at + size])
    for parse in (parse_status, parse_worker):
        with contextlib.suppress(ProtocolError):
            parse(answer.decode(errors="replace"))


TARGETS = (try_parser, try_client, try_worker, try_admin)


def try_one(data: bytes) -> None:
    """The first byte chooses the target, the second how the rest is cut, or how many jobs there
    are."""
    if len(data) >= 2:
        TARGETS[data[0] % len(TARGETS)](data[2:], data[1] % 32 + 1)


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
