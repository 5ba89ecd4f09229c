"""The requests of clients and workers to a job server, by packet type."""

from __future__ import annotations

import re
from collections.abc import Callable

from gearmanny.payload.sizes import Oversized
from gearmanny.protocol.broker import Broker
from gearmanny.protocol.connected import ServerConnection
from gearmanny.protocol.packets import RESPONSE, PacketType, pack
from gearmanny.protocol.queue import HIGH, LOW, NORMAL, Job
from gearmanny.protocol.room import Refusal
from gearmanny.protocol.server_admin import TextCommands

_LONGEST_UNIQUE = 63
"""Bytes of a unique key: gearmand 1.1.20 corrupts jobs with a longer one."""

_LONGEST_CLIENT_ID = 127
"""Bytes. Longer ids are truncated."""

_LONGEST_PROGRESS = 64
"""Bytes of each of the two numbers of a WORK_STATUS."""

_LONGEST_ANSWERS = 1024 * 1024
"""Unread bytes with which a connection gets no more answers to text commands, which are much longer
than the commands."""

_LARGEST_NUMBER = 2**62
"""Larger numbers are treated as this one."""

_NO_JOB = b"".join(pack(PacketType.NO_JOB, magic=RESPONSE))

_SUBMISSIONS: dict[int, tuple[int, bool]] = {
    PacketType.SUBMIT_JOB: (NORMAL, False),
    PacketType.SUBMIT_JOB_BG: (NORMAL, True),
    PacketType.SUBMIT_JOB_HIGH: (HIGH, False),
    PacketType.SUBMIT_JOB_HIGH_BG: (HIGH, True),
    PacketType.SUBMIT_JOB_LOW: (LOW, False),
    PacketType.SUBMIT_JOB_LOW_BG: (LOW, True),
}
"""The priority of each kind of submission, and whether it makes a background job."""

_BEGINNING_NUMBER = re.compile(rb"\s*([+-]?[0-9]{1,100})")

Handler = Callable[[ServerConnection, int, list[bytes]], None]


class Requests:
    """Handles the requests of all connections."""

    def __init__(self, broker: Broker, commands: TextCommands, max_unread: int) -> None:
        """
        Args:
            broker: the jobs and connections.
            commands: answers text commands.
            max_unread: bytes that one connection may leave unread before it is given up.
        """
        self.wall_time = 0.0
        """The current time, in seconds since the epoch."""
        self.clock = 0.0
        """The current time, in seconds by the monotonic clock."""
        self._broker = broker
        self._commands = commands
        self._max_unread = max_unread
        self.handlers: dict[int, Handler] = {
            **dict.fromkeys(_SUBMISSIONS, self._submit),
            PacketType.SUBMIT_JOB_EPOCH: self._submit_epoch,
            PacketType.GRAB_JOB: self._grab,
            PacketType.GRAB_JOB_UNIQ: self._grab,
            PacketType.GRAB_JOB_ALL: self._grab,
            PacketType.PRE_SLEEP: self._pre_sleep,
            PacketType.WORK_STATUS: self._update,
            PacketType.WORK_DATA: self._update,
            PacketType.WORK_WARNING: self._update,
            PacketType.WORK_COMPLETE: self._answer,
            PacketType.WORK_FAIL: self._answer,
            PacketType.WORK_EXCEPTION: self._answer,
            PacketType.CAN_DO: self._can_do,
            PacketType.CAN_DO_TIMEOUT: self._can_do,
            PacketType.CANT_DO: self._cant_do,
            PacketType.RESET_ABILITIES: self._reset_abilities,
            PacketType.SET_CLIENT_ID: self._set_client_id,
            PacketType.GET_STATUS: self._get_status,
            PacketType.GET_STATUS_UNIQUE: self._get_status_unique,
            PacketType.OPTION_REQ: self._option,
            PacketType.ECHO_REQ: self._echo,
            PacketType.TEXT: self._text,
        }
        """The handler of each type of packet. It may raise `Refusal`."""

    def refuse_payload(
        self, connection: ServerConnection, type: int, handle: bytes, payload: Oversized
    ) -> None:
        """Refuses a packet whose payload was discarded; if it was a result, the job fails.

        Args:
            connection: the connection that sent the packet.
            type: the type of the packet.
            handle: its first argument.
            payload: the reason.
        """
        text = f"The payload is too large: {payload.reason()}."
        refuse(connection, b"ARGUMENT_TOO_LARGE", text.encode())
        job = connection.held.get(handle)
        if job is not None and type in (PacketType.WORK_COMPLETE, PacketType.WORK_EXCEPTION):
            self._broker.answer(job, PacketType.WORK_FAIL, handle)

    def _submit(self, connection: ServerConnection, type: int, arguments: list[bytes]) -> None:
        function, unique, data = arguments
        priority, background = _SUBMISSIONS[type]
        self._accept(connection, function, unique, data, priority, background)

    def _submit_epoch(
        self, connection: ServerConnection, type: int, arguments: list[bytes]
    ) -> None:
        function, unique, epoch, data = arguments
        due = _number(epoch)
        self._accept(
            connection,
            function,
            unique,
            data,
            NORMAL,
            True,
            float(due) if due > self.wall_time else 0.0,
        )

    def _accept(
        self,
        connection: ServerConnection,
        name: bytes,
        unique: bytes,
        data: bytes,
        priority: int,
        background: bool,
        due: float = 0.0,
    ) -> None:
        if len(unique) > _LONGEST_UNIQUE:
            refuse(connection, b"ARGUMENT_TOO_LARGE", b"Unique value too large")
            return
        job = self._broker.submit(
            connection,
            self._broker.queue.function(name),
            unique,
            data,
            priority,
            background=background,
            due=due,
        )
        connection.send(PacketType.JOB_CREATED, job.handle)

    def _grab(self, worker: ServerConnection, type: int, arguments: list[bytes]) -> None:
        job = self._broker.take(worker, self.clock)
        if job is None:
            worker.send_bytes(_NO_JOB)
        elif type == PacketType.GRAB_JOB:
            worker.send(PacketType.JOB_ASSIGN, job.handle, job.function.name, job.data)
        else:
            # Also for GRAB_JOB_ALL: JOB_ASSIGN_ALL is for jobs with a reducer.
            worker.send(
                PacketType.JOB_ASSIGN_UNIQ, job.handle, job.function.name, job.unique, job.data
            )

    def _pre_sleep(self, worker: ServerConnection, type: int, arguments: list[bytes]) -> None:
        self._broker.sleep(worker)

    def _update(self, worker: ServerConnection, type: int, arguments: list[bytes]) -> None:
        job = _held(worker, arguments[0])
        if job is not None:
            if type == PacketType.WORK_STATUS:
                _, done, total = arguments
                if max(len(done), len(total)) > _LONGEST_PROGRESS:
                    raise Refusal(b"ARGUMENT_TOO_LARGE", b"Progress value too large")
                job.done, job.total = done, total
            self._broker.tell(job, PacketType(type), *arguments)

    def _answer(self, worker: ServerConnection, type: int, arguments: list[bytes]) -> None:
        job = _held(worker, arguments[0])
        if job is not None:
            self._broker.answer(job, PacketType(type), *arguments)

    def _can_do(self, worker: ServerConnection, type: int, arguments: list[bytes]) -> None:
        milliseconds = _number(arguments[1]) if type == PacketType.CAN_DO_TIMEOUT else 0
        function = self._broker.queue.function(arguments[0])
        self._broker.offer(worker, function, max(0, milliseconds) / 1000)

    def _cant_do(self, worker: ServerConnection, type: int, arguments: list[bytes]) -> None:
        function = self._broker.queue.functions.get(arguments[0])
        if function is not None:
            self._broker.withdraw(worker, [function])

    def _reset_abilities(self, worker: ServerConnection, type: int, arguments: list[bytes]) -> None:
        self._broker.withdraw(worker, list(worker.offered))

    def _set_client_id(
        self, connection: ServerConnection, type: int, arguments: list[bytes]
    ) -> None:
        connection.client_id = arguments[0][:_LONGEST_CLIENT_ID]

    def _get_status(self, connection: ServerConnection, type: int, arguments: list[bytes]) -> None:
        job = self._broker.queue.jobs.get(arguments[0])
        connection.send(PacketType.STATUS_RES, arguments[0], *_progress(job))

    def _get_status_unique(
        self, connection: ServerConnection, type: int, arguments: list[bytes]
    ) -> None:
        job = self._broker.queue.find_unique(arguments[0])
        clients = b"%d" % sum(job.submitters.values()) if job else b"0"
        connection.send(PacketType.STATUS_RES_UNIQUE, arguments[0], *_progress(job), clients)

    def _option(self, connection: ServerConnection, type: int, arguments: list[bytes]) -> None:
        if arguments[0] == b"exceptions":
            connection.wants_exceptions = True
            connection.send(PacketType.OPTION_RES, arguments[0])
        else:
            refuse(connection, b"UNKNOWN_OPTION", b"Server does not recognize given option")

    def _echo(self, connection: ServerConnection, type: int, arguments: list[bytes]) -> None:
        connection.send(PacketType.ECHO_RES, arguments[0])

    def _text(self, connection: ServerConnection, type: int, arguments: list[bytes]) -> None:
        if connection.unread > min(_LONGEST_ANSWERS, self._max_unread):
            connection.give_up()
        else:
            connection.send_bytes(self._commands.answer(arguments[0]))


def refuse(connection: ServerConnection, code: bytes, text: bytes) -> None:
    """Queues an ERROR packet.

    Args:
        connection: the connection that it is for.
        code: the code, such as `b"QUEUE_ERROR"`.
        text: the reason.
    """
    connection.send(PacketType.ERROR, code, text)


def _held(worker: ServerConnection, handle: bytes) -> Job | None:
    """Returns a job that the worker holds, or None after refusing the packet."""
    job = worker.held.get(handle)
    if job is None:
        refuse(worker, b"JOB_NOT_FOUND", b"Job given in work result not found")
    return job


def _progress(job: Job | None) -> tuple[bytes, bytes, bytes, bytes]:
    if job is None:
        return b"0", b"0", b"0", b"0"
    return b"1", b"0" if job.worker is None else b"1", job.done, job.total


def _number(text: bytes) -> int:
    """Returns the integer at the beginning of a text, or 0: `1.5` is read as 1, as by gearmand."""
    found = _BEGINNING_NUMBER.match(text)
    return min(int(found[1]), _LARGEST_NUMBER) if found else 0
