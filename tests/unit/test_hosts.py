"""How hosts are written."""

from __future__ import annotations

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.net.hosts import Host, parse_host, parse_hosts


@pytest.mark.parametrize(
    ("written", "host", "server_name"),
    [
        ("jobs.example", Host("jobs.example", 4730), "jobs.example"),
        ("10.0.0.1:99", Host("10.0.0.1", 99), "10.0.0.1"),
        ("[::1]", Host("::1", 4730), "::1"),
        ("[fe80::1%eth0]:99", Host("fe80::1%eth0", 99), "fe80::1"),
        ("unix:/run/a b.sock", Host("/run/a b.sock", 0), None),
        ("unix:99", Host("unix", 99), "unix"),
    ],
)
def test_a_host_is_read_and_written_back(written: str, host: Host, server_name: str | None) -> None:
    assert parse_host(written) == host == parse_host(str(host))
    assert host.server_name == server_name


@pytest.mark.parametrize(
    "written",
    ["", ":4730", "a b", "a:b", "::1", "[::1]99x", "/run/x", "unix:x/y", "unix:/a\0b", 5],
)
def test_what_is_no_host_is_told_with_what_would_be(written: object) -> None:
    with pytest.raises(InvalidOption, match=r'A host must be .*"name:port"'):
        parse_host(written)  # type: ignore[arg-type]


@pytest.mark.parametrize("port", [0, 65536])
def test_a_port_has_its_limits(port: int) -> None:
    with pytest.raises(InvalidOption, match="from 1 to 65535"):
        parse_host(f"localhost:{port}")


def test_equal_hosts_count_once() -> None:
    assert parse_hosts(["a", "a:4730", "unix:/a", "unix:/a"]) == [Host("a", 4730), Host("/a", 0)]
