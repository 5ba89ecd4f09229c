"""Orphans: processes that a task started, and whose parent has ended. The first process of a
container inherits them, and nobody else can take note of their end."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
from collections.abc import Collection

INTERVAL = 5.0
"""Seconds for which an orphan that has ended may stay."""

_PR_GET_CHILD_SUBREAPER = 37


def inherits_orphans() -> bool:
    """Returns whether this process inherits orphans: it is the first one of a container, or has
    asked the system for that."""
    if os.getpid() == 1:
        return True
    asked = ctypes.c_int(0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(asked))
    return bool(asked.value)


def bury_orphans(others: Collection[int] = ()) -> None:
    """Notes the end of orphans, so that the system forgets them.

    Args:
        others: the ids of processes that are none, beside those of `multiprocessing`.
    """
    while True:
        # This takes note of those that have ended, and leaves them to their objects.
        own = {*(child.pid for child in multiprocessing.active_children()), *others}
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:
            return
        os.waitpid(ended.si_pid, 0)
