"""The background calls that were made in eager mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.options import CallOptions
from gearmanny.protocol.client import Request


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A background call that was made in eager mode."""

    function: str
    """The Gearman function, `"myworker_add"`."""
    arguments: dict[str, Any]
    """As they arrive at a worker: encoded and decoded again."""
    unique: str
    """The unique id of the job."""
    options: CallOptions
    """The options of the call, as `using()` set them."""


outbox: list[Sent] = []
"""The background calls that were made in eager mode, as Django's `mail.outbox` has the mails."""


def keep(call: Call[Any], request: Request) -> None:
    """Keeps a call in the outbox when it is one for the background."""
    if request.background:
        arguments, unique = call.decode(request.payload), request.unique.decode()
        outbox.append(
            Sent(function=call.function, arguments=arguments, unique=unique, options=call.options)
        )
