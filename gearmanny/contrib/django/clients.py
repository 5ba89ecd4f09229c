"""`client`, `async_client`, `cachewrap`: made on first use, as the settings of the project say."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from gearmanny.client import AsyncClient, Client, SimpleClient

if TYPE_CHECKING:
    from gearmanny.helpers.cache_mongodb import Cachewrap, MongoCache

C = TypeVar("C", bound=Client)


class _Configured(Generic[C]):
    """Stands for a client until one is needed; after a change of the settings, for a new one."""

    def __init__(self, kind: type[C]) -> None:
        self._kind = kind
        self._made: tuple[object, C] | None = None
        self._making = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        # Before the settings are touched: whoever inspects a module asks for such names.
        if name.startswith("_"):
            raise AttributeError(f"{self._kind.__name__!r} object has no attribute {name!r}")
        return getattr(self._client(), name)

    def __enter__(self) -> C:
        return self._client().__enter__()

    def __exit__(self, *exc_info: Any) -> None:
        self._client().__exit__(*exc_info)

    def __repr__(self) -> str:
        made = f": {self._made[1]!r}" if self._made else ", not used yet"
        return f"<{self._kind.__name__} as the settings say{made}>"

    def _client(self) -> C:
        # Imported here: this module must be importable before the settings are configured.
        from gearmanny.contrib.django.encoding import DjangoJSONDataEncoder  # noqa: PLC0415
        from gearmanny.contrib.django.settings import get_settings  # noqa: PLC0415

        settings = get_settings()
        with self._making:
            if self._made is None or self._made[0] != settings:
                if self._made is not None:
                    self._made[1].close()
                made = self._kind(
                    settings.HOSTS,
                    timeout=settings.TIMEOUT,
                    data_encoder=DjangoJSONDataEncoder,
                    max_packet=settings.MAX_PACKET,
                    tls=settings.TLS,
                )
                self._made = settings, made
                if settings.EAGER:
                    self._run_jobs_here(made)
            return self._made[1]

    def _run_jobs_here(self, made: C) -> None:
        from gearmanny.contrib.django.testing import new_eager, project_workers  # noqa: PLC0415

        eager = new_eager()
        made._connections.stand_in = eager.channel
        try:
            eager.add(*project_workers())  # whose setUp() may call with this client
        except BaseException:
            self._made = None
            raise


client = cast("SimpleClient", _Configured(SimpleClient))
"""A `SimpleClient`, as the settings say."""

async_client = cast("AsyncClient", _Configured(AsyncClient))
"""An `AsyncClient`, as the settings say."""


@functools.lru_cache(maxsize=1)
def _cache_for(settings: Any) -> MongoCache:
    from django.core.serializers.json import DjangoJSONEncoder  # noqa: PLC0415

    from gearmanny.helpers.cache_mongodb import MongoCache  # noqa: PLC0415  needs an extra

    return MongoCache(
        host=settings.HOST,
        dbname=settings.DBNAME,
        collection=settings.COLLECTION,
        DEBUG=settings.DEBUG,
        returnvalue_washer=settings.washer(),
        json_encoder=DjangoJSONEncoder,
    )


def _cache() -> MongoCache:
    from gearmanny.contrib.django.settings import get_settings  # noqa: PLC0415

    return _cache_for(get_settings().CACHE)


def _cachewrap(
    unique_name: str, max_days_age: float = 1
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Caches what a function or a task method returns, in the MongoDB of `GEARMANNY["CACHE"]`.

    Args and errors are those of `gearmanny.helpers.cache_mongodb.cacheBuilder`'s `cachewrap`.
    """
    from gearmanny.helpers.cache_mongodb import cached_by  # noqa: PLC0415  needs an extra

    return cached_by(_cache)(unique_name, max_days_age)


cachewrap = cast("Cachewrap", _cachewrap)
