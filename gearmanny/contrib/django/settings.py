"""The setting `GEARMANNY`: one dict, read on use and again when it changes.

======================  =======================================================  ==================
key                     meaning                                                  default
======================  =======================================================  ==================
`HOSTS`                 job servers, `"name:port"`                               localhost:4730
`TIMEOUT`               seconds that `client` waits for an answer; None: ever    60
`THREADS`               processes of `runworkers` for each `work_class`          1
`PREFETCH`              jobs that a process holds; None: as the workers say      None
`KEEPALIVE`             whether `runworkers` replaces a process that ends        True
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from gearmanny.errors import InvalidOption
from gearmanny.transport import HOSTS, Deadline, parse_hosts
from gearmanny.worker import check_prefetch

NAME = "GEARMANNY"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """`GEARMANNY["CACHE"]`."""

    HOST: str = "mongodb://localhost:27017/"
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
    KEEPALIVE: bool = True
    EAGER: bool = False
    CACHE: CacheSettings = CacheSettings()


@functools.cache
def get_settings() -> Settings:
    """Returns the current settings.

    Raises:
        ImproperlyConfigured: GEARMANNY has an unknown key, or a value that cannot be.
    """
    given = dict(_mapping(NAME, getattr(django_settings, NAME, {})))
    cache = _fill(CacheSettings, f"{NAME}['CACHE']", _mapping("CACHE", given.pop("CACHE", {})))
    settings = _fill(Settings, NAME, {**given, "CACHE": cache})
    for key, check in (("HOSTS", parse_hosts), ("TIMEOUT", Deadline), ("PREFETCH", check_prefetch)):
        value = getattr(settings, key)
        try:
            if value is not None or key == "HOSTS":
                check(value)
        except InvalidOption as error:
            raise ImproperlyConfigured(f"{NAME}[{key!r}]: {error}") from error
    if not isinstance(settings.EAGER, bool):
        raise ImproperlyConfigured(f"{NAME}['EAGER'] is True or False, not {settings.EAGER!r}.")
    threads = settings.THREADS
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise ImproperlyConfigured(
            f"{NAME}['THREADS'] is a number of processes, at least 1, not {threads!r}."
        )
    return settings


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        get_settings.cache_clear()


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(f"{name} is a dict, not {value!r}.")
    return value


def _fill(kind: type[T], name: str, given: Mapping[str, Any]) -> T:
    known = [known_field.name for known_field in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise ImproperlyConfigured(f"{name} has no key {key!r}. It has {', '.join(known)}.")
    return kind(**given)
