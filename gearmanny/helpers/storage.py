"""The collection, and whether its server is asked.

No caller waits for a server that is away: connecting, creating the indexes and probing are done by
a thread of their own. Only the first caller waits for it, and no longer than an operation may take.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import pymongo
import pymongo.errors
from bson.codec_options import CodecOptions

from gearmanny.errors import InvalidOption
from gearmanny.helpers.breaker import Breaker
from gearmanny.helpers.indexes import Entries, carry_over, prepare, reason_of
from gearmanny.helpers.redaction import address_of, without_credentials

logger = logging.getLogger("gearmanny.cache")

T = TypeVar("T")

Client = pymongo.MongoClient[dict[str, Any]]

DEFAULT_TIMEOUT = 1.0
"""Seconds for an operation, where neither the cache nor the URI says another number."""

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)

_REFUSALS = (13, 18, 8000)
"""Codes of MongoDB for what the user of the URI may not do, in the server and in Atlas."""


class Unavailable(Exception):
    """MongoDB did not do what it was asked for, or was not asked."""


class Server:
    """A server, or a set of servers, as this process knows it. Those who use it share it."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.writing = Breaker()
        """Whether what needs permission to write is tried."""
        self._reported = False

    def failed(self, error: Exception, *, certain: bool) -> None:
        """Notes, and logs once, that the server cannot be used.

        Args:
            error: the reason.
            certain: whether it may not just have been slow.
        """
        self.breaker.failed(time.monotonic())
        if certain and not self._reported:
            self._reported = True
            logger.warning(
                "MongoDB cannot be used: %s. Tasks run uncached until it can.",
                reason_of(error),
                extra={"action": "cache_away"},
            )

    def reached(self) -> None:
        """Notes, and logs where the opposite was logged, that the server can be used."""
        self.breaker.probed()
        if self._reported:
            self._reported = False
            logger.warning("MongoDB can be used again.", extra={"action": "cache_back"})

    def refused(self, error: Exception) -> None:
        """Notes, and logs once, that the server does not let us write."""
        if not self.writing.is_suspicious:
            logger.warning(
                "MongoDB refuses to store answers: %s.",
                reason_of(error),
                extra={"action": "cache_read_only"},
            )
        self.writing.failed(time.monotonic())


_servers: dict[str, Server] = {}


def _forget_after_fork() -> None:
    _servers.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


class Storage:
    """A collection of MongoDB in this process."""

    def __init__(
        self, host: str | Client, dbname: str, collection: str, timeout: float | None
    ) -> None:
        """
        Args:
            host: URI of the server, or a client.
            dbname: name of the database.
            collection: name of the collection.
            timeout: seconds for an operation; None: as the URI says, else a second.

        Raises:
            InvalidOption: the URI is invalid.
        """
        self.dbname = dbname
        self.name = collection
        self.client = _connect_later(host) if isinstance(host, str) else host
        self._collection: Entries = self.client.get_database(
            dbname, codec_options=CODEC
        ).get_collection(collection)
        self.limit = _limit(self.client, timeout)
        address = address_of(host) if isinstance(host, str) else _addresses(host)
        self.server = _servers.setdefault(address, Server())
        self._reaching = threading.Lock()
        self._reached = threading.Event()
        self._indexed = threading.Event()
        self._wait_until: float | None = None
        self._close: Callable[[], object] | None = None
        if isinstance(host, str):
            finalizer = weakref.finalize(self, _close_in, os.getpid(), self.client)
            finalizer.atexit = False  # a process that ends need not take leave
            self._close = finalizer

    def ask(self, operation: Callable[[Entries], T], *, writes: bool = False) -> T:
        """Returns what an operation on the collection returns.

        Args:
            operation: a function of the collection.
            writes: whether it needs permission to write.

        Raises:
            Unavailable: the server did not do it, or is not asked now.
            PyMongoError: it did not do it for a reason that is not the server's.
        """
        self.check_asked(writes=writes)
        ready = self.ready_for(writes=writes)
        if not ready.is_set() and not ready.wait(self.start()):
            raise self.not_ready()
        return self._do(operation, writes=writes)

    def ask_aside(self, operation: Callable[[Entries], object]) -> None:
        """Lets a thread do an operation that was refused before, when it is time to try again."""
        server = self.server
        if server.breaker.is_closed and server.writing.probe_is_due(time.monotonic()):
            server.writing.probed()
            with contextlib.suppress(RuntimeError):  # no thread can be started
                threading.Thread(target=self._try, args=(operation,), daemon=True).start()

    def _try(self, operation: Callable[[Entries], object]) -> None:
        with contextlib.suppress(Unavailable, pymongo.errors.PyMongoError):
            self._do(operation, writes=True)

    def _do(self, operation: Callable[[Entries], T], *, writes: bool) -> T:
        try:
            with pymongo.timeout(self.limit):
                result = operation(self._collection)
        except pymongo.errors.PyMongoError as error:
            raise self.judge(error, writes=writes) from None
        self.note_success(writes=writes)
        return result

    def check_asked(self, *, writes: bool) -> None:
        """Sees to a probe that is due.

        Raises:
            Unavailable: the server is not asked now.
        """
        server = self.server
        if not server.breaker.is_closed:
            if server.breaker.probe_is_due(time.monotonic()):
                self._reach_in_thread()
            raise Unavailable
        if writes and server.writing.is_suspicious:
            raise Unavailable  # nobody waits for another refusal

    def judge(self, error: pymongo.errors.PyMongoError, *, writes: bool) -> Unavailable:
        """Notes what an error says of the server, and returns what is raised instead.

        Raises:
            PyMongoError: the error, when it is about the document and not about the server.
        """
        if isinstance(error, pymongo.errors.DuplicateKeyError):
            raise error
        if writes and _is_refusal(error):
            self.server.refused(error)
        elif isinstance(error, pymongo.errors.OperationFailure) and not error.timeout:
            if not _is_refusal(error):
                raise error
            self.server.failed(error, certain=True)
        elif isinstance(error, pymongo.errors.ConnectionFailure) or error.timeout:
            slow = error.timeout and not isinstance(
                error, pymongo.errors.ServerSelectionTimeoutError
            )
            self.server.failed(error, certain=not slow)
            if self.server.breaker.probe_is_due(time.monotonic()):
                self._reach_in_thread()
        else:
            raise error
        return Unavailable()

    def note_success(self, *, writes: bool) -> None:
        """Notes that the server has done what it was asked for."""
        if self.server.breaker.is_suspicious:
            self.server.breaker.succeeded()
        if writes and self.server.writing.is_suspicious:
            self.server.writing.succeeded()

    def ready_for(self, *, writes: bool) -> threading.Event:
        """Returns what is set when the server has been reached; for those who write, when the
        indexes exist, too."""
        return self._indexed if writes else self._reached

    def start(self) -> float:
        """Sees to it that the server is reached; returns for how many seconds to wait for that."""
        now = time.monotonic()
        if self._wait_until is None:
            self._wait_until = now + self.limit
        self._reach_in_thread()
        return max(0.0, self._wait_until - now)

    def not_ready(self) -> Unavailable:
        """Notes that the server was not reached in time."""
        if not self._reached.is_set() and self.server.breaker.is_closed:
            self.server.failed(_NotInTime(self.limit), certain=True)
        return Unavailable()

    def discard(self) -> None:
        """Deletes the database, if the server can be used, and closes a client that is ours."""
        if self._reached.is_set():
            with pymongo.timeout(self.limit), contextlib.suppress(pymongo.errors.PyMongoError):
                self.client.drop_database(self.dbname)
        if self._close is not None:
            self._close()

    def _reach_in_thread(self) -> None:
        if self._reaching.acquire(blocking=False):
            try:
                name = f"gearmanny cache {self.name}"
                threading.Thread(target=self._reach, name=name, daemon=True).start()
            except RuntimeError:  # no thread can be started
                self._reaching.release()

    def _reach(self) -> None:
        try:
            with pymongo.timeout(self.limit):
                self._collection.find_one({"key": ""}, {"_id": True})
            self.server.reached()
            self._reached.set()
            if self._indexed.is_set():
                return
            prepare(self._collection)
            self._indexed.set()
        except Exception as error:
            self.server.failed(error, certain=True)
            return
        finally:
            self._reaching.release()
        carry_over(self._collection)


class _NotInTime(pymongo.errors.PyMongoError):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"it was not reached within {seconds:g} s")


def _is_refusal(error: pymongo.errors.PyMongoError) -> bool:
    return isinstance(error, pymongo.errors.NotPrimaryError) or (
        isinstance(error, pymongo.errors.OperationFailure) and error.code in _REFUSALS
    )


def _connect_later(host: str) -> Client:
    try:
        return pymongo.MongoClient(host, tz_aware=True, appname="gearmanny", connect=False)
    except (pymongo.errors.ConfigurationError, ValueError, TypeError):
        raise InvalidOption(f"The URI of MongoDB cannot be used: {_problem_of(host)}") from None


def _problem_of(host: str) -> str:
    """Returns what pymongo says of a URI, which may quote it, of the same without credentials."""
    try:
        pymongo.MongoClient(without_credentials(host, "user:password"), connect=False).close()
    except (pymongo.errors.ConfigurationError, ValueError, TypeError) as error:
        return str(error)
    return (
        "user and password must be escaped as in "
        "urllib.parse.quote_plus(user) + ':' + urllib.parse.quote_plus(password)."
    )


def _limit(client: Client, timeout: float | None) -> float:
    """Returns the seconds for an operation: the URI may say less, or with `timeoutMS` more."""
    options = client.options
    said = options.timeout or None
    sockets = options.pool_options.socket_timeout
    given = [seconds for seconds in (timeout, said, sockets) if seconds]
    if timeout is None and said is None:
        given.append(DEFAULT_TIMEOUT)
    return min(given)


def _addresses(client: Client) -> str:
    known = client.topology_description.server_descriptions()
    return ",".join(sorted(f"{host}:{port}" for host, port in known))


def _close_in(pid: int, client: Client) -> None:
    if pid == os.getpid():
        # It takes leave of the server, and would wait 30 s for one that is away.
        with pymongo.timeout(DEFAULT_TIMEOUT), contextlib.suppress(pymongo.errors.PyMongoError):
            client.close()
