"""Whether something is a store: it is given to clients, workers and runners."""

from __future__ import annotations

from typing import Any

from gearmanny.errors import InvalidOption
from gearmanny.records.contract import Store


def check_store(records: Any) -> Store:
    """Returns what a client or a worker was given as its records.

    Raises:
        InvalidOption: it is not a store.
    """
    if not hasattr(records, "arecord") or isinstance(records, type):
        # Not quoted: it may be a URL with a password.
        kind = records.__name__ if isinstance(records, type) else type(records).__name__
        raise InvalidOption(
            'records must be a store, such as SQLStore("sqlite:///jobs.db") of '
            f"gearmanny.records.sql, not {kind}."
        )
    store: Store = records
    return store
