"""`gearmanny jobs`: shows and changes recorded jobs."""

from __future__ import annotations

import argparse
import contextlib

from gearmanny.commands.records import add_records, existing_store
from gearmanny.payload.masking import MASK
from gearmanny.records.console import Console, add_jobs, run_jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command.

    Args:
        parser: that of the command.
    """
    parser.description = "Shows recorded jobs, queues them again, cancels and deletes them."
    add_records(parser)
    add_jobs(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the command.

    Args:
        options: its arguments.

    Returns:
        The exit code.

    Raises:
        InvalidOption: no database is given, or an argument is invalid.
        StoreUnavailable: the database cannot be reached.
    """
    with contextlib.closing(existing_store(options, "jobs")) as store:
        return run_jobs(vars(options), Console(store, print, MASK))
