"""The base of all clients: hosts, options, tasks by name."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar, Unpack

from gearmanny.calling.again import Again
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Line, Watcher
from gearmanny.calling.misnomers import INSTEAD, no_such_attribute, no_such_method
from gearmanny.calling.options import CallOptions, OptionsOfUsing
from gearmanny.calling.tracing import CallSpans, start_span
from gearmanny.calling.uniques import unique_id
from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.net.hosts import CONNECT_TIMEOUT, HOSTS, Servers, parse_hosts
from gearmanny.net.tls import TLS, TLSOption
from gearmanny.payload.checks import SMALL_COUNT, WAIT
from gearmanny.payload.encoding import Encoder, check_encoder, encode, explained
from gearmanny.payload.headers import NewHeaders, checked_new_headers
from gearmanny.payload.names import check_function_name
from gearmanny.payload.sizes import MAX_PACKET, PACKET_SIZE
from gearmanny.protocol.client import Request

if TYPE_CHECKING:
    from gearmanny.calling.recording import Recorder
    from gearmanny.records.contract import Store

L = TypeVar("L", bound=Line)


class RemoteTask:
    """A Gearman function that can be called, such as `client.myworker_add`."""

    __slots__ = ("_client", "_function")

    alters_data = True
    """Keeps Django's templates from calling it."""

    def __init__(self, client: Caller, function: str) -> None:
        self._client = client
        self._function = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if args and not self._client._takes_payload:
            raise TypeError(
                f"{self._function}() takes keyword arguments only, because that is what travels: "
                f"write {self._function}(name=value)"
            )
        return self._client.call(self._function, *args, **kwargs)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # those that copy and pickle look for, before there is a name
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise AttributeError(no_such_attribute(self._function, name), name=name, obj=self)

    def __repr__(self) -> str:
        return f"<Gearman function {self._function} of {self._client!r}>"


class Caller(abc.ABC):
    """The base of all clients. Connections are made on the first call and kept."""

    _default_encoder: ClassVar[type[Encoder]]
    _takes_payload: ClassVar[bool] = False
    """Whether a call is made with one payload instead of keywords."""
    _records_calls = False
    """Whether calls are recorded: background jobs, of a client with records."""

    def __init__(
        self,
        hosts: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        data_encoder: type[Encoder] | None = None,
        max_packet: int = MAX_PACKET,
        tls: TLSOption = None,
        records: Store | None = None,
        headers: NewHeaders | None = None,
    ) -> None:
        """
        Args:
            hosts: job servers, `"name:port"`, `"[::1]:port"` or `"unix:/path"`; calls rotate over
                those that are up. Default: `localhost:4730`.
            timeout: seconds that a call waits for its answer; None, the default, waits for
                as long as the job takes.
            connect_timeout: seconds that making a connection may take, all hosts together.
            data_encoder: makes payloads of arguments and values of answers; the worker's
                must match. Default: JSON; for `RawClient`, bytes as they are.
            max_packet: bytes of the longest packet, both ways; longer arguments or answers are
                an `EncodingError` of that call.
            tls: how the job servers are secured: True for the authorities that the system trusts,
                a dict with the paths of PEM files `"ca"`, `"cert"` and `"key"`, each optional, or
                an `ssl.SSLContext`. None, the default, for plain connections.
            records: the store in which background jobs are recorded before they are handed over
                to a job server, such as `gearmanny.records.sql.SQLStore("sqlite:///jobs.db")`.
                None, the default, records none.
            headers: a function that returns the headers of a job when it is recorded: a dict of
                strings, which its task has as `self.job.headers`. Those of `using(headers=…)` are
                added, and go first where names are the same.

        Raises:
            InvalidOption: a host, a timeout, a limit, `data_encoder`, `tls`, `records` or
                `headers` is invalid.
        """
        WAIT.check("connect_timeout", connect_timeout)
        PACKET_SIZE.check("max_packet", max_packet)
        self._servers = Servers(
            parse_hosts(HOSTS if hosts is None else hosts),
            connect_timeout,
            max_packet,
            TLS.of(tls),
        )
        self._options = CallOptions().changed(timeout=timeout)
        self._encoder = check_encoder(data_encoder or self._default_encoder)
        new_headers = checked_new_headers(headers, has_records=records is not None)
        self._recorder = None if records is None else self._recorder_for(records, new_headers)
        self._reach(self._servers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(map(str, self._servers.hosts))}>"

    def __getattr__(self, name: str) -> RemoteTask:
        # Copy, pickle, debuggers and templates look for underscored names: none is a task.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name in INSTEAD:
            raise AttributeError(no_such_method(type(self).__name__, name), name=name, obj=self)
        return RemoteTask(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy, also one that was pickled for another process, makes connections of its own.
        remade = functools.partial(
            type(self),
            list(map(str, self._servers.hosts)),
            connect_timeout=self._servers.connect_timeout,
            data_encoder=self._encoder,
            max_packet=self._servers.max_packet,
            tls=self._servers.tls,
            records=None if self._recorder is None else self._recorder.store,
            headers=None if self._recorder is None else self._recorder.new_headers,
        )
        return remade, (), {"_options": self._options, "_records_calls": self._records_calls}

    @abc.abstractmethod
    def _recorder_for(self, store: Store, headers: NewHeaders | None) -> Recorder:
        """Returns what records the background jobs of this client."""

    @abc.abstractmethod
    def _reach(self, servers: Servers) -> None:
        """Prepares the connections to the job servers."""

    @abc.abstractmethod
    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a Gearman function by name, as `client.<function>(…)` does."""

    def using(self, **options: Unpack[OptionsOfUsing]) -> Self:
        """Returns a client of the same kind, over the same connections, with other options.

        Args:
            timeout: seconds that a call waits for its answer; None for as long as it takes.
            background: whether jobs are handed to the job server without waiting for an answer.
            priority: `"high"`, `"normal"` or `"low"`: which jobs of a function are given out
                first.
            unique: a key of up to 61 bytes. Calls of a function with the same key become one
                job while it waits or runs, and all callers get its answer. Background calls
                and others never become one.
            at: an aware datetime before which a background job is not given out.
            delay: seconds for which a background job is not given out.
            idempotent: whether a job may run twice. It is then sent again, to any job server that
                is up, when its connection is lost before it is answered.
            on_update: called with every `Progress`, `Data` and `Warning` that the worker sends,
                by who waits for the result.
            trace: whether calls are spans of OpenTelemetry, which the worker continues.
            recorded: whether background jobs are recorded, where the client has records.
            unique_waiting: a key of recorded jobs: of those of a function with the same key, one
                waits at most, behind one that runs.
            headers: a dict of strings that travel in the record of a job, such as the id of a
                request; its task has them as `self.job.headers`. For recorded jobs alone.

        Raises:
            InvalidOption: there is no such option, its value is invalid, or it contradicts another.
        """
        has_records = self._recorder is not None
        changed = self._options.changed(has_records, **options)
        recorded = changed.is_recorded(has_records)
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _options=changed, _records_calls=recorded)
        return other

    def _check_map(self, function: str, window: int) -> None:
        """Raises InvalidTask or InvalidOption when a function cannot be called many times."""
        check_function_name(function)
        SMALL_COUNT.check("window", window)
        for name in ("unique", "unique_waiting", "on_update"):
            if getattr(self._options, name) is not None:
                raise InvalidOption(
                    f"{name} is for one call, and these are many. Submit them one by one."
                )

    def _records(self) -> Recorder:
        """Returns what records the jobs of this client.

        Raises:
            InvalidOption: the client has no records.
        """
        if self._recorder is None:
            raise InvalidOption(
                "This client has no records: give it a store, as records=SQLStore(…); in Django, "
                "set GEARMANNY['RECORDS']."
            )
        return self._recorder

    def _check_many(self, function: str) -> tuple[Recorder, CallOptions]:
        """Returns what records many jobs of a function, and their options.

        Raises:
            InvalidTask: no function can have that name.
            InvalidOption: the client has no records, or an option that is for one call.
        """
        self._check_map(function, 1)
        options = self._options.changed(True, background=True)
        if not options.recorded:
            raise InvalidOption("submit_many() records its jobs. Use map() for others.")
        return self._records(), options

    def _check_stream(self, function: str) -> None:
        """Raises InvalidTask or InvalidOption when a function cannot be called as a stream."""
        check_function_name(function)
        for name in ("background", "idempotent"):
            if getattr(self._options, name):
                raise InvalidOption(
                    f"A stream is read from beginning to end, and {name} jobs may have none or "
                    f"two of them. Use using({name}=False)."
                )

    def _requests(
        self,
        function: str,
        payloads: Iterable[bytes | EncodingError],
        spans: CallSpans,
        clock: Callable[[], float],
    ) -> Iterator[Request | EncodingError]:
        """Makes the requests for some calls of a function, as the options say.

        Args:
            function: its name.
            payloads: of the calls.
            spans: takes those of the calls that are traced: to be ended when they are sent.
            clock: returns the seconds since 1970.

        Raises:
            InvalidTask: no function can have that name. At once, and not with the first request.
            InvalidOption: `delay` is beyond the times that a job server can keep.
        """
        name, options = check_function_name(function), self._options
        due = options.due(clock)

        def request(payload: bytes | EncodingError) -> Request | EncodingError:
            if isinstance(payload, EncodingError):
                return payload
            unique = unique_id(options)
            if options.trace:
                spans.append(start_span(function))
                unique = spans[-1].unique or unique
            return Request(name, payload, unique, options.background, options.priority, due)

        return map(request, payloads)

    def _new_call(
        self, line: L, function: str, request: Request | EncodingError, keeps_updates: bool
    ) -> Call[L]:
        """Returns a call that is about to be queued; one that could not be encoded has failed."""
        again: Again | None = None
        watchers: tuple[Watcher, ...] = ()
        if self._options.idempotent and isinstance(request, Request):
            again, watchers = self._again(request)
        return Call(
            line,
            function,
            self._encoder,
            self._options,
            request,
            keeps_updates=keeps_updates,
            most_unread=self._servers.max_packet if self._options.on_update else None,
            again=again,
            watchers=watchers,
        )

    @abc.abstractmethod
    def _again(self, request: Request) -> tuple[Again, tuple[Watcher, ...]]:
        """Returns how a job is sent again, and who sees to that."""

    def _encode(self, function: str, arguments: object) -> bytes:
        try:
            return encode(self._encoder, arguments, self._servers.max_packet)
        except EncodingError as error:
            if error.__cause__ is None:  # for lack of memory, which a longer text would keep in use
                raise
            # Here, and without a name: its traceback leads to this frame, which must not hold it.
            raise explained(error, self._encoder, function, arguments) from error.__cause__

    def _encode_all(
        self, function: str, calls: Iterable[object]
    ) -> Iterator[bytes | EncodingError]:
        for arguments in calls:
            try:
                yield self._encode(function, arguments)
            except EncodingError as error:
                # Without tracebacks, whose frames hold all of these calls.
                told, cause = copy(error), error.__cause__
                told.__cause__ = cause and cause.with_traceback(None)
                yield told
