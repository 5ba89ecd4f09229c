"""A router that sends the models of this app to the database of the records."""

from __future__ import annotations

from typing import Any


class ToRecords:
    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "recorded" if model._meta.app_label == "atomic" else None
