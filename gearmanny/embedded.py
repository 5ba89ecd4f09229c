"""The embedded job server. See docs/embedded.md."""

from gearmanny.serving.embedded import JobServer

__all__ = ["JobServer"]
