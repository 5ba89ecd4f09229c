"""Hooks: context managers around every job. See docs/hooks.md."""

from gearmanny.errors import RejectJob
from gearmanny.working.hooks import Hook, check_hooks, never_waits

__all__ = ["Hook", "RejectJob", "check_hooks", "never_waits"]
