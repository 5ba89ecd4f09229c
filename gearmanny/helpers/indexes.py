"""The collection of the cache: its indexes, and the entries that other versions left in it.

Programs of the first version may share it. Its entries have no `key`; its `purge_at` is the time,
on the clock of the host, until which an entry is fresh, and stale entries stay.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pymongo
import pymongo.errors
from bson.errors import BSONError
from pymongo.collection import Collection

from gearmanny.helpers.freshness import KEEP_STALE

logger = logging.getLogger("gearmanny.cache")

Entries = Collection[dict[str, Any]]

_INDEX_NOT_FOUND = 27
"""The code of MongoDB for an index that is gone already."""

_BATCH = 500
"""Entries that are carried over at a time."""

_PROBLEM = "an index of the cache cannot be created or dropped"

_INDEXES = [
    # Entries of the first version have no key: they must not count as equal.
    pymongo.IndexModel("key", unique=True, partialFilterExpression={"key": {"$exists": True}}),
    # The one that the first version makes, by which its entries are looked up.
    pymongo.IndexModel([("type", 1), ("query.kwargs", 1)]),
    pymongo.IndexModel("delete_at", expireAfterSeconds=0),
]

_WITHOUT_DELETE_AT = {
    "key": {"$regex": "^[0-9a-f]{64}$"},
    "purge_at": {"$type": "date"},
    "delete_at": {"$exists": False},
    "type": {"$type": "string"},
    "query.kwargs": {"$type": "object"},
    "added": {"$type": "date"},
}
"""Entries of the version whose `purge_at` was the time of their deletion."""


def prepare(collection: Entries) -> None:
    """Creates the indexes that are missing, and drops the one of an earlier version that deletes
    stale entries of other programs. Logs what the server refuses: the cache works without."""
    existing = collection.index_information()
    if any(map(_is_obsolete, existing.values())):
        _try(_drop_obsolete_index, collection, _PROBLEM)
    missing = [index for index in _INDEXES if not _is_among(existing, index)]
    if not missing:
        return
    try:
        collection.create_indexes(missing)
    except pymongo.errors.OperationFailure:  # one of them: the others are created without it
        for index in missing:
            _try(partial(_create, index), collection, _PROBLEM)


def carry_over(collection: Entries) -> None:
    """Gives entries of an earlier version the fields that they would have today.

    Takes as long as it takes, for a thread of its own. Several processes may do it at once, and
    what one of them leaves undone is done by the next one.
    """
    _try(_carry_over, collection, "entries of an earlier version cannot be updated")


def local_time(moment: datetime) -> datetime:
    """Returns a moment as the clock of this host shows it, without a time zone."""
    try:
        return moment.astimezone().replace(tzinfo=None)
    except (OSError, OverflowError, ValueError):  # too far away for the C library of the system
        return moment.astimezone(UTC).replace(tzinfo=None)


def reason_of(error: Exception) -> str:
    """Returns the text of an error without what follows its opening: the topology, or the whole
    answer of the server."""
    if not isinstance(error, pymongo.errors.PyMongoError):
        return type(error).__name__  # its text may quote an entry
    return re.split(r" \(configured timeouts|, Timeout:|, full error:", str(error))[0]


def _try(step: Callable[[Entries], object], collection: Entries, problem: str) -> None:
    try:
        step(collection)
    except (pymongo.errors.OperationFailure, BSONError, OverflowError) as error:
        logger.warning("%s: %s", problem, reason_of(error), extra={"action": "cache_index"})


def _is_among(existing: Mapping[str, Any], index: pymongo.IndexModel) -> bool:
    found = existing.get(index.document["name"])
    return found is not None and all(
        found.get(option) == index.document.get(option)
        for option in ("unique", "expireAfterSeconds")
    )


def _create(index: pymongo.IndexModel, collection: Entries) -> None:
    collection.create_indexes([index])


def _is_obsolete(index: Mapping[str, Any]) -> bool:
    return bool(index["key"] == [("purge_at", 1)] and index.get("expireAfterSeconds") == 0)


def _drop_obsolete_index(collection: Entries) -> None:
    for name, index in collection.index_information().items():
        if _is_obsolete(index):
            try:
                collection.drop_index(name)
            except pymongo.errors.OperationFailure as error:
                if error.code != _INDEX_NOT_FOUND:  # else another process was quicker
                    raise


def _carry_over(collection: Entries) -> None:
    try:
        found = collection.find(_WITHOUT_DELETE_AT, {"purge_at": True})
        while entries := list(itertools.islice(found, _BATCH)):
            collection.bulk_write([_update(entry) for entry in entries], ordered=False)
    except pymongo.errors.ConnectionFailure:
        return  # the next process goes on


def _update(entry: dict[str, Any]) -> pymongo.UpdateOne:
    delete_at = entry["purge_at"]
    return pymongo.UpdateOne(
        # Another process may have done it meanwhile, or stored a new answer.
        {"_id": entry["_id"], **_WITHOUT_DELETE_AT},
        {"$set": {"delete_at": delete_at, "purge_at": local_time(delete_at - KEEP_STALE)}},
    )
