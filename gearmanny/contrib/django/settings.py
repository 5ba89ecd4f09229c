"""The setting `GEARMANNY`: one dict, read on use and again when it changes.

======================  =======================================================  ==================
key                     meaning                                                  default
======================  =======================================================  ==================
`HOSTS`                 job servers, `"name:port"`                               localhost:4730
`TIMEOUT`               seconds that `client` waits for an answer; None: ever    60
`THREADS`               processes of `runworkers` for each `work_class`          1
`PREFETCH`              jobs that a process holds; None: as the workers say      None
`CONCURRENCY`           `async def` jobs of a process; None: as the workers say  None
`MAX_PACKET`            bytes of the longest packet, of clients and workers      256 MiB
`TLS`                   how job servers are secured, as `SimpleClient` takes it  None
`HOOKS`                 hooks around every job of `runworkers`, or their paths   `[HYGIENE]`
`METRICS_PORT`          port on which `runworkers` serves metrics; None: none    None
`METRICS_ADDRESS`       address of that port                                     127.0.0.1
`KEEPALIVE`             whether `runworkers` replaces a process that ends        True
`GRACE`                 seconds to finish a job when told to stop; None: any     600
`MAX_JOBS`              jobs after which a process is recycled; None: never      None
`MAX_MEMORY`            MiB with which a process is recycled; None: never        None
`MAX_CRASHES`           bad ends of a process that make `runworkers` give up     7
`CRASH_WINDOW`          seconds within which they fall                           60
`EMBEDDED`              `runworkers` starts a job server where none listens      False
`EAGER`                 for tests: calls run where they are made, no job server  False
`CACHE`                 a dict with the keys below                               {}
======================  =======================================================  ==================

======================  =======================================================  ==================
key of `CACHE`          meaning                                                  default
======================  =======================================================  ==================
`HOST`                  URI of the MongoDB server                                localhost:27017
`DBNAME`                its database                                             GEARMANCACHE
`COLLECTION`            its collection                                           gearman_cache_table
`DEBUG`                 whether hits, misses and writes are logged               False
`RETURNVALUE_WASHER`    cleans answers: a function, or the dotted path of one    None
======================  =======================================================  ==================
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from gearmanny.errors import InvalidOption
from gearmanny.hooks import Hook, check_hooks
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import HOSTS, parse_hosts
from gearmanny.net.tls import TLS, TLSOption
from gearmanny.payload.checks import check_count
from gearmanny.payload.sizes import MAX_PACKET, check_max_packet
from gearmanny.running.limits import Limits
from gearmanny.worker import check_concurrency, check_prefetch

NAME = "GEARMANNY"

HYGIENE = "gearmanny.contrib.django.hooks.healthy_connections"
"""The hook that does around a job what Django does around a request."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """`GEARMANNY["CACHE"]`."""

    HOST: str = field(default="mongodb://localhost:27017/", repr=False)  # may hold a password
    DBNAME: str = "GEARMANCACHE"
    COLLECTION: str = "gearman_cache_table"
    DEBUG: bool = False
    RETURNVALUE_WASHER: Callable[[Any], Any] | str | None = None

    def washer(self) -> Callable[[Any], Any] | None:
        """Returns the function itself. Raises ImportError when its path leads nowhere."""
        washer = self.RETURNVALUE_WASHER
        found: Callable[[Any], Any] | None = (
            import_string(washer) if isinstance(washer, str) else washer
        )
        return found


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`GEARMANNY`."""

    HOSTS: list[str] = field(default_factory=lambda: list(HOSTS))
    TIMEOUT: float | None = 60
    THREADS: int = 1
    PREFETCH: int | None = None
    CONCURRENCY: int | None = None
    MAX_PACKET: int = MAX_PACKET
    TLS: TLSOption = None
    HOOKS: Sequence[Hook | str] = field(default_factory=lambda: [HYGIENE])
    METRICS_PORT: int | None = None
    METRICS_ADDRESS: str = "127.0.0.1"
    KEEPALIVE: bool = True
    GRACE: float | None = Limits.grace
    MAX_JOBS: int | None = Limits.max_jobs
    MAX_MEMORY: int | None = Limits.max_memory
    MAX_CRASHES: int | None = Limits.max_crashes
    CRASH_WINDOW: float = Limits.crash_window
    EMBEDDED: bool = False
    EAGER: bool = False
    CACHE: CacheSettings = CacheSettings()

    def hooks(self) -> tuple[Hook, ...]:
        """Returns the hooks themselves. They are imported here, not where a client needs the
        settings.

        Raises:
            ImproperlyConfigured: one cannot be imported, or cannot be a hook.
        """
        try:
            return check_hooks([_hook(hook) for hook in self.HOOKS])
        except InvalidOption as error:
            raise ImproperlyConfigured(f"{NAME}['HOOKS']: {error}") from error


def _check_hooks(hooks: object) -> None:
    if isinstance(hooks, (list, tuple)):  # paths are followed where the hooks are needed
        hooks = [hook for hook in hooks if not isinstance(hook, str)]
    check_hooks(hooks)


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


def _check_metrics_port(port: object) -> None:
    if port is not None and (
        not isinstance(port, int) or isinstance(port, bool) or not 1 <= port < 2**16
    ):
        raise InvalidOption(f"A port is a number from 1 to 65535, or None, not {port!r}.")


def _check_prefetch(prefetch: object) -> None:
    if prefetch is not None:
        check_prefetch(prefetch)


def _check_concurrency(concurrency: object) -> None:
    if concurrency is not None:
        check_concurrency(concurrency)


def _check_switch(value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidOption(f"it is True or False, not {value!r}.")


_CHECKS: dict[str, Callable[[Any], object]] = {
    "HOSTS": parse_hosts,
    "TIMEOUT": Deadline,
    "THREADS": lambda threads: check_count("threads", "processes", threads),
    "PREFETCH": _check_prefetch,
    "CONCURRENCY": _check_concurrency,
    "MAX_PACKET": check_max_packet,
    "TLS": TLS.of,
    "HOOKS": _check_hooks,
    "METRICS_PORT": _check_metrics_port,
    "GRACE": lambda grace: Limits(grace=grace),
    "MAX_JOBS": lambda jobs: Limits(max_jobs=jobs),
    "MAX_MEMORY": lambda memory: Limits(max_memory=memory),
    "MAX_CRASHES": lambda crashes: Limits(max_crashes=crashes),
    "CRASH_WINDOW": lambda window: Limits(crash_window=window),
    "EMBEDDED": _check_switch,
    "EAGER": _check_switch,
}


@functools.cache
def get_settings() -> Settings:
    """Returns the current settings.

    Raises:
        ImproperlyConfigured: GEARMANNY has an unknown key, or a value that cannot be.
    """
    given = dict(_mapping(NAME, getattr(django_settings, NAME, {})))
    cache = _fill(CacheSettings, f"{NAME}['CACHE']", _mapping("CACHE", given.pop("CACHE", {})))
    settings = _fill(Settings, NAME, {**given, "CACHE": cache})
    for key, check in _CHECKS.items():
        try:
            check(getattr(settings, key))
        except InvalidOption as error:
            raise ImproperlyConfigured(f"{NAME}[{key!r}]: {error}") from error
    return settings


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        get_settings.cache_clear()


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(f"{name} is a dict, not {type(value).__name__}.")
    return value


def _fill(kind: type[T], name: str, given: Mapping[str, Any]) -> T:
    known = [known_field.name for known_field in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise ImproperlyConfigured(f"{name} has no key {key!r}. It has {', '.join(known)}.")
    return kind(**given)
