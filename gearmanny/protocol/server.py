"""The protocol machine of a job server: bytes of each connection in, bytes for each connection out.

It does what gearmand 1.1.20 does for clients and workers, without its bugs:
`docs/embedded.md` lists the differences. Its driver passes in the bytes that
arrive and the current time, and sends what the connections in `ready` have
queued.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gearmanny.errors import ProtocolError
from gearmanny.payload.sizes import MAX_PACKET, Oversized
from gearmanny.protocol.broker import Broker, Journal, ServerConnection
from gearmanny.protocol.outgoing import Data
from gearmanny.protocol.packets import (
    REQUEST,
    RESPONSE,
    PacketParser,
    PacketType,
    pack,
)
from gearmanny.protocol.queue import HIGH, LOW, NORMAL, Job
from gearmanny.protocol.server_admin import TextCommands

_LONGEST_UNIQUE = 63
"""Bytes of a unique key: gearmand 1.1.20 corrupts jobs with a longer one."""

_LONGEST_CLIENT_ID = 127
"""Bytes. Longer ids are truncated."""

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

_Handler = Callable[[ServerConnection, int, list[bytes], float], None]


class Server:
    """A job server without sockets, threads or a clock."""

    def __init__(
        self,
        prefix: bytes,
        *,
        version: str,
        pid: int,
        journal: Journal | None = None,
        max_packet: int = MAX_PACKET,
    ) -> None:
        """
        Args:
            prefix: the beginning of every handle, such as `b"H:myhost"`.
            version: the answer to the command `version`.
            pid: the answer to the command `getpid`.
            journal: stores background jobs; without one, they are lost when the server ends.
            max_packet: the longest body to accept, in bytes.
        """
        self.broker = Broker(prefix, journal)
        self.ready = self.broker.ready
        """Connections that have something new to send, in order. The driver clears it."""
        self._commands = TextCommands(self.broker, version, pid)
        self._max_packet = max_packet
        self._parsers: dict[ServerConnection, PacketParser] = {}
        self._handlers: dict[int, _Handler] = {
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

    def connect(self, number: int, address: str) -> ServerConnection:
        """Returns a new connection.

        Args:
            number: its number in the answer to the command `workers`.
            address: the address of the peer.
        """
        connection = self.broker.connect(number, address)
        self._parsers[connection] = PacketParser(self._max_packet, magic=REQUEST)
        return connection

    def disconnect(self, connection: ServerConnection) -> None:
        """Forgets a connection that has ended.

        Args:
            connection: the connection.
        """
        del self._parsers[connection]
        self.broker.disconnect(connection)

    def receive(self, connection: ServerConnection, data: Data, now: float) -> None:
        """Processes received bytes.

        Args:
            connection: the connection that they arrived on.
            data: the bytes.
            now: the current time, in seconds since the epoch.

        Raises:
            ProtocolError: the bytes are not valid Gearman packets. An ERROR packet that says so
                is queued: send it, then close the connection.
        """
        handlers = self._handlers
        try:
            for type_, arguments in self._parsers[connection].feed(data):
                handler = handlers.get(type_)
                if handler is None:
                    _refuse(connection, b"INVALID_COMMAND", b"Command not expected")
                elif isinstance(arguments[-1], Oversized):
                    self._refuse_payload(connection, type_, arguments[0], arguments[-1])
                else:
                    handler(connection, type_, arguments, now)
        except ProtocolError as error:
            _refuse(connection, b"INVALID_PACKET", str(error).encode())
            raise

    def pass_time(self, now: float) -> None:
        """Runs the timers that are due.

        Args:
            now: the current time, in seconds since the epoch.
        """
        self.broker.pass_time(now)

    def next_timer(self) -> float | None:
        """Returns when to call `pass_time` next, in seconds since the epoch; None if never."""
        return self.broker.queue.next_timer()

    def _refuse_payload(
        self, connection: ServerConnection, type: int, handle: bytes, payload: Oversized
    ) -> None:
        """Refuses a packet whose payload is too large; if it was a result, the job fails."""
        text = f"The payload is too large: {payload.reason()}."
        _refuse(connection, b"ARGUMENT_TOO_LARGE", text.encode())
        job = connection.held.get(handle)
        if job is not None and type in (PacketType.WORK_COMPLETE, PacketType.WORK_EXCEPTION):
            self.broker.answer(job, PacketType.WORK_FAIL, handle)

    def _submit(
        self, connection: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        function, unique, data = arguments
        priority, background = _SUBMISSIONS[type]
        self._accept(connection, function, unique, data, priority, background)

    def _submit_epoch(
        self, connection: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        function, unique, epoch, data = arguments
        due = _number(epoch)
        self._accept(
            connection, function, unique, data, NORMAL, True, float(due) if due > now else 0.0
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
            _refuse(connection, b"ARGUMENT_TOO_LARGE", b"Unique value too large")
            return
        job = self.broker.submit(
            connection,
            self.broker.queue.function(name),
            unique,
            data,
            priority,
            background=background,
            due=due,
        )
        if job is None:
            _refuse(connection, b"QUEUE_ERROR", b"Job queue is full")
        else:
            connection.send(PacketType.JOB_CREATED, job.handle)

    def _grab(
        self, worker: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        job = self.broker.take(worker, now)
        if job is None:
            worker.send_bytes(_NO_JOB)
        elif type == PacketType.GRAB_JOB:
            worker.send(PacketType.JOB_ASSIGN, job.handle, job.function.name, job.data)
        else:
            # Also for GRAB_JOB_ALL: JOB_ASSIGN_ALL is for jobs with a reducer.
            worker.send(
                PacketType.JOB_ASSIGN_UNIQ, job.handle, job.function.name, job.unique, job.data
            )

    def _pre_sleep(
        self, worker: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        self.broker.sleep(worker)

    def _update(
        self, worker: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        job = _held(worker, arguments[0])
        if job is not None:
            if type == PacketType.WORK_STATUS:
                _, job.done, job.total = arguments
            for submitter in job.submitters:
                submitter.send(PacketType(type), *arguments)

    def _answer(
        self, worker: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        job = _held(worker, arguments[0])
        if job is not None:
            self.broker.answer(job, PacketType(type), *arguments)

    def _can_do(
        self, worker: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        milliseconds = _number(arguments[1]) if type == PacketType.CAN_DO_TIMEOUT else 0
        function = self.broker.queue.function(arguments[0])
        self.broker.offer(worker, function, max(0, milliseconds) / 1000)

    def _cant_do(
        self, worker: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        self.broker.withdraw(worker, [f for f in worker.offered if f.name == arguments[0]])

    def _reset_abilities(
        self, worker: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        self.broker.withdraw(worker, list(worker.offered))

    def _set_client_id(
        self, connection: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        connection.client_id = arguments[0][:_LONGEST_CLIENT_ID]

    def _get_status(
        self, connection: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        job = self.broker.queue.jobs.get(arguments[0])
        connection.send(PacketType.STATUS_RES, arguments[0], *_progress(job))

    def _get_status_unique(
        self, connection: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        job = self.broker.queue.find_unique(arguments[0])
        clients = b"%d" % len(job.submitters) if job else b"0"
        connection.send(PacketType.STATUS_RES_UNIQUE, arguments[0], *_progress(job), clients)

    def _option(
        self, connection: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        if arguments[0] == b"exceptions":
            connection.wants_exceptions = True
            connection.send(PacketType.OPTION_RES, arguments[0])
        else:
            _refuse(connection, b"UNKNOWN_OPTION", b"Server does not recognize given option")

    def _echo(
        self, connection: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        connection.send(PacketType.ECHO_RES, arguments[0])

    def _text(
        self, connection: ServerConnection, type: int, arguments: list[bytes], now: float
    ) -> None:
        connection.send_bytes(self._commands.answer(arguments[0]))


def _refuse(connection: ServerConnection, code: bytes, text: bytes) -> None:
    connection.send(PacketType.ERROR, code, text)


def _held(worker: ServerConnection, handle: bytes) -> Job | None:
    """Returns a job that the worker holds, or None after refusing the packet."""
    job = worker.held.get(handle)
    if job is None:
        _refuse(worker, b"JOB_NOT_FOUND", b"Job given in work result not found")
    return job


def _progress(job: Job | None) -> tuple[bytes, bytes, bytes, bytes]:
    if job is None:
        return b"0", b"0", b"0", b"0"
    return b"1", b"0" if job.worker is None else b"1", job.done, job.total


def _number(text: bytes) -> int:
    """Returns the integer at the beginning of a text, or 0: `1.5` is read as 1, as by gearmand."""
    found = _BEGINNING_NUMBER.match(text)
    return min(int(found[1]), _LARGEST_NUMBER) if found else 0
