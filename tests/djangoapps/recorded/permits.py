"""An authentication backend that permits one function."""

from __future__ import annotations

from typing import Any


class Permits:
    """Lets everybody call `recorded_write`."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def has_perm(self, user: Any, permission: str, obj: Any = None) -> bool:
        return (permission, obj) == ("gearmanny.call_jobrecord", "recorded_write")
