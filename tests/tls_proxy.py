"""Moved to `tests.support.tls` and `tools.proxies`."""

from tests.support.tls import Authority
from tools.proxies import Proxy, proxy

__all__ = ["Authority", "Proxy", "proxy"]
