"""The store that the settings describe, and the transaction of atomic tasks. Where records are off,
nothing of them is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from gearmanny.contrib.django.settings import get_settings

if TYPE_CHECKING:
    from gearmanny.contrib.django.records import DjangoStore


def get_store() -> DjangoStore | None:
    """Returns the store that the settings describe; None where jobs have no records.

    Raises:
        ImproperlyConfigured: the settings are invalid.
    """
    settings = get_settings().RECORDS
    if settings.STORE is None:
        return None
    from gearmanny.contrib.django.records import store_in  # noqa: PLC0415

    return store_in(settings.DATABASE)


@contextlib.contextmanager
def task_transaction() -> Iterator[Any]:
    """Runs the block in a transaction of the database of `GEARMANNY["RECORDS"]`.

    Yields:
        The connection of the driver.
    """
    alias = get_settings().RECORDS.DATABASE
    with transaction.atomic(using=alias):
        connection = connections[alias]
        connection.ensure_connection()
        yield connection.connection
