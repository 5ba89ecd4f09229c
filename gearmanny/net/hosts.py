"""Addresses of job servers: the strings that users write, and their parsed form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import PORT

if TYPE_CHECKING:
    from gearmanny.net.tls import TLS

DEFAULT_PORT = 4730
"""The port of Gearman, registered with IANA."""

HOSTS = [f"localhost:{DEFAULT_PORT}"]
"""The default hosts of clients and workers."""

CONNECT_TIMEOUT = 5.0
"""Default timeout for connecting, in seconds: long for a network, short for a person."""


class Host(NamedTuple):
    """The address of a job server: a name and a port, or the path of a Unix socket and port 0."""

    name: str
    port: int

    @property
    def server_name(self) -> str | None:
        """The name that its certificate must contain; None for a Unix socket."""
        return self.name.partition("%")[0] if self.port else None

    def __str__(self) -> str:
        if not self.port:
            return f"unix:{self.name}"
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def parse_host(host: str) -> Host:
    """Parses the address of a job server.

    Args:
        host: `"name"`, `"name:port"`, `"[::1]"`, `"[::1]:port"` or `"unix:/path"`.

    Returns:
        The address.

    Raises:
        InvalidOption: it has another form, or the port is out of range.
    """
    if not isinstance(host, str):
        raise InvalidOption(f'A host must be a string such as "name:port", not {host!r}.')
    if host.startswith("unix:/") and "\0" not in host:
        return Host(host.removeprefix("unix:"), 0)
    name, bracket, rest = host.rpartition("]")
    if bracket:
        name, port = name.removeprefix("["), rest.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    if "@" in host:  # not quoted: it may contain a password
        raise InvalidOption('A host must be of the form "name:port", without user and password.')
    well_named = name.split() == [name] and "/" not in name
    if not well_named or not (port or str(DEFAULT_PORT)).isdecimal():
        raise InvalidOption(
            f'A host must be of the form "name:port", "[address]:port" or "unix:/path", '
            f"not {host!r}."
        )
    number = int(port or DEFAULT_PORT)
    PORT.check(f"The port of {host!r}", number)
    return Host(name, number)


def parse_hosts(hosts: Sequence[str]) -> list[Host]:
    """Parses a list of addresses.

    Args:
        hosts: the addresses.

    Returns:
        The parsed addresses, without duplicates.

    Raises:
        InvalidOption: the list is empty, is a single string, or contains an invalid address.
    """
    if isinstance(hosts, str):
        raise InvalidOption(f"hosts must be a list: write [{hosts!r}], not {hosts!r}.")
    if not isinstance(hosts, Iterable):
        raise InvalidOption(f'hosts must be a list, such as ["localhost:4730"], not {hosts!r}.')
    parsed = list(dict.fromkeys(parse_host(host) for host in hosts))
    if not parsed:
        raise InvalidOption('hosts is empty. Add a job server, such as "localhost:4730".')
    return parsed


class Servers(NamedTuple):
    """The job servers of a client, and the options of its connections."""

    hosts: list[Host]
    connect_timeout: float
    """Timeout for connecting, in seconds, for all hosts together."""
    max_packet: int
    """The longest packet to keep, in bytes."""
    tls: TLS | None
    """The TLS settings; None for plain connections."""
