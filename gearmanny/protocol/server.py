"""The protocol machine of a job server: bytes of each connection in, bytes for each connection out.

It does what gearmand 1.1.20 does for clients and workers, without its bugs:
`docs/embedded.md` lists the differences. Its driver passes in the bytes that
arrive and the current time, and sends what the connections in `ready` have
queued.
"""

from __future__ import annotations

from gearmanny.errors import ProtocolError
from gearmanny.payload.sizes import MAX_PACKET, Oversized
from gearmanny.protocol.broker import Broker
from gearmanny.protocol.connected import ServerConnection, Unread
from gearmanny.protocol.journal import Journal
from gearmanny.protocol.outgoing import Data
from gearmanny.protocol.packets import REQUEST
from gearmanny.protocol.parser import PacketParser
from gearmanny.protocol.requests import Requests, refuse
from gearmanny.protocol.room import UNLIMITED, Refusal, Room
from gearmanny.protocol.server_admin import TextCommands


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
        max_memory: int = UNLIMITED,
        max_unread: int = UNLIMITED,
    ) -> None:
        """
        Args:
            prefix: the beginning of every handle, such as `b"H:myhost"`.
            version: the answer to the command `version`.
            pid: the answer to the command `getpid`.
            journal: stores background jobs; without one, they are lost when the server ends.
            max_packet: the longest body to accept, in bytes.
            max_memory: the limit, in bytes, of each of three: the jobs and names, the packets that
                are still incomplete, and the answers that connections have not read.
            max_unread: bytes that one connection may leave unread before it is given up.
        """
        self.unread = Unread(max_unread)
        self._max_memory = max_memory
        self._begun = 0  # received bytes of incomplete packets
        self.broker = Broker(prefix, journal, Room(max_memory), self.unread)
        self.ready = self.broker.ready
        """Connections that have something new to send, in order. The driver clears it."""
        commands = TextCommands(self.broker, version, pid)
        self._requests = Requests(self.broker, commands, max_unread)
        self._max_packet = max_packet
        self._parsers: dict[ServerConnection, PacketParser] = {}

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
        self._begun -= self._parsers.pop(connection).begun
        self.broker.disconnect(connection)

    def is_within_payload(self, connection: ServerConnection) -> bool:
        """Returns whether the next bytes of a connection continue a payload.

        Args:
            connection: the connection.
        """
        return self._parsers[connection].begun > 0

    def receive(self, connection: ServerConnection, data: Data, now: float, clock: float) -> None:
        """Processes received bytes.

        Args:
            connection: the connection that they arrived on.
            data: the bytes.
            now: the current time, in seconds since the epoch.
            clock: the current time, in seconds by the monotonic clock.

        Raises:
            ProtocolError: the bytes are not valid Gearman packets. An ERROR packet that says so
                is queued: send it, then close the connection.
        """
        requests, parser = self._requests, self._parsers[connection]
        requests.wall_time, requests.clock = now, clock
        handlers = requests.handlers
        begun = parser.begun
        try:
            for type_, arguments in parser.feed(data):
                handler = handlers.get(type_)
                if handler is None:
                    refuse(connection, b"INVALID_COMMAND", b"Command not expected")
                elif isinstance(arguments[-1], Oversized):
                    requests.refuse_payload(connection, type_, arguments[0], arguments[-1])
                elif not connection.deaf:
                    try:
                        handler(connection, type_, arguments)
                    except Refusal as refusal:
                        refuse(connection, refusal.code, refusal.text)
            if self._begun + parser.begun - begun > self._max_memory:
                parser.drop_payload()
        except ProtocolError as error:
            refuse(connection, b"INVALID_PACKET", str(error).encode())
            raise
        finally:
            self._begun += parser.begun - begun

    def shed(self) -> None:
        """Gives up the connections with the most unread bytes until the total is within the limit.

        Call it after sending what the peers accept.
        """
        connections = self.broker.connections
        for connection in sorted(connections, key=lambda connection: -connection.unread):
            if self.unread.total <= self._max_memory:
                break
            connection.give_up()

    def pass_time(self, now: float, clock: float) -> None:
        """Runs the timers that are due.

        Args:
            now: the current time, in seconds since the epoch.
            clock: the current time, in seconds by the monotonic clock.
        """
        self.broker.pass_time(now, clock)

    def next_timers(self) -> tuple[float | None, float | None]:
        """Returns when to call `pass_time` next: in seconds since the epoch, and by the monotonic
        clock; None if never."""
        return self.broker.queue.scheduled.next(), self.broker.queue.limits.next()
