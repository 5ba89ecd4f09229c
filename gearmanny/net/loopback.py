"""Loopback addresses and free ports."""

from __future__ import annotations

import ipaddress
import socket

from gearmanny.net.hosts import Host


def loopback_address(host: Host) -> str | None:
    """Returns the loopback address of a host.

    Args:
        host: the host. Its name is resolved.

    Returns:
        The address, IPv4 if it has both; None if it has no address, or one that is not loopback.
    """
    try:
        found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    addresses = [str(address) for family, *_, (address, *_) in sorted(found)]
    local = all(ipaddress.ip_address(address).is_loopback for address in addresses)
    return addresses[0] if local and addresses else None


def free_port() -> int:
    """Returns a free port of 127.0.0.1."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
