"""Addresses of job servers, as users write them, and how a client reaches its job servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import PORT

if TYPE_CHECKING:
    from gearmanny.net.tls import TLS

DEFAULT_PORT = 4730
"""Gearman's port, registered with IANA."""

HOSTS = [f"localhost:{DEFAULT_PORT}"]
"""Where a job server is looked for when nothing else is said."""

CONNECT_TIMEOUT = 5.0
"""Seconds for one connection to be made: long for a network, short for a person."""


class Host(NamedTuple):
    """The address of a job server: a name and a port, or the path of a unix socket and port 0."""

    name: str
    port: int

    @property
    def server_name(self) -> str | None:
        """Whom its certificate has to name; None for a unix socket, which has no name."""
        return self.name.partition("%")[0] if self.port else None

    def __str__(self) -> str:
        if not self.port:
            return f"unix:{self.name}"
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def parse_host(host: str) -> Host:
    """Reads `"name"`, `"name:port"`, `"[::1]"`, `"[::1]:port"` or `"unix:/path"`.

    Raises:
        InvalidOption: it is none of these.
    """
    if not isinstance(host, str):
        raise InvalidOption(f'A host is written "name:port", not {host!r}.')
    if host.startswith("unix:/") and "\0" not in host:
        return Host(host.removeprefix("unix:"), 0)
    name, bracket, rest = host.rpartition("]")
    if bracket:
        name, port = name.removeprefix("["), rest.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    if "@" in host:  # not quoted: a password may be in it
        raise InvalidOption('A host is written "name:port", without user and password.')
    well_named = name.split() == [name] and "/" not in name
    if not well_named or not (port or str(DEFAULT_PORT)).isdecimal():
        raise InvalidOption(
            f'A host is written "name:port", "[address]:port" or "unix:/path", not {host!r}.'
        )
    number = int(port or DEFAULT_PORT)
    PORT.check(f"The port of {host!r}", number)
    return Host(name, number)


def parse_hosts(hosts: Sequence[str]) -> list[Host]:
    """Reads a list of hosts; equal ones count once.

    Raises:
        InvalidOption: the list is empty, a bare string, or holds something that is no host.
    """
    if isinstance(hosts, str):
        raise InvalidOption(f"hosts is a list of hosts: write [{hosts!r}], not {hosts!r}.")
    parsed = list(dict.fromkeys(parse_host(host) for host in hosts))
    if not parsed:
        raise InvalidOption('hosts is empty. Name a job server, such as "localhost:4730".')
    return parsed


class Servers(NamedTuple):
    """The job servers of a client, and how to reach them."""

    hosts: list[Host]
    connect_timeout: float
    """Seconds that making a connection may take, all hosts together."""
    max_packet: int
    """Bytes of the longest packet to keep."""
    tls: TLS | None
    """How they are secured; None for plain connections."""
