"""TLS around a socket: what the option `tls` means, and what went wrong in words.

OpenSSL's state of a connection is not made for two threads at once, and Python guards it only from
3.13 on. A client reads in one thread while others send, so `TLSSocket` lets in one at a time. None
of them waits in there: its socket does not block, and whoever has to wait does so outside.
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
"""The longest record of TLS: with so much room, a read leaves nothing behind inside OpenSSL."""

_SEND_BYTES = 256 * 1024
"""Encrypted at a time, so that a thread which reads meanwhile gets its turn."""

_TURN = 0.02
"""Seconds to wait for a socket that OpenSSL has to read in order to write, or the other way
round. That happens when keys are renewed: rarely, and shortly."""


class TLS:
    """How job servers are reached over TLS: the option `tls`, checked and read.

    At least TLS 1.2. The certificate of the server must be signed by a trusted
    authority, and be made for the name, or the address, of the host. A unix
    socket has no name: there, the signature alone is checked.
    """

    def __init__(self, given: Mapping[str, str | os.PathLike[str]] | ssl.SSLContext) -> None:
        """Args: given: files by `_FILES`, or a context that is used as it is.

        Raises:
            InvalidOption: an unknown key, a file that cannot be used, or a context for servers.
        """
        self._given = given
        if isinstance(given, ssl.SSLContext):
            if given.protocol == ssl.PROTOCOL_TLS_SERVER:
                raise InvalidOption(
                    "tls is an SSLContext for servers. Make one with ssl.create_default_context()."
                )
            self._context = given
        else:
            self._context = _make_context(given)

    @classmethod
    def of(cls, given: TLSOption) -> TLS | None:
        """Returns what an option `tls` means; None for plain connections.

        Args:
            given: True for the authorities that the system trusts. A dict of paths of PEM files:
                `"ca"`, trusted authorities in place of those of the system; `"cert"`, a certificate
                of ours with its chain; `"key"`, its key unless that is in the same file; each may
                be left out. Or an `ssl.SSLContext`, which decides alone what is checked.

        Raises:
            InvalidOption: it is none of these, or a file cannot be used.
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
            f"tls is True, a dict with {', '.join(_FILES)}, or an ssl.SSLContext, not {given!r}."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self._given, ssl.SSLContext):
            raise InvalidOption(
                "An ssl.SSLContext cannot be pickled, nor what was made with one: "
                "give tls as a dict of paths."
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
        """Returns what decides whether to trust a server with this name, or without one.

        Raises:
            OSError: it cannot decide, for a reason told in words.
        """
        context = self._context if server_name else self._nameless_context
        if context.check_hostname and not server_name:
            raise OSError(
                "its ssl.SSLContext checks host names, and a unix socket has none: "
                "set its check_hostname to False"
            )
        return context

    def wrap(
        self, sock: socket.socket, server_name: str | None, timeout: float | None
    ) -> TLSSocket:
        """Shakes hands.

        Args:
            sock: a connected socket, to be used no longer; closed when this fails.
            server_name: whom the certificate must name; None where there is no name.
            timeout: seconds that the server may take.

        Raises:
            OSError: it failed, for a reason told in words.
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
"""What may be given as `tls`: see `TLS.of`."""


class TLSSocket:
    """Stands for a socket that does not block. Errors are `OSError`, as those of sockets are."""

    def __init__(self, secured: ssl.SSLSocket) -> None:
        self._socket = secured
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._left = False
        """Whether we have said goodbye: nothing counts from then on but that the peer leaves."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes | memoryview) -> int:
        """Returns how much was sent. After a BlockingIOError, the same has to be sent again."""
        try:
            with self._lock:
                if self._left:  # after its goodbye, Python would send in clear
                    raise BrokenPipeError
                return self._socket.send(memoryview(data)[:_SEND_BYTES])
        except ssl.SSLWantWriteError as error:
            raise BlockingIOError from error
        except ssl.SSLWantReadError as error:
            self._wait_a_turn()
            raise BlockingIOError from error
        except (ConnectionError, ssl.SSLEOFError) as error:
            with contextlib.suppress(BlockingIOError):
                # The peer may have told why it left: that says more than a broken pipe.
                self.recv_into(memoryview(bytearray(_RECORD_BYTES)))
            raise ConnectionError(_CUT_OFF) from error
        except ssl.SSLError as error:
            raise ConnectionError(_in_words(error)) from error

    def recv_into(self, buffer: memoryview) -> int:
        """Returns how much was received; 0 at the end.

        Whatever has arrived is taken, as far as there is room: what stays inside OpenSSL would not
        make the socket readable.
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
            # The end, or an error, came behind other data: the socket has to stay readable for it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RD)
        return size

    def shutdown(self, how: int) -> None:
        """Says goodbye, so that the peer knows that nothing is missing, and ends the connection."""
        with self._lock:
            if not self._left:
                self._left = True
                # Sent at once, or not at all; not waited for the answer.
                with contextlib.suppress(OSError, ValueError):
                    self._socket.unwrap()
        # Not SSLSocket's own, which would let other threads read what is encrypted as if it
        # were not.
        socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        # Not while a thread is inside: OpenSSL knows the descriptor by its number, which may soon
        # be that of another socket. In a forked child, that thread does not exist.
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
            raise InvalidOption(f"tls[{name!r}] is the path of a PEM file, not {path!r}.")
        with _naming(name, path), open(path, "rb"):
            pass
    ca, cert, key = (files.get(name) for name in _FILES)
    if key is not None and cert is None:
        raise InvalidOption("tls has a key without a cert. Add the certificate that it belongs to.")
    with _naming("ca", ca):
        context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A server that renegotiates would have us write in order to read, and read in order to write.
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
            f"tls[{key!r}], {str(path)!r}, cannot be used ({why}). Name a PEM file that this "
            "process may read; a key may have no password, and belongs to its certificate."
        ) from error


_CUT_OFF = "closed by the job server without a goodbye, or cut off on the way"
"""What went wrong with a socket, Python's ssl does not tell in all of its versions."""

_NO_TLS = "it does not speak TLS"
_OLD_TLS = "it speaks no version of TLS that is new enough: at least 1.2 is asked for"
NO_CERTIFICATE = "it asks for a certificate of ours: give tls a cert and its key"

_MEANINGS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": NO_CERTIFICATE,
    # TLS 1.2 has no word of its own for it.
    "SSLV3_ALERT_HANDSHAKE_FAILURE": f"it refused the TLS handshake; perhaps {NO_CERTIFICATE}",
}
"""OpenSSL's reasons, where they need to be known to be understood."""


def explained(error: Exception) -> Exception:
    """Returns an error of TLS in words, and any other one as it is."""
    return ConnectionError(_in_words(error)) if isinstance(error, ssl.SSLError) else error


def _in_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLEOFError):
        return _CUT_OFF
    reason: str = getattr(error, "reason", None) or str(error)
    return _MEANINGS.get(reason) or f"the TLS connection failed: {reason.replace('_', ' ').lower()}"


def why_no_handshake(error: OSError) -> str:
    """Returns why a connection could not be secured."""
    if isinstance(error, (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError)):
        return f"no answer to the TLS handshake in time; perhaps {_NO_TLS}"
    if isinstance(error, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return f"it left during the TLS handshake; perhaps {_NO_TLS}"
    return _in_words(error)
