"""Cache backends that are closed in other ways than most."""

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache


class Unclosed(PyMemcacheCache):
    """Keeps its connection, as the backend for pylibmc does."""

    def close(self, **kwargs):
        pass


class Failing(LocMemCache):
    """Cannot be closed."""

    def close(self, **kwargs):
        raise OSError("as told")
