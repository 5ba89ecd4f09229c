"""Typed calls: a class is the interface of a worker. See docs/calls.md."""

from gearmanny.tasks.interface import AioRemote, Interface, Remote
from gearmanny.tasks.options import task

__all__ = ["AioRemote", "Interface", "Remote", "task"]
