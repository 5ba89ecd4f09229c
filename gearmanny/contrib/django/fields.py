"""The field of the times in records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class MomentField(models.DateTimeField):  # type: ignore[type-arg]
    """A time that the database wrote. In SQLite it is text in UTC, whatever the settings say of
    time zones: raw SQL and the ORM read and write one format, which can be compared as text."""

    def from_db_value(self, value: datetime | None, expression: Any, connection: Any) -> Any:
        if value is None or connection.vendor != "sqlite":
            return value
        moment = value.replace(tzinfo=UTC)  # Django takes it for one in the zone of its settings
        return moment if settings.USE_TZ else timezone.make_naive(moment)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if connection.vendor != "sqlite":
            return super().get_db_prep_value(value, connection, prepared)
        moment = value if prepared else self.get_prep_value(value)
        if moment is None or hasattr(moment, "resolve_expression"):
            return moment
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment)
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


class NameField(models.TextField):  # type: ignore[type-arg]
    """A text as a primary key, without the second index that Django makes for LIKE in PostgreSQL,
    which it does where the type is spelled "text"."""

    def db_type(self, connection: Any) -> str:
        kind = str(super().db_type(connection))
        return kind.upper() if connection.vendor == "postgresql" else kind
