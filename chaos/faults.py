"""Moved to `tools.proxies`."""

from tools.proxies import Proxy, proxy

__all__ = ["Proxy", "proxy"]
