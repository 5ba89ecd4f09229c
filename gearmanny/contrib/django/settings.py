"""The setting `GEARMANNY`: one dict, read on use and again when it changes.

`Settings`, and the classes of `sections.py`, list its keys with their defaults. The flags of
`runworkers` are made of them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import Any, TypeVar

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from gearmanny.contrib.django.sections import NAME, CacheSettings, RecordsSettings
from gearmanny.errors import InvalidOption
from gearmanny.hooks import Hook, check_hooks
from gearmanny.net.hosts import HOSTS, parse_hosts
from gearmanny.net.tls import TLSOption
from gearmanny.payload.checks import (
    ADDRESS,
    PORT,
    SWITCH,
    WAIT,
)
from gearmanny.payload.fields import check_options, option, options_of, same_as
from gearmanny.payload.masking import MASK, check_mask
from gearmanny.running.options import RunnerOptions
from gearmanny.running.pools import PoolOptions, check_pools
from gearmanny.working.options import WorkerOptions

HYGIENE = "gearmanny.contrib.django.hooks.healthy_connections"
"""The hook that does around a job what Django does around a request."""

T = TypeVar("T")

_SHORTEST_TOKEN = 16
"""Characters."""


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
    RECORDS: RecordsSettings = field(default_factory=RecordsSettings)
    CACHE: CacheSettings = field(default_factory=CacheSettings)

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
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise ImproperlyConfigured(f"{name} has no key {key!r}. It has {', '.join(known)}.")
    return kind(**given)
