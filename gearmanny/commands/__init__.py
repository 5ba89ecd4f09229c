"""The commands of `gearmanny`, and those that `manage.py gearmanny` shares with it."""

from __future__ import annotations

import sys

OK = 0
FAILED = 1
WRONG = 2
INTERRUPTED = 130
"""Exit codes. Those for wrong arguments and for Ctrl-C are the usual ones."""


def write(line: str) -> None:
    """Writes a line to stdout, for a reader that may be waiting for it.

    Args:
        line: the line.
    """
    print(line, flush=True)  # noqa: T201


def complain(line: str) -> None:
    """Writes a line to stderr.

    Args:
        line: the line.
    """
    print(f"gearmanny: {line}", file=sys.stderr)  # noqa: T201
