"""The asyncio client: the same names and options as those of the blocking ones.

There are no threads. A connection is an asyncio protocol that feeds
`protocol.client`; everything happens in the event loop of who calls. Only
asyncio itself looks up the names of hosts in a thread.
"""

from __future__ import annotations

from gearmanny.aio.client import AioClient
from gearmanny.aio.results import AioWorkResult
from gearmanny.calling.values import Data, JobState, JobStatus, Progress, Warning

__all__ = [
    "AioClient",
    "AioWorkResult",
    "Data",
    "JobState",
    "JobStatus",
    "Progress",
    "Warning",
]
