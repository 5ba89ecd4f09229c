"""URIs without the user and the password that are in them. Pure."""

from __future__ import annotations


def without_credentials(uri: str, instead: str = "***") -> str:
    """Returns a URI with something else instead of all of user and password.

    They end at the last `@`: in a password that was not escaped, there may be another one.
    """
    scheme, found, rest = uri.partition("://")
    if not found:
        scheme, rest = "", uri
    _, at, address = rest.rpartition("@")
    return f"{scheme}{found}{instead}@{address}" if at else uri


def address_of(uri: str) -> str:
    """Returns the hosts of a URI, as they are written there."""
    rest = uri.rpartition("@")[2] if "@" in uri else uri.partition("://")[2] or uri
    return rest.partition("/")[0].partition("?")[0]
