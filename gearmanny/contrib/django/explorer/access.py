"""The permissions of the explorer."""

from __future__ import annotations

from typing import Any

VIEW = "gearmanny.view_jobrecord"
ACT = "gearmanny.act_jobrecord"
CALL = "gearmanny.call_jobrecord"


def may_view(user: Any) -> bool:
    """Returns whether somebody may see jobs."""
    return bool(user.has_perm(VIEW))


def may_act(user: Any) -> bool:
    """Returns whether somebody may retry, cancel and discard jobs that are there."""
    return may_view(user) and bool(user.has_perm(ACT))


def may_call(user: Any, function: str) -> bool:
    """Returns whether somebody may call a function.

    An authentication backend may permit some functions alone: it is asked for the permission with
    the name of the function as the object.

    Args:
        user: who wants to.
        function: the Gearman function.
    """
    return may_view(user) and bool(user.has_perm(CALL) or user.has_perm(CALL, function))
