"""Threads that tasks have left: they must not report on the job of another.

Threads of pools are no strays. They may be made by the first job that needs them, and serve others.
"""

from __future__ import annotations

import sys
import threading
import weakref

_strays: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class _Seen:
    threads: list[threading.Thread] | None = None
    """Those that were there before the first job, or after the last one."""


def job_begins() -> None:
    """Notes which threads there are before the first job."""
    if _Seen.threads is None:
        _Seen.threads = threading.enumerate()


def job_has_ended() -> None:
    """Notes which threads a job has left, where it ran in the main thread: in others, several
    workers may run at a time."""
    threads = threading.enumerate()
    if threads == _Seen.threads:
        return
    if threading.current_thread() is threading.main_thread():
        known = set(_Seen.threads or ())
        _strays.update(each for each in threads if each not in known and not _is_of_a_pool(each))
    _Seen.threads = threads


def is_stray() -> bool:
    """Returns whether the job that has started this thread has ended."""
    return threading.current_thread() in _strays


def _is_of_a_pool(thread: threading.Thread) -> bool:
    executors = sys.modules.get("concurrent.futures.thread")
    return (
        thread in getattr(executors, "_threads_queues", ())
        or type(thread).__module__ == "multiprocessing.dummy"
    )
