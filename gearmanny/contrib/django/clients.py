"""`client`, `async_client`, `raw_client`, `aio_client`, `cachewrap`: made on first use, as the
settings say."""

from __future__ import annotations

import abc
import functools
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from gearmanny.blocking.client import Client
from gearmanny.client import AsyncClient, RawClient, SimpleClient
from gearmanny.contrib.django import guard  # noqa: F401  registers itself

if TYPE_CHECKING:
    import asyncio

    from gearmanny.aio import AioClient
    from gearmanny.eager.joined import Eager
    from gearmanny.helpers.cache_mongodb import Cachewrap, MongoCache

B = TypeVar("B", bound=Client)
C = TypeVar("C", bound="Client | AioClient")


class _Configured(abc.ABC, Generic[C]):
    """Stands for a client until one is needed; after a change of the settings, for a new one."""

    def __init__(self, kind: type[C], name: str = "") -> None:
        """
        Args:
            kind: the class of the client.
            name: of the variable of this module that refers to this object, if any does.
        """
        self._kind = kind
        self._name = name
        self._made: tuple[object, C] | None = None
        self._making = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        # Before the settings are touched: whoever inspects a module asks for such names.
        if name.startswith("_"):
            raise AttributeError(f"{self._kind.__name__!r} object has no attribute {name!r}")
        return getattr(self._client(), name)

    def __reduce__(self) -> str:
        # Copied and pickled as what it is: the one object of that name, in every process.
        return self._name

    def __repr__(self) -> str:
        made = f": {self._made[1]!r}" if self._made else ", not used yet"
        return f"<{self._kind.__name__} as the settings say{made}>"

    def _client(self) -> C:
        # Imported here: this module must be importable before the settings are configured.
        from gearmanny.contrib.django.encoding import DjangoJSONDataEncoder  # noqa: PLC0415
        from gearmanny.contrib.django.settings import get_settings  # noqa: PLC0415
        from gearmanny.contrib.django.store import get_store  # noqa: PLC0415

        settings = get_settings()
        with self._making:
            if self._made is None or self._made[0] != settings:
                if self._made is not None:
                    self._close(self._made[1])
                store = get_store()
                made = self._kind(
                    settings.HOSTS,
                    timeout=settings.TIMEOUT,
                    data_encoder=None if self._kind._takes_payload else DjangoJSONDataEncoder,
                    max_packet=settings.MAX_PACKET,
                    tls=settings.TLS,
                    records=store,
                    headers=None if store is None else settings.RECORDS.new_headers(),
                )
                self._made = settings, made
                if settings.EAGER:
                    self._run_jobs_here(made)
            return self._made[1]

    def _run_jobs_here(self, made: C) -> None:
        from gearmanny.contrib.django.eager import new_eager, project_workers  # noqa: PLC0415

        eager = new_eager()
        self._stand_in(made, eager)
        try:
            eager.add(*project_workers())  # whose setUp() may call with this client
        except BaseException:
            self._made = None
            raise

    @abc.abstractmethod
    def _stand_in(self, made: C, eager: Eager) -> None:
        """Lets a client run its jobs itself."""

    @abc.abstractmethod
    def _close(self, made: C) -> None:
        """Closes a client that was replaced."""


class _Blocking(_Configured[B]):
    def __enter__(self) -> B:
        return self._client().__enter__()

    def __exit__(self, *exc_info: Any) -> None:
        self._client().__exit__(*exc_info)

    def _stand_in(self, made: B, eager: Eager) -> None:
        from gearmanny.eager.joined import EagerDialer  # noqa: PLC0415

        made._connections.dial_with(EagerDialer(eager))

    def _close(self, made: B) -> None:
        made.close()


class _OfOneLoop(_Configured["AioClient"]):
    def _stand_in(self, made: AioClient, eager: Eager) -> None:
        from gearmanny.eager.aio import AioEagerDialer  # noqa: PLC0415

        made._connections.dial_with(AioEagerDialer(eager))

    def _close(self, made: AioClient) -> None:
        import asyncio  # noqa: PLC0415

        # Kept, as a task to which nobody refers may vanish before it ran.
        self._closing = asyncio.get_running_loop().create_task(made.close())


class _OfEachLoop:
    """Stands for an `AioClient` of the event loop that runs where it is used."""

    def __init__(self) -> None:
        self._clients: dict[asyncio.AbstractEventLoop, _OfOneLoop] = {}
        self._making = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"'AioClient' object has no attribute {name!r}")
        return getattr(self._client(), name)

    def __reduce__(self) -> str:
        return "aio_client"

    def __repr__(self) -> str:
        return "<AioClient as the settings say, of each event loop>"

    async def __aenter__(self) -> AioClient:
        return self._client()

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client().close()

    def _client(self) -> AioClient:
        import asyncio  # noqa: PLC0415  a project without coroutines has no use for it

        from gearmanny.aio import AioClient  # noqa: PLC0415

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "aio_client is for coroutines, such as async views. Use client or async_client."
            ) from None
        with self._making:
            if loop not in self._clients:
                # Where a request has an event loop of its own, the loops of others have ended.
                self._clients = {
                    each: made for each, made in self._clients.items() if not each.is_closed()
                }
                self._clients[loop] = _OfOneLoop(AioClient)
            return self._clients[loop]._client()


client = cast("SimpleClient", _Blocking(SimpleClient, "client"))
"""A `SimpleClient`, as the settings say."""

async_client = cast("AsyncClient", _Blocking(AsyncClient, "async_client"))
"""An `AsyncClient`, as the settings say."""

raw_client = cast("RawClient", _Blocking(RawClient, "raw_client"))
"""A `RawClient`, as the settings say: for functions that do not use JSON."""

aio_client = cast("AioClient", _OfEachLoop())
"""An `AioClient`, as the settings say: for coroutines, one for each event loop."""


@functools.lru_cache(maxsize=1)
def _cache_for(settings: Any, is_eager: bool) -> MongoCache:
    from gearmanny.contrib.django.connections import closed_afterwards  # noqa: PLC0415
    from gearmanny.helpers.cache_mongodb import MongoCache  # noqa: PLC0415  needs an extra

    return MongoCache(
        host=settings.HOST,
        dbname=settings.DBNAME,
        collection=settings.COLLECTION,
        DEBUG=settings.DEBUG,
        returnvalue_washer=settings.washer(),
        json_encoder=settings.json_encoder(),
        timeout=settings.TIMEOUT,
        stale_days=settings.STALE_DAYS,
        lease=settings.LEASE,
        enabled=settings.ENABLED,
        is_eager=is_eager,
        around_refresh=closed_afterwards,
    )


def get_cache() -> MongoCache:
    """Returns the cache that the settings describe.

    Raises:
        ImproperlyConfigured: the settings are invalid.
        ImportError: pymongo is not installed.
    """
    from gearmanny.contrib.django.settings import get_settings  # noqa: PLC0415

    settings = get_settings()
    return _cache_for(settings.CACHE, settings.EAGER)


def _cachewrap(unique_name: str, max_days_age: float = 1, **options: Any) -> Any:
    """Caches what a function or a task method returns, in the MongoDB of `GEARMANNY["CACHE"]`.

    Args:
        unique_name: the name of the cached answers, distinct for every function.
        max_days_age: days for which an answer is used.
        options: those of the `cachewrap` of `gearmanny.helpers.cache_mongodb.cacheBuilder`.

    Returns:
        A decorator.

    Raises:
        InvalidOption: a value is invalid.
    """
    from gearmanny.helpers.cache_mongodb import cached_by  # noqa: PLC0415  needs an extra

    return cached_by(get_cache)(unique_name, max_days_age, **options)


cachewrap = cast("Cachewrap", _cachewrap)
"""The `cachewrap` of the cache that the settings describe."""
