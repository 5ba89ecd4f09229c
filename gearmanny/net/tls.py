"""TLS: the option `tls`, sockets secured with it, and readable reasons for its errors.

OpenSSL's connections are not thread-safe, and Python protects them only since 3.13. A client reads
in one thread while others send, so `TLSSocket` has a lock. No thread waits while it holds the lock:
the socket is non-blocking, and callers wait outside.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gearmanny.errors import InvalidOption
from gearmanny.net.forks import keep_from_children
from gearmanny.net.polling import Poller

_FILES: Final = ("ca", "cert", "key")

_RECORD_BYTES = 16 * 1024
"""The longest record of TLS. A read with that much room leaves no bytes inside OpenSSL."""

_SEND_BYTES = 256 * 1024
"""Bytes to encrypt at once, so that a thread that reads gets its turn."""

_TURN = 0.02
"""Seconds to wait if OpenSSL has to read in order to write, or the other way round. That happens
while keys are renewed: rarely and briefly."""


class TLS:
    """The option `tls`, checked, with its files loaded.

    Requires TLS 1.2 or later. The certificate of the server must be signed by a
    trusted authority, and be issued for the name or address of the host. A Unix
    socket has no name: only the signature is checked.
    """

    def __init__(self, given: Mapping[str, str | os.PathLike[str]] | ssl.SSLContext) -> None:
        """See `TLS.of`."""
        self._given = given
        if isinstance(given, ssl.SSLContext):
            if given.protocol == ssl.PROTOCOL_TLS_SERVER:
                raise InvalidOption(
                    "tls is an SSLContext for servers. Use one of ssl.create_default_context()."
                )
            self._context = given
        else:
            self._context = _make_context(given)

    @classmethod
    def of(cls, given: TLSOption) -> TLS | None:
        """Returns the TLS settings for an option `tls`; None for plain connections.

        Args:
            given: None or False for plain connections; True for the authorities that the system
                trusts; a dict of paths of PEM files, all optional: `"ca"` with authorities to trust
                instead, `"cert"` with a client certificate and its chain, `"key"` with its key if
                that is in another file; or an `ssl.SSLContext`, which is used unchanged.

        Raises:
            InvalidOption: it is none of these, or a file or context cannot be used.
        """
        if given is None or given is False:
            return None
        if isinstance(given, TLS):
            return given
        if given is True:
            return cls({})
        if isinstance(given, (Mapping, ssl.SSLContext)):
            return cls(given)
        raise InvalidOption(
            f"tls must be True, a dict of {', '.join(_FILES)}, or an ssl.SSLContext, not {given!r}."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self._given, ssl.SSLContext):
            raise InvalidOption(
                "An ssl.SSLContext cannot be pickled, nor can an object that uses one. "
                "Give tls as a dict of paths."
            )
        return type(self), (self._given,)

    def __deepcopy__(self, memo: object) -> TLS:
        return self  # it never changes

    @functools.cached_property
    def _nameless_context(self) -> ssl.SSLContext:
        if isinstance(self._given, ssl.SSLContext):
            return self._given
        try:
            context = _make_context(self._given)
        except InvalidOption as error:  # the files have changed since
            raise OSError(str(error)) from error
        context.check_hostname = False
        return context

    def context_for(self, server_name: str | None) -> ssl.SSLContext:
        """Returns the context that verifies a server.

        Args:
            server_name: the name of the server; None for a Unix socket.

        Raises:
            OSError: the context cannot verify it. The text gives the reason.
        """
        context = self._context if server_name else self._nameless_context
        if context.check_hostname and not server_name:
            raise OSError(
                "the ssl.SSLContext checks host names, and a Unix socket has none: "
                "set its check_hostname to False"
            )
        return context

    def wrap(
        self, sock: socket.socket, server_name: str | None, timeout: float | None
    ) -> TLSSocket:
        """Secures a connection, as a client.

        Args:
            sock: the connected socket. Do not use it any more; it is closed on failure.
            server_name: the name that the certificate must contain; None for a Unix socket.
            timeout: seconds that the handshake may take; None for no limit.

        Returns:
            The secured socket.

        Raises:
            OSError: the handshake failed. The text gives the reason.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            secured = stack.enter_context(
                self.context_for(server_name).wrap_socket(
                    sock,
                    server_hostname=server_name,
                    do_handshake_on_connect=False,
                    suppress_ragged_eofs=False,
                )
            )
            keep_from_children(secured).settimeout(timeout)
            try:
                secured.do_handshake()
            except OSError as error:
                raise OSError(why_no_handshake(error)) from error
            stack.pop_all()
        secured.setblocking(False)
        return TLSSocket(secured)


TLSOption = bool | Mapping[str, str | os.PathLike[str]] | ssl.SSLContext | TLS | None
"""Values of the option `tls`: see `TLS.of`."""


class TLSSocket:
    """A non-blocking socket secured by TLS. All its errors are OSError."""

    def __init__(self, secured: ssl.SSLSocket) -> None:
        self._socket = secured
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._left = False
        """Whether we have ended TLS, and only wait for the peer to close the connection."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes | memoryview) -> int:
        """Returns the number of bytes sent. After BlockingIOError, send the same bytes again."""
        try:
            with self._lock:
                if self._left:  # Python would send in clear
                    raise BrokenPipeError
                return self._socket.send(memoryview(data)[:_SEND_BYTES])
        except ssl.SSLWantWriteError as error:
            raise BlockingIOError from error
        except ssl.SSLWantReadError as error:
            self._wait_a_turn()
            raise BlockingIOError from error
        except (ConnectionError, ssl.SSLEOFError) as error:
            with contextlib.suppress(BlockingIOError):
                # The reason that the peer may have sent says more than a broken pipe.
                self.recv_into(memoryview(bytearray(_RECORD_BYTES)))
            raise ConnectionError(_CUT_OFF) from error
        except ssl.SSLError as error:
            raise ConnectionError(_in_words(error)) from error

    def recv_into(self, buffer: memoryview) -> int:
        """Returns the number of bytes received; 0 at the end of the connection.

        Fills the buffer if it can: bytes left inside OpenSSL do not make the socket readable.
        """
        size = 0
        try:
            with self._lock:
                if self._left:
                    return self._await_the_end(buffer)
                while len(buffer) - size >= _RECORD_BYTES:
                    received = self._socket.recv_into(buffer[size:])
                    if not received:
                        break
                    size += received
                else:
                    return size
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            if size:
                return size
            if isinstance(error, ssl.SSLWantWriteError):
                self._wait_a_turn(to_write=True)
            raise BlockingIOError from error
        except OSError as error:
            if not size and isinstance(error, ssl.SSLError):
                raise ConnectionError(_in_words(error)) from error
            if not size:
                raise
        if size:
            # An end or error follows these bytes: the socket has to stay readable for it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RD)
        return size

    def shutdown(self, how: int) -> None:
        """Ends TLS, so that the peer knows that no data is missing, and then the connection."""
        with self._lock:
            if not self._left:
                self._left = True
                # Sent at once or not at all, and the answer is not awaited.
                with contextlib.suppress(OSError, ValueError):
                    self._socket.unwrap()
        # Not SSLSocket.shutdown: other threads would then read encrypted bytes as plain ones.
        socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        # Not while another thread uses it: OpenSSL refers to the descriptor by its number, which
        # may soon be that of another socket. In a forked child, that thread does not exist.
        with self._lock if os.getpid() == self._process else contextlib.nullcontext():
            self._socket.close()

    def _await_the_end(self, buffer: memoryview) -> int:
        if socket.socket.recv_into(self._socket, buffer):
            raise BlockingIOError
        return 0

    def _wait_a_turn(self, *, to_write: bool = False) -> None:
        poller = Poller()
        poller.add(self._socket, to_write=to_write)
        poller.wait(_TURN)


def _make_context(files: Mapping[str, str | os.PathLike[str]]) -> ssl.SSLContext:
    for name, path in files.items():
        if name not in _FILES:
            raise InvalidOption(f"tls has no key {name!r}. It has {', '.join(_FILES)}.")
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidOption(f"tls[{name!r}] must be the path of a PEM file, not {path!r}.")
        with _naming(name, path), open(path, "rb"):
            pass
    ca, cert, key = (files.get(name) for name in _FILES)
    if key is not None and cert is None:
        raise InvalidOption("tls has a key without a cert. Add the certificate of the key.")
    with _naming("ca", ca):
        context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # With renegotiation, we would have to write in order to read, and read in order to write.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if cert is not None:
        with _naming("cert", cert):
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert, key, password="")
    return context


@contextlib.contextmanager
def _naming(key: str, path: object) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise InvalidOption(
            f"tls[{key!r}], {str(path)!r}, cannot be used ({why}). Give a PEM file that this "
            "process may read; a key must match its certificate and have no password."
        ) from error


_CUT_OFF = "the connection was cut off, or closed by the job server without ending TLS"
"""Not all versions of Python's ssl module say which of the two happened."""

_NO_TLS = "it does not speak TLS"
_OLD_TLS = "it does not support TLS 1.2 or later"
NO_CERTIFICATE = "it requires a client certificate: add a cert and its key to tls"

_MEANINGS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": NO_CERTIFICATE,
    # TLS 1.2 has no alert of its own for it.
    "SSLV3_ALERT_HANDSHAKE_FAILURE": f"it refused the TLS handshake; perhaps {NO_CERTIFICATE}",
}
"""Readable texts for some of OpenSSL's reasons."""


def explained(error: Exception) -> Exception:
    """Returns an error of TLS with a readable text, and any other error unchanged."""
    return ConnectionError(_in_words(error)) if isinstance(error, ssl.SSLError) else error


def _in_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLEOFError):
        return _CUT_OFF
    reason: str = getattr(error, "reason", None) or str(error)
    return _MEANINGS.get(reason) or f"the TLS connection failed: {reason.replace('_', ' ').lower()}"


def why_no_handshake(error: OSError) -> str:
    """Returns the reason why a handshake failed, as the middle of a sentence."""
    if isinstance(error, (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError)):
        return f"no answer to the TLS handshake in time; perhaps {_NO_TLS}"
    if isinstance(error, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return f"it closed the connection during the TLS handshake; perhaps {_NO_TLS}"
    return _in_words(error)
