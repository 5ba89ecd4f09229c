"""Numbers of things, in words."""

from __future__ import annotations


def number_of(count: int, noun: str) -> str:
    """Returns a number of things: "1 job", "2 jobs".

    Args:
        count: how many.
        noun: one of them, whose plural ends in "s".
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
