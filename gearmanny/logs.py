"""The log on the terminal, for programs that ask for one and configure none; and as JSON."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from datetime import UTC, datetime

ROOT = "gearmanny"
"""The logger above all of ours."""


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes what no handler of all of our log does: a program may configure logging later. One
    that has a handler for a part of it, such as `gearmanny.runner`, still sees the whole."""

    def emit(self, record: logging.LogRecord) -> None:
        logger: logging.Logger | None = logging.getLogger(ROOT)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent if logger.propagate else None
        super().emit(record)


class JsonFormatter(logging.Formatter):
    """Writes each log record as one line of JSON, with what it has in `extra`.

    The keys are `time`, in UTC; `level`, `logger`, `process`, `message`; `exception`, a traceback,
    where there is one; and those of `extra`, such as `action`, `function` and `attempt`.
    """

    def format(self, record: logging.LogRecord) -> str:
        created = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _NO_EXTRA}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


_NO_EXTRA = {*vars(logging.makeLogRecord({})), "asctime", "message", "taskName"}
"""The attributes of log records that say what others say, or nothing."""


def escape_unprintable() -> None:
    """Lets stdout escape what its encoding lacks, as stderr does, instead of failing. For commands:
    the names of workers and functions may have any letters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def show_log() -> None:
    """Writes the log of gearmanny to stderr, where nobody configured logging."""
    logger = logging.getLogger(ROOT)
    if logger.hasHandlers():
        return
    handler = _Stderr()
    formatter = logging.Formatter(
        "%(asctime)s [%(process)d] %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"
    )
    # Django sets the time zone of the process to that of the settings: UTC is unmistakable.
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger.addHandler(handler)


def show_info(logger: logging.Logger) -> None:
    """Has one of our loggers log INFO, too; to stderr, where nobody configured logging.

    Args:
        logger: the logger.
    """
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    show_log()
