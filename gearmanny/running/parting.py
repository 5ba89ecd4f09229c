"""The end of a process: Python waits for threads and processes that tasks have left, but not for
ever."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import time

logger = logging.getLogger("gearmanny.runner")

_PATIENCE = 5.0
"""Seconds that threads and processes of tasks get to end, unless the process is to be killed
sooner."""


def begin(name: str, grace: float | None, exit_code: int = 0) -> None:
    """Lets the process end as Python programs do, and ends it at once if that takes too long.

    Args:
        name: the name of the process.
        grace: seconds after which it is killed, None for never.
        exit_code: its exit code then.
    """
    # Half of it, so that what was left is named before that.
    patience = _PATIENCE if grace is None else min(_PATIENCE, grace / 2)
    threading.Thread(target=_end_at_last, args=(name, patience, exit_code), daemon=True).start()


def _end_at_last(name: str, patience: float, exit_code: int) -> None:
    time.sleep(patience)
    logger.warning(
        "process %s ends without waiting for what its tasks have left: %s",
        name,
        ", ".join([*_threads(), *_children()]) or "nothing that Python knows",
        extra={"action": "left_behind"},
    )
    logging.shutdown()
    os._exit(exit_code)


def _threads() -> list[str]:
    frames = sys._current_frames()
    found = []
    for thread in threading.enumerate():
        if thread.daemon or thread is threading.main_thread() or thread.ident is None:
            continue
        frame = frames.get(thread.ident)
        while frame is not None and frame.f_code.co_filename == threading.__file__:
            frame = frame.f_back
        place = "" if frame is None else f" at {frame.f_code.co_filename}:{frame.f_lineno}"
        found.append(f"thread {thread.name!r}{place}")
    return found


def _children() -> list[str]:
    return [
        f"process {child.name!r}, pid {child.pid}"
        for child in multiprocessing.active_children()
        if not child.daemon
    ]
