"""Binary packets: their types and arguments, and packing.

A packet is a 12-byte header (magic, u32 type, u32 body length, big-endian)
and a body of arguments separated by NUL. The last argument is the rest of the
body and may contain NULs itself, so a body is split exactly as often as its
type has separators.
"""

from __future__ import annotations

import enum
import struct

REQUEST = b"\0REQ"
"""Magic of the packets that clients and workers send."""
RESPONSE = b"\0RES"
"""Magic of the packets that the job server sends."""

HEADER = struct.Struct(">4sII")


class PacketType(enum.IntEnum):
    """The packet types of gearmand 1.1.20 (its PROTOCOL file)."""

    TEXT = 0
    """A text command, which may be sent between requests. Not a type on the wire."""
    CAN_DO = 1
    CANT_DO = 2
    RESET_ABILITIES = 3
    PRE_SLEEP = 4
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    ECHO_REQ = 16
    ECHO_RES = 17
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    CAN_DO_TIMEOUT = 23
    ALL_YOURS = 24
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31
    SUBMIT_JOB_HIGH_BG = 32
    SUBMIT_JOB_LOW = 33
    SUBMIT_JOB_LOW_BG = 34
    SUBMIT_JOB_SCHED = 35
    SUBMIT_JOB_EPOCH = 36
    SUBMIT_REDUCE_JOB = 37
    SUBMIT_REDUCE_JOB_BACKGROUND = 38
    GRAB_JOB_ALL = 39
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42


_WORK_SEPARATORS = {
    PacketType.WORK_STATUS: 2,
    PacketType.WORK_COMPLETE: 1,
    PacketType.WORK_FAIL: 0,
    PacketType.WORK_EXCEPTION: 1,
    PacketType.WORK_DATA: 1,
    PacketType.WORK_WARNING: 1,
}
"""NULs between the arguments of each packet that a job server forwards from worker to client."""

RESPONSES = {
    **_WORK_SEPARATORS,
    PacketType.NOOP: 0,
    PacketType.JOB_CREATED: 0,
    PacketType.NO_JOB: 0,
    PacketType.ERROR: 1,
    PacketType.STATUS_RES: 4,
    PacketType.OPTION_RES: 0,
    PacketType.JOB_ASSIGN_UNIQ: 3,
    PacketType.STATUS_RES_UNIQUE: 5,
}
"""NULs between the arguments of each packet that a job server sends."""

REQUESTS = {
    **_WORK_SEPARATORS,
    PacketType.CAN_DO: 0,
    PacketType.CANT_DO: 0,
    PacketType.RESET_ABILITIES: 0,
    PacketType.PRE_SLEEP: 0,
    PacketType.SUBMIT_JOB: 2,
    PacketType.GRAB_JOB: 0,
    PacketType.GET_STATUS: 0,
    PacketType.ECHO_REQ: 0,
    PacketType.SUBMIT_JOB_BG: 2,
    PacketType.SUBMIT_JOB_HIGH: 2,
    PacketType.SET_CLIENT_ID: 0,
    PacketType.CAN_DO_TIMEOUT: 1,
    PacketType.ALL_YOURS: 0,
    PacketType.OPTION_REQ: 0,
    PacketType.GRAB_JOB_UNIQ: 0,
    PacketType.SUBMIT_JOB_HIGH_BG: 2,
    PacketType.SUBMIT_JOB_LOW: 2,
    PacketType.SUBMIT_JOB_LOW_BG: 2,
    PacketType.SUBMIT_JOB_SCHED: 0,
    PacketType.SUBMIT_JOB_EPOCH: 3,
    PacketType.SUBMIT_REDUCE_JOB: 0,
    PacketType.SUBMIT_REDUCE_JOB_BACKGROUND: 0,
    PacketType.GRAB_JOB_ALL: 0,
    PacketType.GET_STATUS_UNIQUE: 0,
}
"""NULs between the arguments of each packet that a job server receives. 0 for those that it does
not support and answers with an ERROR."""

WITH_PAYLOAD = {
    PacketType.WORK_COMPLETE,
    PacketType.WORK_EXCEPTION,
    PacketType.WORK_DATA,
    PacketType.WORK_WARNING,
    PacketType.JOB_ASSIGN_UNIQ,
    PacketType.SUBMIT_JOB,
    PacketType.SUBMIT_JOB_BG,
    PacketType.SUBMIT_JOB_HIGH,
    PacketType.SUBMIT_JOB_HIGH_BG,
    PacketType.SUBMIT_JOB_LOW,
    PacketType.SUBMIT_JOB_LOW_BG,
    PacketType.SUBMIT_JOB_EPOCH,
}
"""Packets with a payload. One of these over the limit is the fault of a single job or caller, and
only that one fails; any other packet over the limit is the fault of the peer."""


def pack(type: PacketType, *arguments: bytes, magic: bytes = REQUEST) -> tuple[bytes, bytes]:
    """Packs a packet.

    Args:
        type: its type.
        arguments: its arguments. Only the last may contain NULs.
        magic: `REQUEST` or `RESPONSE`.

    Returns:
        The bytes in two parts: everything before the last argument, and the last argument itself,
        which is not copied because it may be large.
    """
    *names, last = arguments or (b"",)
    prefix = b"\0".join((*names, b""))
    return HEADER.pack(magic, type, len(prefix) + len(last)) + prefix, last
