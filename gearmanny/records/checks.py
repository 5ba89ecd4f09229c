"""Checks of what is given to clients, workers and runners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import Rule
from gearmanny.records.contract import Store
from gearmanny.records.states import ENDED


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


def by_state(rule: Rule) -> Rule:
    """Returns a rule for a value, or for a mapping of such values by the state in which a job has
    ended. Each may be None.

    Args:
        rule: for one value.
    """

    def allows(value: object) -> bool:
        if not isinstance(value, Mapping):
            return rule.allows(value)
        return all(
            state in tuple(ENDED) and (each is None or rule.allows(each))
            for state, each in value.items()
        )

    return Rule(
        f"{rule.words}, or a dict of such numbers by state ({', '.join(ENDED)})", allows, rule.read
    )
