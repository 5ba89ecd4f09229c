"""Things that worker processes inherit from the runner, besides connections: see the table in
`docs/workers.md`."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator

logger = logging.getLogger("gearmanny.runner")

_REMADE = ("gearmanny", "Otel", "pymongo")
"""Beginnings of the names of threads that nobody misses, or that their library makes again."""


def flush_logs() -> None:
    """Writes the records that handlers of the log have gathered: each process would write its copy
    of them."""
    for handler in _handlers():
        with contextlib.suppress(Exception):  # that of the user, and no reason not to fork
            handler.flush()


def name_threads() -> None:
    """Logs which threads will be missing in the processes: only the thread that forks exists there.

    A listener that takes records from a queue is such a thread; so is an exporter of metrics.
    """
    ours = (threading.main_thread(), threading.current_thread())
    names = sorted(
        thread.name
        for thread in threading.enumerate()
        if thread not in ours and not thread.name.startswith(_REMADE)
    )
    if names:
        logger.warning(
            "this process has threads that worker processes will not have: %s. Start what needs "
            "them in setUp(), such as the listener of a log queue",
            ", ".join(names),
            extra={"action": "threads_not_inherited"},
        )


def reseed() -> None:
    """Makes the random numbers of this process its own. Python does so with `random`, but all
    processes would inherit the state of NumPy's generator."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def _handlers() -> Iterator[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for each in loggers:
        if isinstance(each, logging.Logger):  # else it is the place of one
            yield from each.handlers
