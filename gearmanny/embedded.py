"""A job server of our own inside a process. See docs/embedded.md."""

from gearmanny.serving.embedded import JobServer

__all__ = ["JobServer"]
