"""Database connections that threads of tasks opened, and that nobody closes with their threads."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass
from typing import Any

from django.db.backends.signals import connection_created

logger = logging.getLogger("gearmanny.worker")


@dataclass
class _Opened:
    """A connection of a thread in which no jobs run."""

    thread: threading.Thread
    connection: Any
    named: bool = False


_opened: list[_Opened] = []


class _Thread(threading.local):
    runs_jobs = False
    """Whether a hook looks after the connections of this thread."""


_this_thread = _Thread()


def runs_jobs_here() -> None:
    """Notes that jobs run in this thread, so that others are those of tasks."""
    if not _this_thread.runs_jobs:
        _this_thread.runs_jobs = True
        connection_created.connect(_note, dispatch_uid=__name__)


def close_those_of_ended_threads() -> None:
    """Closes the connections of threads that have ended, and logs which threads keep theirs.

    Django closes neither: the connection of a thread that has ended stays open until Python
    collects it, which may be many jobs later.
    """
    for opened in list(_opened):
        if opened.thread.is_alive():
            _name(opened)
            continue
        with contextlib.suppress(ValueError):  # another thread has closed it
            _opened.remove(opened)
            _close(opened)


def _note(connection: Any, **kwargs: Any) -> None:
    if not _this_thread.runs_jobs:
        _opened.append(_Opened(threading.current_thread(), connection))


def _close(opened: _Opened) -> None:
    opened.connection.inc_thread_sharing()
    try:
        opened.connection.close()
    except Exception:
        logger.warning(
            "a connection to the database %r could not be closed after its thread %r",
            opened.connection.alias,
            opened.thread.name,
            exc_info=True,
            extra={"action": "close_failed"},
        )


def _name(opened: _Opened) -> None:
    if not opened.named and opened.connection.connection is not None:
        opened.named = True
        logger.warning(
            "a task left the thread %r, which keeps a connection to the database %r; end the "
            "thread with its job, or call django.db.connections.close_all() in it",
            opened.thread.name,
            opened.connection.alias,
            extra={"action": "connection_left_open"},
        )
