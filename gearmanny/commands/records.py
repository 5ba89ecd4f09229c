"""The database of the records, as command lines name it."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator

from gearmanny.errors import InvalidOption, StoreUnavailable
from gearmanny.records.connectors import connector_of
from gearmanny.records.sql import SQLStore


def add_records(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that names the database.

    Args:
        parser: that of a command.
    """
    parser.add_argument(
        "--records",
        metavar="URL",
        default=os.environ.get("GEARMANNY_RECORDS"),
        help="the database: sqlite:///jobs.db or postgresql://user:password@host/name. A password "
        "is better kept from the command line, in the environment variable GEARMANNY_RECORDS",
    )


@contextlib.contextmanager
def given_store(options: argparse.Namespace) -> Iterator[SQLStore | None]:
    """Opens the store in the database that the arguments name, until the block ends.

    Args:
        options: the arguments.

    Yields:
        The store; None where none is named.

    Raises:
        InvalidOption: the URL of the database is invalid.
    """
    if not options.records:
        yield None
        return
    with contextlib.closing(SQLStore(options.records)) as store:
        yield store


def store_of(options: argparse.Namespace, command: str) -> SQLStore:
    """Returns the store in the database that the arguments name.

    Args:
        options: the arguments.
        command: its name, for the error.

    Raises:
        InvalidOption: no database is given, or its URL is invalid.
    """
    if not options.records:
        raise InvalidOption(
            "No database is given. Name the one that callers and workers have as records=: "
            f"gearmanny {command} --records postgresql://user:password@host/name."
        )
    return SQLStore(options.records)


def existing_store(options: argparse.Namespace, command: str) -> SQLStore:
    """Returns the same, for a command that has nothing to do where there are no records: it makes
    no file of a path that was mistyped.

    Args:
        options: the arguments.
        command: its name, for the error.

    Raises:
        InvalidOption: as `store_of` does.
        StoreUnavailable: there is no such file.
    """
    store = store_of(options, command)
    path = getattr(connector_of(options.records), "path", None)
    if path is not None and not path.exists():
        raise StoreUnavailable(
            f"There is no store {str(path)!r}. Its first caller or worker makes it."
        )
    return store
