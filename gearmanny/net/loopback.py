"""Addresses that only this machine can reach."""

from __future__ import annotations

import ipaddress
import socket

from gearmanny.net.hosts import Host


def loopback_address(host: Host) -> str | None:
    """Returns an address of a host that only this machine can reach, of IPv4 where it has both;
    None when there are others, or none."""
    try:
        found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    addresses = [str(address) for family, *_, (address, *_) in sorted(found)]
    local = all(ipaddress.ip_address(address).is_loopback for address in addresses)
    return addresses[0] if local and addresses else None


def free_port() -> int:
    """Returns a port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
