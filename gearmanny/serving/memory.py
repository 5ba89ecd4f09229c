"""How much memory this process can get."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

_SHARE = 4
"""Jobs may take one part in so many; what connections leave unread, and what arrives, one each."""

_CGROUP = Path("/sys/fs/cgroup/memory.max")
"""The limit of a container."""


def default_memory() -> int:
    """Returns the bytes that the jobs of a job server may take unless it is told."""
    available = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            available.append(soft)
    with contextlib.suppress(OSError, ValueError):  # not there, or "max"
        available.append(int(_CGROUP.read_text()))
    return min(available) // _SHARE
