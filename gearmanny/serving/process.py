"""The embedded job server in a process of its own, for `runworkers --embedded` and the CLI.

Not in a thread of the process that runs workers: that process forks, and its children would inherit
half a job server.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection

from gearmanny.errors import GearmanException, InvalidOption, JobServerUnavailable, ProtocolError
from gearmanny.net.forks import end_with, signals_held_back
from gearmanny.net.hosts import DEFAULT_PORT, Host, parse_hosts
from gearmanny.net.loopback import loopback_address
from gearmanny.net.question import Answer, ask
from gearmanny.net.tls import TLSOption
from gearmanny.protocol.admin import AdminConnection, parse_status, read_rows
from gearmanny.serving.embedded import JobServer

_LISTENING = ""
"""Sent by the process when it accepts connections. Any other text is the reason why it cannot."""

_ANSWERS_WITHIN = 2.0
"""Seconds. A server that takes longer to answer is not taken for a job server."""

_PATIENCE = 5.0
"""Seconds that the process may take to end: it has nothing to wait for."""

_STOP = signal.SIGUSR2
"""Stops the process. Signals that stop a service may go to all of its processes at once."""

_processes = multiprocessing.get_context("fork")


class ServerProcess:
    """A job server in a child process, which can be replaced."""

    def __init__(self, address: str, port: int) -> None:
        """
        Args:
            address: where it listens.
            port: its port.

        Raises:
            InvalidOption: it cannot listen there.
        """
        self._address = address
        self._port = port
        self._process = _start(JobServer(port, address=address))

    def __str__(self) -> str:
        return "the embedded job server"

    @property
    def sentinel(self) -> int:
        """The descriptor that becomes readable when it ends."""
        return self._process.sentinel

    def has_ended(self) -> bool:
        """Returns whether it has ended."""
        return not self._process.is_alive()

    def replace(self) -> None:
        """Starts it again, without the jobs that it had.

        Raises:
            InvalidOption: it cannot listen.
        """
        self._process = _start(JobServer(self._port, address=self._address))

    def end(self) -> None:
        """Ends it."""
        _end(self._process)


@contextlib.contextmanager
def running_where_none_is(
    hosts: Sequence[str], *, tls: TLSOption = None
) -> Iterator[ServerProcess | str]:
    """Runs a job server in a child process until the block ends, unless one is running already.

    The child ignores Ctrl-C and SIGTERM, which may be sent to a whole process group: workers that
    are stopped by them answer their last jobs. It ends with the block, and with its parent. It
    keeps jobs in memory.

    Args:
        hosts: the address, as a list of one loopback host.
        tls: the TLS settings of the clients; must be None, because the server has no TLS.

    Yields:
        The process that was started; or the version of the job server that was running already.

    Raises:
        InvalidOption: the host can be reached from other machines, or something other than a job
            server listens there.
    """
    host, address, port = _place(hosts, tls)
    version, process = _version(host), None
    if version is None:
        try:
            process = ServerProcess(address, port)
        except InvalidOption:
            version = _version(host)
            if version is None:
                raise  # nobody else was quicker
    if version is not None:
        yield version
        return
    assert process is not None
    try:
        yield process
    finally:
        process.end()


def serve_until(
    numbers: Sequence[int], server: JobServer, listening: Callable[[], object] | None = None
) -> None:
    """Runs a job server in this process until it receives a signal.

    Args:
        numbers: the signals that stop it.
        server: the job server.
        listening: called without arguments as soon as the server accepts connections.

    Raises:
        InvalidOption: the port is taken, or the address or the store cannot be used.
        GearmanException: the server is running already.
    """

    async def serve() -> None:
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        await server.serve(listening=listening)

    asyncio.run(serve())


def _place(hosts: Sequence[str], tls: TLSOption) -> tuple[Host, str, int]:
    """Returns the host, the address and the port of the job server to start."""
    host, *others = parse_hosts(hosts)
    address = loopback_address(host)
    if others:
        reason = f"it replaces one job server, and {1 + len(others)} hosts are configured"
    elif tls:
        reason = "it has no TLS"
    elif not host.port:
        reason = "it has no Unix sockets"
    elif address is None:
        reason = (
            f"{host} is not a loopback address, such as 127.0.0.1, and it has no authentication"
        )
    else:
        return host, address, host.port
    raise InvalidOption(
        f"An embedded job server cannot be started: {reason}. Set localhost:{DEFAULT_PORT} as the "
        "only host, or run gearmand instead."
    )


def _version(host: Host) -> str | None:
    """Returns the version of the job server at a host; None if nothing listens there."""
    try:
        # Any server may answer with a line, but not with rows like these.
        rows = read_rows(parse_status, _ask(host, "status", AdminConnection.receive_rows))
        if rows.skipped_count and not rows:
            raise ProtocolError(f"not a row of 'status': {rows.skipped}")
        return _ask(host, "version", AdminConnection.receive_line)
    except JobServerUnavailable:
        return None
    except GearmanException as error:
        raise InvalidOption(
            f"Something other than a job server listens at {host}: {error} Stop it, or choose "
            "another port."
        ) from error


def _ask(
    host: Host, command: str, receive: Callable[[AdminConnection, bytes], Answer | None]
) -> Answer:
    machine = AdminConnection()
    question = machine.command(command)
    return ask(host, command, question, partial(receive, machine), timeout=_ANSWERS_WITHIN)


def _start(server: JobServer) -> multiprocessing.process.BaseProcess:
    """Starts a job server and returns its process. Raises InvalidOption if it cannot listen."""
    news, teller = _processes.Pipe(duplex=False)
    process = _processes.Process(
        target=_run, args=(server, os.getpid(), teller), name="gearmanny server"
    )
    with news:
        with signals_held_back([_STOP]):
            process.start()
        teller.close()
        try:
            told = news.recv()
        except EOFError:
            told = "The embedded job server ended before it could listen. See its log for why."
        except BaseException:
            process.kill()
            raise
    if told != _LISTENING:
        process.join()
        process.close()
        raise InvalidOption(told)
    return process


def _end(process: multiprocessing.process.BaseProcess) -> None:
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, _STOP)
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _run(server: JobServer, parent: int, teller: Connection) -> None:
    end_with(parent)
    # Those for a runner may go to all processes of its service, as systemd sends them.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(_STOP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [_STOP])
    try:
        serve_until([_STOP], server, lambda: teller.send(_LISTENING))
    except InvalidOption as error:
        teller.send(str(error))
