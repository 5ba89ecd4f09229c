"""What a job server knows: the bytes of each connection in, the bytes for each connection out.

It does what gearmand 1.1.20 does for clients and workers, without its bugs:
`docs/embedded.md` lists where they differ. Whoever drives it passes on what
arrives and what time it is, and sends what the connections in `ready` have to
say.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gearmanny.errors import ProtocolError
from gearmanny.payload.sizes import MAX_PACKET, Oversized
from gearmanny.protocol.broker import Broker, Journal
from gearmanny.protocol.connected import Connection, Unread
from gearmanny.protocol.outgoing import Data
from gearmanny.protocol.packets import REQUEST, RESPONSE, PacketParser, PacketType, pack
from gearmanny.protocol.queue import HIGH, LOW, NORMAL, Job
from gearmanny.protocol.room import UNLIMITED, Refusal, Room
from gearmanny.protocol.server_admin import TextCommands

_LONGEST_UNIQUE = 63
"""Bytes of a unique key: gearmand 1.1.20 corrupts jobs with a longer one."""

_LONGEST_CLIENT_ID = 127
"""Bytes; the rest is cut off."""

_LONGEST_PROGRESS = 64
"""Bytes of each of the two numbers of a WORK_STATUS."""

_LONGEST_ANSWERS = 1024 * 1024
"""Bytes that a connection may leave unread and still get more answers to text commands, which cost
it nothing to ask for."""

_LARGEST_NUMBER = 2**62
"""What is above means as much."""

_NO_JOB = b"".join(pack(PacketType.NO_JOB, magic=RESPONSE))

_SUBMISSIONS: dict[int, tuple[int, bool]] = {
    PacketType.SUBMIT_JOB: (NORMAL, False),
    PacketType.SUBMIT_JOB_BG: (NORMAL, True),
    PacketType.SUBMIT_JOB_HIGH: (HIGH, False),
    PacketType.SUBMIT_JOB_HIGH_BG: (HIGH, True),
    PacketType.SUBMIT_JOB_LOW: (LOW, False),
    PacketType.SUBMIT_JOB_LOW_BG: (LOW, True),
}
"""Their priority, and whether they are background jobs."""

_BEGINNING_NUMBER = re.compile(rb"\s*([+-]?[0-9]{1,100})")

_Handler = Callable[[Connection, int, list[bytes]], None]


class Server:
    """A job server without sockets, threads and clock."""

    def __init__(
        self,
        prefix: bytes,
        *,
        version: str,
        pid: int,
        journal: Journal | None = None,
        max_packet: int = MAX_PACKET,
        max_memory: int = UNLIMITED,
        max_unread: int = UNLIMITED,
    ) -> None:
        """
        Args:
            prefix: what every handle begins with, `b"H:myhost"`.
            version: what the command `version` tells.
            pid: what the command `getpid` tells.
            journal: keeps background jobs; without one, they end with the server.
            max_packet: bytes of the longest body to accept.
            max_memory: bytes that jobs and names may take, and what arrives in pieces, and what
                connections leave unread: each of the three.
            max_unread: bytes that one connection may leave unread before it is sent no more.
        """
        self.unread = Unread(max_unread)
        self._max_memory = max_memory
        self._now = self._clock = 0.0
        self._begun = 0  # bytes of packets that are not whole yet
        self.broker = Broker(prefix, journal, Room(max_memory), self.unread)
        self.ready = self.broker.ready
        """Connections that have something new to send, in order. Whoever sends it empties this."""
        self._commands = TextCommands(self.broker, version, pid)
        self._max_packet = max_packet
        self._parsers: dict[Connection, PacketParser] = {}
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

    def connect(self, number: int, address: str) -> Connection:
        """Returns a new connection.

        Args:
            number: by which `workers` lists it.
            address: where it comes from.
        """
        connection = self.broker.connect(number, address)
        self._parsers[connection] = PacketParser(self._max_packet, magic=REQUEST)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Takes notice that a connection is gone."""
        self._begun -= self._parsers.pop(connection).begun
        self.broker.disconnect(connection)

    def is_within_payload(self, connection: Connection) -> bool:
        """Returns whether the next bytes of a connection continue a payload."""
        return self._parsers[connection].begun > 0

    def receive(self, connection: Connection, data: Data, now: float, clock: float) -> None:
        """Takes bytes that arrived.

        Args:
            connection: where they arrived.
            data: the bytes.
            now: seconds since the epoch.
            clock: seconds of a clock that nobody sets.

        Raises:
            ProtocolError: on bytes that are not the protocol. An ERROR that says so is among the
                bytes to send: send them, then close the connection.
        """
        self._now, self._clock = now, clock
        handlers, parser = self._handlers, self._parsers[connection]
        begun = parser.begun
        try:
            for type_, arguments in parser.feed(data):
                handler = handlers.get(type_)
                if handler is None:
                    _refuse(connection, b"INVALID_COMMAND", b"Command not expected")
                elif isinstance(arguments[-1], Oversized):
                    self._refuse_payload(connection, type_, arguments[0], arguments[-1])
                elif not connection.deaf:
                    try:
                        handler(connection, type_, arguments)
                    except Refusal as refusal:
                        _refuse(connection, refusal.code, refusal.text)
            if self._begun + parser.begun - begun > self._max_memory:
                parser.drop_payload()
        except ProtocolError as error:
            _refuse(connection, b"INVALID_PACKET", str(error).encode())
            raise
        finally:
            self._begun += parser.begun - begun

    def shed(self) -> None:
        """Gives up connections that leave too much unread together, those with the most first.
        Call it after what they take has been sent."""
        connections = self.broker.connections
        for connection in sorted(connections, key=lambda connection: -connection.unread):
            if self.unread.total <= self._max_memory:
                break
            connection.give_up()

    def pass_time(self, now: float, clock: float) -> None:
        """Does what is due by now: seconds since the epoch, and of the clock that nobody sets."""
        self.broker.pass_time(now, clock)

    def next_timers(self) -> tuple[float | None, float | None]:
        """Returns when to call `pass_time`, by either clock; None for never."""
        return self.broker.queue.scheduled.next(), self.broker.queue.limits.next()

    def _refuse_payload(
        self, connection: Connection, type: int, handle: bytes, payload: Oversized
    ) -> None:
        """Of a job that is submitted, updated or answered with too much; no answer is a failure."""
        text = f"The payload is too large: {payload.reason()}."
        _refuse(connection, b"ARGUMENT_TOO_LARGE", text.encode())
        job = connection.held.get(handle)
        if job is not None and type in (PacketType.WORK_COMPLETE, PacketType.WORK_EXCEPTION):
            self.broker.answer(job, PacketType.WORK_FAIL, handle)

    def _submit(self, connection: Connection, type: int, arguments: list[bytes]) -> None:
        function, unique, data = arguments
        priority, background = _SUBMISSIONS[type]
        self._accept(connection, function, unique, data, priority, background)

    def _submit_epoch(self, connection: Connection, type: int, arguments: list[bytes]) -> None:
        function, unique, epoch, data = arguments
        due = _number(epoch)
        self._accept(
            connection, function, unique, data, NORMAL, True, float(due) if due > self._now else 0.0
        )

    def _accept(
        self,
        connection: Connection,
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
        connection.send(PacketType.JOB_CREATED, job.handle)

    def _grab(self, worker: Connection, type: int, arguments: list[bytes]) -> None:
        job = self.broker.take(worker, self._clock)
        if job is None:
            worker.send_bytes(_NO_JOB)
        elif type == PacketType.GRAB_JOB:
            worker.send(PacketType.JOB_ASSIGN, job.handle, job.function.name, job.data)
        else:
            # Also for GRAB_JOB_ALL: its own answer is for jobs with a reducer.
            worker.send(
                PacketType.JOB_ASSIGN_UNIQ, job.handle, job.function.name, job.unique, job.data
            )

    def _pre_sleep(self, worker: Connection, type: int, arguments: list[bytes]) -> None:
        self.broker.sleep(worker)

    def _update(self, worker: Connection, type: int, arguments: list[bytes]) -> None:
        job = _held(worker, arguments[0])
        if job is not None:
            if type == PacketType.WORK_STATUS:
                _, done, total = arguments
                if max(len(done), len(total)) > _LONGEST_PROGRESS:
                    raise Refusal(b"ARGUMENT_TOO_LARGE", b"Progress value too large")
                job.done, job.total = done, total
            self.broker.tell(job, PacketType(type), *arguments)

    def _answer(self, worker: Connection, type: int, arguments: list[bytes]) -> None:
        job = _held(worker, arguments[0])
        if job is not None:
            self.broker.answer(job, PacketType(type), *arguments)

    def _can_do(self, worker: Connection, type: int, arguments: list[bytes]) -> None:
        milliseconds = _number(arguments[1]) if type == PacketType.CAN_DO_TIMEOUT else 0
        function = self.broker.queue.function(arguments[0])
        self.broker.offer(worker, function, max(0, milliseconds) / 1000)

    def _cant_do(self, worker: Connection, type: int, arguments: list[bytes]) -> None:
        function = self.broker.queue.functions.get(arguments[0])
        if function is not None:
            self.broker.withdraw(worker, [function])

    def _reset_abilities(self, worker: Connection, type: int, arguments: list[bytes]) -> None:
        self.broker.withdraw(worker, list(worker.offered))

    def _set_client_id(self, connection: Connection, type: int, arguments: list[bytes]) -> None:
        connection.client_id = arguments[0][:_LONGEST_CLIENT_ID]

    def _get_status(self, connection: Connection, type: int, arguments: list[bytes]) -> None:
        job = self.broker.queue.jobs.get(arguments[0])
        connection.send(PacketType.STATUS_RES, arguments[0], *_progress(job))

    def _get_status_unique(self, connection: Connection, type: int, arguments: list[bytes]) -> None:
        job = self.broker.queue.find_unique(arguments[0])
        clients = b"%d" % sum(job.submitters.values()) if job else b"0"
        connection.send(PacketType.STATUS_RES_UNIQUE, arguments[0], *_progress(job), clients)

    def _option(self, connection: Connection, type: int, arguments: list[bytes]) -> None:
        if arguments[0] == b"exceptions":
            connection.wants_exceptions = True
            connection.send(PacketType.OPTION_RES, arguments[0])
        else:
            _refuse(connection, b"UNKNOWN_OPTION", b"Server does not recognize given option")

    def _echo(self, connection: Connection, type: int, arguments: list[bytes]) -> None:
        connection.send(PacketType.ECHO_RES, arguments[0])

    def _text(self, connection: Connection, type: int, arguments: list[bytes]) -> None:
        if connection.unread > min(_LONGEST_ANSWERS, self.unread.limit):
            connection.give_up()
        else:
            connection.send_bytes(self._commands.answer(arguments[0]))


def _refuse(connection: Connection, code: bytes, text: bytes) -> None:
    connection.send(PacketType.ERROR, code, text)


def _held(worker: Connection, handle: bytes) -> Job | None:
    """Returns a job that the worker holds; one that does not is told so."""
    job = worker.held.get(handle)
    if job is None:
        _refuse(worker, b"JOB_NOT_FOUND", b"Job given in work result not found")
    return job


def _progress(job: Job | None) -> tuple[bytes, bytes, bytes, bytes]:
    if job is None:
        return b"0", b"0", b"0", b"0"
    return b"1", b"0" if job.worker is None else b"1", job.done, job.total


def _number(text: bytes) -> int:
    """Returns the whole number that a text begins with, 0 for none: `1.5` is 1, as for gearmand."""
    found = _BEGINNING_NUMBER.match(text)
    return min(int(found[1]), _LARGEST_NUMBER) if found else 0
