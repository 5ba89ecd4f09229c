"""The documents of the cache, and the operations on them.

An operation is a function of the collection. It makes one call, so that with a collection of
pymongo's asynchronous API it returns an awaitable of the result.

A lease says who computes an answer. It is in the document of that answer, which may have nothing
else yet, and is told by the clock of the server alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import bson
from pymongo import ReturnDocument

from gearmanny.errors import EncodingError
from gearmanny.helpers import values
from gearmanny.helpers.freshness import Ages, Freshness
from gearmanny.helpers.indexes import local_time

Operation = Callable[[Any], Any]
Document = dict[str, Any]

_LARGEST = 16 * 1024 * 1024 - 64 * 1024
"""Bytes of a document, with room for a lease."""

_SMALL = 512 * 1024
"""Bytes of JSON whose document is never too large, whatever it is made of."""

_MANY = 20
"""Entries of other programs for equal arguments: of those that race, each stores one."""

_PERMUTED = 4
"""Arguments that are looked for in every order: 24 of them."""

_READ_SHARED = {"_id": False, "added": True, "purge_at": True, "data": True, "query.kwargs": True}

_NOW = {"$toLong": "$$NOW"}
"""Milliseconds since 1970, by the clock of the server: numbers compare alike on all servers."""

_NO_ANSWER = {"$eq": [{"$type": "$added"}, "missing"]}

_KEPT = {"$cond": [_NO_ANSWER, {"$add": ["$$NOW", 3_600_000]}, "$delete_at"]}
"""When a document may be deleted that has a lease and no answer: not while that is renewed."""

_BYPASSED_FOR = 60.0
"""Seconds for which others do not wait for an answer that cannot be stored."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer that was stored, and what it is worth now."""

    value: Any
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class Claim:
    """The outcome of asking to compute an answer."""

    granted: bool
    """Whether the lease is ours."""
    bypassed: bool
    """Whether no lease is needed, as the answer cannot be stored."""
    added: object
    """When the answer was stored that is there, if any."""


def find(key: str) -> Operation:
    """Looks for an entry of ours. All of it is sent: to leave fields out costs a server more."""
    return lambda collection: collection.find_one({"key": key})


def read(document: Mapping[str, Any] | None, ages: Ages, now: datetime) -> Entry | None:
    """Returns the entry in a document of ours; None where none can be read."""
    added = document.get("added") if document else None
    if document is None or not isinstance(added, datetime):
        return None
    value = values.read(document)
    return None if value is values.MISSING else Entry(value, ages.judge(added, now))


def find_shared(unique_name: str, candidates: list[Document]) -> Operation:
    """Looks for entries of the first version, which have no key."""
    query = {
        "type": unique_name,
        "query.kwargs": {"$in": candidates},
        "key": {"$exists": False},
    }
    newest = [("purge_at", -1)]
    return lambda collection: collection.find(
        query, _READ_SHARED, sort=newest, limit=_MANY
    ).to_list(_MANY)


def candidates(given: Document, named: Document) -> list[Document]:
    """Returns what the first version may have stored as the arguments of a call: it kept those that
    were given, and tells apart in which order. Of many, the usual orders have to do."""
    found: dict[str, Document] = {}
    for arguments in (given, named):
        orders: Iterable[Iterable[str]] = (arguments, sorted(arguments))
        if len(arguments) <= _PERMUTED:
            orders = itertools.permutations(arguments)
        for order in orders:
            each = {name: arguments[name] for name in order}
            found.setdefault(json.dumps(each), each)
    return list(found.values())


def read_shared(
    documents: list[Document],
    unique_name: str,
    expected: list[Document],
    ages: Ages,
    now: datetime,
    encoder: type[json.JSONEncoder],
) -> Entry | None:
    """Returns the best of the entries of the first version; None where none can be read.

    They are fresh until `purge_at`, by the clock of the host; nothing is older than `ages` allow.
    """
    local_now = local_time(now)
    texts = {json.dumps(arguments, sort_keys=True) for arguments in expected}
    for document in documents:
        try:
            # MongoDB takes 1 for 1.0.
            if json.dumps(document["query"]["kwargs"], sort_keys=True) not in texts:
                continue
            value = json.loads(values.to_json(unique_name, document["data"], encoder))
            fresh_until = _naive(document["purge_at"])
            added = _naive(document.get("added", document["purge_at"]))
        except (KeyError, TypeError, AttributeError, EncodingError):
            continue
        begin = min(added, fresh_until - ages.fresh)
        return Entry(value, ages.judge(begin, local_now))
    return None


def _naive(moment: Any) -> datetime:
    if not isinstance(moment, datetime):
        raise TypeError
    return moment.replace(tzinfo=None)


def document(
    key: str, unique_name: str, arguments: Document | None, text: str, ages: Ages
) -> Document | None:
    """Returns what is stored of an answer; None when it is too large.

    Args:
        key: of the call.
        unique_name: of the function.
        arguments: by name, as JSON has them; None where other programs must not find the entry.
        text: the answer as JSON.
        ages: of the answers of the function.
    """
    added = datetime.now(UTC)
    stamp = {
        "key": key,
        "type": unique_name,
        "added": added,
        "purge_at": local_time(added + ages.fresh),
        "delete_at": ages.delete_at(added),
    }
    exact = values.as_it_is(json.loads(text))
    if exact is not None:
        if arguments is not None and values.as_it_is(arguments) is not None:
            shared = {**stamp, "query": {"kwargs": arguments}, **exact}
            if _fits(shared, text, arguments):
                return shared
        if _fits(whole := {**stamp, **exact}, text):
            return whole
    packed = {**stamp, **values.as_json(text)}
    return packed if _fits(packed, text) else None


def _fits(document: Document, text: str, arguments: object = None) -> bool:
    size = len(text) + len(json.dumps(arguments))
    return size <= _SMALL or len(bson.encode(document)) <= _LARGEST


def store(document: Document, holder: str | None) -> Operation:
    """Stores an answer, which ends the lease: not where that was lost, as the answer was cleared
    while it was computed, or somebody else computes a newer one. Without a holder, stores it
    whatever there is."""
    if holder is None:
        return lambda collection: collection.replace_one(
            {"key": document["key"]}, document, upsert=True
        )
    return lambda collection: collection.replace_one(
        {"key": document["key"], "lease.holder": holder}, document
    )


def claim(key: str, unique_name: str, holder: str, seconds: float) -> Operation:
    """Takes the lease for so many seconds, unless somebody else has it."""
    free = {"$lt": ["$lease.until", _NOW]}
    ours = {"holder": holder, "until": _in(seconds)}
    fields = {
        "lease": {"$cond": [free, ours, "$lease"]},
        "delete_at": _KEPT,
        "type": {"$literal": unique_name},  # by which it is deleted
    }
    update = [{"$set": fields}]
    return lambda collection: collection.find_one_and_update(
        {"key": key},
        update,
        {"_id": False, "lease": True, "added": True},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )


def claimed(document: Mapping[str, Any], holder: str) -> Claim:
    """Returns what became of a claim."""
    lease = document.get("lease") or {}
    return Claim(lease.get("holder") == holder, "bypass" in lease, document.get("added"))


def _in(seconds: float) -> Document:
    return {"$add": [_NOW, int(seconds * 1000)]}


def renew(key: str, holder: str, seconds: float) -> Operation:
    """Keeps the lease for so many seconds more, if it is still ours."""
    update = [{"$set": {"lease.until": _in(seconds), "delete_at": _KEPT}}]
    return lambda collection: collection.update_one({"key": key, "lease.holder": holder}, update)


def release(key: str, holder: str) -> Operation:
    """Gives the lease back. Where there is no answer, nothing of the document is kept."""
    update = [
        {"$set": {"delete_at": {"$cond": [_NO_ANSWER, "$$NOW", "$delete_at"]}}},
        {"$unset": "lease"},
    ]
    return lambda collection: collection.update_one({"key": key, "lease.holder": holder}, update)


def bypass(key: str, holder: str) -> Operation:
    """Lets others compute without waiting for an answer that cannot be stored."""
    update = [{"$set": {"lease.bypass": True, "lease.until": _in(_BYPASSED_FOR)}}]
    return lambda collection: collection.update_one({"key": key, "lease.holder": holder}, update)


def delete(key: str) -> Operation:
    """Deletes the entry of a call, and the lease on it."""
    return lambda collection: collection.delete_many({"key": key})


def delete_shared(unique_name: str, candidates: list[Document]) -> Operation:
    """Deletes what the first version stored for a call."""
    query = {"type": unique_name, "query.kwargs": {"$in": candidates}, "key": {"$exists": False}}
    return lambda collection: collection.delete_many(query)


def delete_all(unique_name: str | None) -> Operation:
    """Deletes all entries of a function, or of all functions, and the leases on them."""
    return lambda collection: collection.delete_many(_of(unique_name))


def _of(unique_name: str | None) -> Document:
    return {"type": {"$type": "string"} if unique_name is None else unique_name}


def count(unique_name: str | None) -> Operation:
    """Counts the entries by the names of their functions, with their bytes and their age."""
    group = {
        "_id": "$type",
        "entries": {"$sum": 1},
        "bytes": {"$sum": {"$bsonSize": "$$ROOT"}},
        "oldest": {"$min": "$added"},
        "newest": {"$max": "$added"},
    }
    answered = {**_of(unique_name), "added": {"$exists": True}}
    steps = [{"$match": answered}, {"$group": group}, {"$sort": {"_id": 1}}]
    return lambda collection: collection.aggregate(steps)
