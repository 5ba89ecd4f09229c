"""The Django app: `"gearmanny.contrib.django"` in INSTALLED_APPS, `GEARMANNY` in the settings.

`client`, `async_client`, `raw_client`, `aio_client` and `cachewrap` may be imported anywhere, also
before the settings are configured: they read them, and connect, on first use.
"""

from gearmanny.contrib.django.clients import (
    aio_client,
    async_client,
    cachewrap,
    client,
    raw_client,
)

__all__ = ["aio_client", "async_client", "cachewrap", "client", "raw_client"]
