"""The command `cache` of every command line: the cached answers in MongoDB."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gearmanny.commands import write
from gearmanny.errors import GearmanException
from gearmanny.helpers.options import DEFAULT_COLLECTION, DEFAULT_DBNAME, DEFAULT_HOST
from gearmanny.payload.counts import number_of

if TYPE_CHECKING:
    from gearmanny.helpers.caches import MongoCache

_ENVIRONMENT = "GEARMANNY_CACHE"


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Adds the verbs of the command.

    Args:
        parser: that of the command.
    """
    verbs = parser.add_subparsers(required=True, metavar="verb", dest="verb")
    for verb, text in (
        ("info", "show how many answers there are of each function"),
        ("clear", "delete the answers of one function, or all answers"),
    ):
        each = verbs.add_parser(verb, help=text)
        each.add_argument("name", nargs="?", help="the unique_name of a function")


def run_cache(
    options: Mapping[str, Any],
    get_cache: Callable[[], MongoCache],
    write: Callable[[str], object],
) -> None:
    """Does what the arguments say.

    Args:
        options: the arguments, parsed.
        get_cache: returns the cache.
        write: writes a line.

    Raises:
        GearmanException: MongoDB cannot be used, or pymongo is not installed.
    """
    try:
        from gearmanny.helpers.caches import Unavailable  # noqa: PLC0415  needs an extra
    except ImportError as error:
        raise GearmanException(str(error)) from error
    name = options["name"]
    try:
        if options["verb"] == "clear":
            write(f"{number_of(get_cache().clear(name), 'answer')} deleted")
            return
        for row in get_cache().info(name):
            newest = f"{row['newest']:%Y-%m-%d %H:%M}" if row["newest"] else "unknown"
            write(f"{row['_id']}: {row['entries']} answers, {row['bytes']} bytes, newest {newest}")
    except Unavailable as error:
        raise GearmanException("MongoDB cannot be used. The log says why.") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command.

    Args:
        parser: that of the command.
    """
    parser.description = "Shows how many answers a cache has of each function, and deletes them."
    parser.add_argument(
        "--mongodb",
        metavar="URI",
        default=os.environ.get(_ENVIRONMENT, DEFAULT_HOST),
        help="the MongoDB server. A password is better kept from the command line, in the "
        f"environment variable {_ENVIRONMENT} (default: {DEFAULT_HOST})",
    )
    parser.add_argument(
        "--dbname", default=DEFAULT_DBNAME, help="its database (default: %(default)s)"
    )
    parser.add_argument(
        "--collection", default=DEFAULT_COLLECTION, help="its collection (default: %(default)s)"
    )
    add_cache(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the command.

    Args:
        options: its arguments.

    Raises:
        GearmanException: MongoDB cannot be used, or pymongo is not installed.
    """

    def get_cache() -> MongoCache:
        from gearmanny.helpers.cache_mongodb import MongoCache  # noqa: PLC0415  needs an extra

        return MongoCache(options.mongodb, options.dbname, options.collection)

    run_cache(vars(options), get_cache, write)
