"""The dicts within the setting `GEARMANNY`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from gearmanny.dispatching.options import Keep
from gearmanny.errors import InvalidOption
from gearmanny.helpers.options import STALE
from gearmanny.payload.checks import DAYS, FLAG, SWITCH, TIME_LIMIT, Rule, choice
from gearmanny.payload.fields import option, same_as
from gearmanny.payload.headers import Headers, NewHeaders
from gearmanny.records.checks import by_state
from gearmanny.working.options import WorkerOptions

NAME = "GEARMANNY"

_TEXT = Rule("a string, not an empty one", lambda text: isinstance(text, str) and bool(text), str)

_FUNCTION = Rule(
    "a function, or the dotted path of one",
    lambda value: isinstance(value, str) or callable(value),
    str,
)

_ENCODER = Rule(
    "a class of json.JSONEncoder, or the dotted path of one",
    lambda value: (
        isinstance(value, str) or (isinstance(value, type) and issubclass(value, json.JSONEncoder))
    ),
    str,
)


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """`GEARMANNY["CACHE"]`."""

    HOST: str = option(
        "mongodb://localhost:27017/",
        _TEXT,
        "URI of the MongoDB server",
        repr=False,  # may hold a password
    )
    DBNAME: str = option("GEARMANCACHE", _TEXT, "its database")
    COLLECTION: str = option("gearman_cache_table", _TEXT, "its collection")
    DEBUG: bool = option(False, FLAG, "log hits, misses and writes at INFO")
    RETURNVALUE_WASHER: Callable[[Any], Any] | str | None = option(
        None,
        _FUNCTION,
        "cleans answers: a function, or the dotted path of one",
        none="they stay as they are",
    )
    JSON_ENCODER: type[json.JSONEncoder] | str = option(
        "django.core.serializers.json.DjangoJSONEncoder",
        _ENCODER,
        "writes arguments and answers: a class, or the dotted path of one",
    )
    STALE_DAYS: float = option(
        0, STALE, "days for which an old answer is served while it is computed again"
    )
    TIMEOUT: float | None = option(
        None, TIME_LIMIT, "seconds for one operation", none="as the URI says, or else 1"
    )
    LEASE: float = option(
        10, TIME_LIMIT, "seconds after which others compute what a dead process was computing"
    )
    ENABLED: bool = option(True, SWITCH, "look for answers and store them")

    def washer(self) -> Callable[[Any], Any] | None:
        """Returns the function that cleans answers.

        Raises:
            ImproperlyConfigured: its path leads nowhere.
        """
        found: Callable[[Any], Any] | None = self._imported("RETURNVALUE_WASHER")
        return found

    def json_encoder(self) -> type[json.JSONEncoder]:
        """Returns the class that writes arguments and answers.

        Raises:
            ImproperlyConfigured: its path leads nowhere, or to something else.
        """
        found: type[json.JSONEncoder] = self._imported("JSON_ENCODER")
        try:
            _ENCODER.check(f"{NAME}['CACHE']['JSON_ENCODER']", found)
        except InvalidOption as error:
            raise ImproperlyConfigured(str(error)) from error
        return found

    def _imported(self, key: str) -> Any:
        value = getattr(self, key)
        try:
            return import_string(value) if isinstance(value, str) else value
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{NAME}['CACHE'][{key!r}] cannot be imported: {error}"
            ) from error


def _check_functions(value: object) -> None:
    if isinstance(value, list | tuple) and all(isinstance(f, str) or callable(f) for f in value):
        return
    raise InvalidOption(
        f"HEADERS must be a list of functions, or of their dotted paths, not {value!r}."
    )


@dataclass(frozen=True, kw_only=True)
class RecordsSettings:
    """`GEARMANNY["RECORDS"]`."""

    STORE: str | None = option(
        None,
        choice("database"),
        'where background jobs are recorded: "database"',
        none="nowhere",
    )
    DATABASE: str = option("default", _TEXT, "alias of that database, in DATABASES")
    KEEP_DAYS: float | Mapping[str, float | None] | None = option(
        7,
        by_state(DAYS),
        "days for which jobs that have ended are kept, or a dict by state",
        none="for ever",
    )
    MAX_RESULT: int | None = same_as(WorkerOptions, "max_result")
    ARGUMENTS: str = option(
        "keep",
        choice("keep", "forget"),
        'what becomes of the arguments of jobs that have succeeded: "keep" or "forget"',
    )

    HEADERS: Sequence[NewHeaders | str] = option(
        [],
        _check_functions,
        "functions that return headers for each recorded job, or their dotted paths",
    )

    def new_headers(self) -> NewHeaders | None:
        """Returns the function that makes the headers of jobs; None where there are none.

        Raises:
            ImproperlyConfigured: a path leads nowhere, or to something else.
        """
        makers = [self._maker(each) for each in self.HEADERS]
        return partial(_made_by, makers) if makers else None

    def _maker(self, maker: NewHeaders | str) -> NewHeaders:
        name = f"{NAME}['RECORDS']['HEADERS']"
        try:
            found: Any = import_string(maker) if isinstance(maker, str) else maker
        except ImportError as error:
            raise ImproperlyConfigured(f"{name}: {maker!r} cannot be imported: {error}") from error
        if callable(found):
            return cast("NewHeaders", found)
        raise ImproperlyConfigured(f"{name}: {maker!r} is not a function.")

    @property
    def keep(self) -> Keep:
        """The seconds for which jobs that have ended are kept, as dispatchers take them."""
        if isinstance(self.KEEP_DAYS, Mapping):
            return {state: _seconds(days) for state, days in self.KEEP_DAYS.items()}
        return _seconds(self.KEEP_DAYS)


def _made_by(makers: Sequence[NewHeaders]) -> Headers:
    """Returns the headers of several functions; of those with the same name, the last one."""
    return {name: value for make in makers for name, value in make().items()}


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * 86400
