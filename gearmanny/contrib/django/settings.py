"""The setting `GEARMANNY`: one dict, read on use and again when it changes.

`Settings` and `CacheSettings` list its keys with their defaults. The flags of `runworkers` are made
of them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, TypeVar

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from gearmanny.dispatching.options import Keep
from gearmanny.errors import InvalidOption
from gearmanny.helpers.options import STALE
from gearmanny.hooks import Hook, check_hooks
from gearmanny.net.hosts import HOSTS, parse_hosts
from gearmanny.net.tls import TLSOption
from gearmanny.payload.checks import (
    ADDRESS,
    FLAG,
    PORT,
    SWITCH,
    TIME_LIMIT,
    WAIT,
    Rule,
    choice,
    number,
)
from gearmanny.payload.fields import check_options, option, options_of, same_as
from gearmanny.payload.masking import MASK, check_mask
from gearmanny.records.checks import by_state
from gearmanny.running.options import RunnerOptions
from gearmanny.running.pools import PoolOptions, check_pools
from gearmanny.working.options import WorkerOptions

NAME = "GEARMANNY"

HYGIENE = "gearmanny.contrib.django.hooks.healthy_connections"
"""The hook that does around a job what Django does around a request."""

T = TypeVar("T")

_TEXT = Rule("a string, not an empty one", lambda text: isinstance(text, str) and bool(text), str)

_SHORTEST_TOKEN = 16
"""Characters."""

_DAYS = number("a number of days from 0 to 36500", lambda days: 0 <= days <= 36500)

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
        by_state(_DAYS),
        "days for which jobs that have ended are kept, or a dict by state",
        none="for ever",
    )
    MAX_RESULT: int | None = same_as(WorkerOptions, "max_result")
    ARGUMENTS: str = option(
        "keep",
        choice("keep", "forget"),
        'what becomes of the arguments of jobs that have succeeded: "keep" or "forget"',
    )

    @property
    def keep(self) -> Keep:
        """The seconds for which jobs that have ended are kept, as dispatchers take them."""
        if isinstance(self.KEEP_DAYS, Mapping):
            return {state: _seconds(days) for state, days in self.KEEP_DAYS.items()}
        return _seconds(self.KEEP_DAYS)


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * 86400


def _check_hooks(hooks: object) -> None:
    if isinstance(hooks, (list, tuple)):  # paths are followed where the hooks are needed
        hooks = [hook for hook in hooks if not isinstance(hook, str)]
    check_hooks(hooks)


def _check_token(token: object) -> None:
    if token is None or (isinstance(token, str) and len(token) >= _SHORTEST_TOKEN):
        return
    raise InvalidOption(  # which does not quote a secret
        f"It must be a string of {_SHORTEST_TOKEN} characters or more, or None."
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`GEARMANNY`."""

    HOSTS: list[str] = option(list(HOSTS), parse_hosts, "job servers, name:port or unix:/path")
    TIMEOUT: float | None = option(
        60,
        WAIT,
        "seconds that `client` waits for an answer",
        none="as long as the job takes",
    )
    THREADS: int = same_as(PoolOptions, "threads")
    PREFETCH: int | None = same_as(WorkerOptions, "prefetch")
    CONCURRENCY: int | None = same_as(WorkerOptions, "concurrency")
    MAX_PACKET: int = same_as(WorkerOptions, "max_packet")
    TLS: TLSOption = same_as(WorkerOptions, "tls")
    HOOKS: Sequence[Hook | str] = option(
        [HYGIENE], _check_hooks, "hooks around every job, or their dotted paths"
    )
    METRICS_PORT: int | None = option(
        None,
        PORT,
        "port on which metrics for Prometheus are served",
        none="none are",
        metavar="PORT",
    )
    METRICS_ADDRESS: str = option("127.0.0.1", ADDRESS, "address of that port")
    KEEPALIVE: bool = option(True, SWITCH, "replace a process that ends")
    GRACE: float | None = same_as(RunnerOptions, "grace")
    MAX_JOBS: int | None = same_as(RunnerOptions, "max_jobs")
    MAX_MEMORY: int | None = same_as(RunnerOptions, "max_memory")
    RECYCLE_AFTER_TIMEOUT: bool = same_as(RunnerOptions, "recycle_after_timeout")
    MAX_CRASHES: int | None = same_as(RunnerOptions, "max_crashes")
    CRASH_WINDOW: float = same_as(RunnerOptions, "crash_window")
    MAX_DEATHS: int | None = same_as(RunnerOptions, "max_deaths")
    STALL_TIMEOUT: float | None = same_as(RunnerOptions, "stall_timeout")
    POOLS: Mapping[str, Mapping[str, Any]] = option(
        {}, check_pools, "workers with processes of their own, and the options of these, by pool"
    )
    HEALTH_FILE: str | PurePath | None = same_as(RunnerOptions, "health_file")
    HEALTH_TOKEN: str | None = option(
        None,
        _check_token,
        "lets in whoever asks the page of `gearmanny.contrib.django.health`",
        none="there is no such page",
        repr=False,
    )
    EMBEDDED: bool = option(
        False, SWITCH, "start a job server for development if none is listening"
    )
    EAGER: bool = option(False, SWITCH, "for tests: run jobs where they are called")
    LIVE_IN_TESTS: bool = option(
        False, SWITCH, "let tests call real job servers, though nothing prepared them"
    )
    MASK: Sequence[str] = option(list(MASK), check_mask, options_of(WorkerOptions)["mask"].help)
    RECORDS: RecordsSettings = RecordsSettings()
    CACHE: CacheSettings = CacheSettings()

    def hooks(self) -> tuple[Hook, ...]:
        """Returns the hooks themselves. They are imported here, not where a client needs the
        settings.

        Raises:
            ImproperlyConfigured: one cannot be imported, or is not a hook.
        """
        try:
            return check_hooks([_hook(hook) for hook in self.HOOKS])
        except InvalidOption as error:
            raise ImproperlyConfigured(f"{NAME}['HOOKS']: {error}") from error

    def for_runner(self) -> dict[str, Any]:
        """Returns the arguments of a `WorkRunner` that are settings as they are."""
        names = [*options_of(WorkerOptions), *options_of(RunnerOptions)]
        given = {name: getattr(self, name.upper()) for name in names if hasattr(self, name.upper())}
        return {
            **given,
            "keep": self.RECORDS.keep,
            "max_result": self.RECORDS.MAX_RESULT,
            "forget_arguments": self.RECORDS.ARGUMENTS == "forget",
        }


_NESTED: dict[str, type] = {"RECORDS": RecordsSettings, "CACHE": CacheSettings}
"""The keys whose values are dicts, too."""


def _hook(hook: Hook | str) -> Hook:
    if not isinstance(hook, str):
        return hook
    try:
        found: Hook = import_string(hook)
    except Exception as error:
        raise ImproperlyConfigured(
            f"{NAME}['HOOKS']: {hook!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return found


@functools.cache
def get_settings() -> Settings:
    """Returns the current settings.

    Raises:
        ImproperlyConfigured: GEARMANNY has an unknown key, or an invalid value.
    """
    given = dict(_mapping(NAME, getattr(django_settings, NAME, {})))
    nested: dict[str, Any] = {
        key: _fill(kind, f"{NAME}[{key!r}]", _mapping(f"{NAME}[{key!r}]", given.pop(key, {})))
        for key, kind in _NESTED.items()
    }
    settings = _fill(Settings, NAME, {**given, **nested})
    try:
        for key, inner in nested.items():
            check_options(inner, naming=f"{NAME}[{key!r}][{{!r}}]")
        check_options(settings, naming=f"{NAME}[{{!r}}]")
    except InvalidOption as error:
        raise ImproperlyConfigured(str(error)) from error
    return settings


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        get_settings.cache_clear()


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(f"{name} must be a dict, not {type(value).__name__}.")
    return value


def _fill(kind: type[T], name: str, given: Mapping[str, Any]) -> T:
    known = [known_field.name for known_field in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise ImproperlyConfigured(f"{name} has no key {key!r}. It has {', '.join(known)}.")
    return kind(**given)
