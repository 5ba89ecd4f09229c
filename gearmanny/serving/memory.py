"""The memory that this process can get."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

_SHARE = 4
"""Jobs may take a quarter; unread answers and incomplete packets may take a quarter each."""

_CGROUP = Path("/sys/fs/cgroup/memory.max")
"""The memory limit of a container."""


def default_memory() -> int:
    """Returns how many bytes the jobs of a job server may take by default."""
    available = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            available.append(soft)
    with contextlib.suppress(OSError, ValueError):  # not there, or "max"
        available.append(int(_CGROUP.read_text()))
    return min(available) // _SHARE
