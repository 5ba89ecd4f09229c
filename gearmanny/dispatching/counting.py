"""Jobs that were taken back from dead processes: counted by whoever listens."""

from __future__ import annotations

from collections.abc import Callable

from gearmanny.records.values import Returned

Listener = Callable[[Returned], object]

listeners: list[Listener] = []
"""Called with every job that this process took back."""
