"""The job servers of a command that knows no settings: where they are, and how they are secured."""

from __future__ import annotations

import argparse

from gearmanny.net.hosts import HOSTS
from gearmanny.net.tls import TLSOption


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments for job servers, as `options.hosts`, and for TLS.

    Args:
        parser: that of the command.
    """
    parser.add_argument(
        "--host",
        dest="hosts",
        action="append",
        metavar="HOST",
        help=f"a job server, name:port or unix:/path; may be repeated (default: {HOSTS[0]})",
    )
    add_tls(parser)


def add_tls(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments for TLS.

    Args:
        parser: that of the command.
    """
    group = parser.add_argument_group("TLS", "Each of these secures the connections.")
    group.add_argument("--tls", action="store_true", help="trust the authorities of the system")
    for name, help in (
        ("ca", "the authorities to trust instead"),
        ("cert", "the certificate to present, with its chain"),
        ("key", "the key of that, if it is in another file"),
    ):
        group.add_argument(f"--tls-{name}", metavar="FILE", help=f"{help}, in PEM")


def tls_of(options: argparse.Namespace) -> TLSOption:
    """Returns how job servers are secured; False for plain connections.

    Args:
        options: the arguments, parsed.
    """
    given = {"ca": options.tls_ca, "cert": options.tls_cert, "key": options.tls_key}
    files = {name: path for name, path in given.items() if path is not None}
    return files or bool(options.tls)
