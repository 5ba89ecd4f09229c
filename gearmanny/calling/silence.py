"""Sentences that explain why a call was not answered."""

from __future__ import annotations

from collections.abc import Iterable

from gearmanny.protocol.admin import FunctionStatus


def silent_too(host: str) -> str:
    """Returns a sentence on a job server that does not even say why a function did not answer."""
    return f"The job server {host} does not answer either."


def why_silent(host: str, function: str, rows: Iterable[FunctionStatus]) -> str:
    """Returns a sentence on why a function did not answer, from the rows of its job server."""
    for row in rows:
        if row.function == function and row.workers:
            return (
                f"On {host} {row.workers} worker(s) offer it; {row.running} of its jobs run "
                f"and {row.total - row.running} wait. Wait longer, or start more workers."
            )
    return (
        f"No worker offers it on {host}. Start one that does, or look whether the name "
        "and the host are right."
    )
