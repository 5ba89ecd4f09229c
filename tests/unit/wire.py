"""Packets of a job server, for tests of the code that reads them."""

from __future__ import annotations

from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.client import ClientConnection
from gearmanny.protocol.packets import PacketType


def response(type: PacketType, *arguments: bytes) -> bytes:
    """Returns one packet of a job server, written independently of the library's own packing."""
    body = b"\0".join(arguments)
    return b"\0RES" + type.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


def request(type: PacketType, *arguments: bytes) -> bytes:
    """Returns one packet of a client or a worker."""
    return b"\0REQ" + response(type, *arguments)[4:]


OPTION_RES = response(PacketType.OPTION_RES, b"exceptions")


def created(handle: bytes) -> bytes:
    return response(PacketType.JOB_CREATED, handle)


def complete(handle: bytes, data: bytes = b"1") -> bytes:
    return response(PacketType.WORK_COMPLETE, handle, data)


def with_jobs(*, max_packet: int = MAX_PACKET, **handles: bytes) -> ClientConnection:
    """A connection on which each of these jobs was submitted and created."""
    connection = ClientConnection(max_packet)
    list(connection.receive(OPTION_RES))
    for job in handles:
        connection.submit(job, b"f", b"{}")
    list(connection.receive(b"".join(map(created, handles.values()))))
    connection.data_to_send()
    return connection
