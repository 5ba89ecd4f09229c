"""Recorded jobs of eager mode: they run when they are handed over, and not before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gearmanny.calling.options import CallOptions
from gearmanny.eager.outbox import Sent, outbox
from gearmanny.net.deadline import NEVER
from gearmanny.net.transport import Connection
from gearmanny.payload.encoding import Encoder, decode
from gearmanny.protocol.client import ClientConnection, Request
from gearmanny.records.contract import Store
from gearmanny.records.ids import Travelling
from gearmanny.records.values import Submitted


def run_recorded(
    connect: Callable[[], Connection],
    store: Store,
    encoder: type[Encoder],
    options: CallOptions,
    jobs: Sequence[Submitted],
) -> None:
    """Hands over recorded jobs to workers that run them at once.

    Args:
        connect: returns a connection to these workers.
        store: has the records.
        encoder: that of the client.
        options: those of the calls.
        jobs: the jobs.
    """
    for job in jobs:
        unique = bytes(Travelling(store.id, job.id, 1))
        found = store.look(job.id)
        if found is not None:
            text = found.arguments
            arguments = decode(encoder, text.encode() if isinstance(text, str) else text)
            outbox.append(
                Sent(
                    function=job.function,
                    arguments=arguments,
                    unique=unique.decode(),
                    options=options,
                )
            )
        machine = ClientConnection()
        machine.submit(job.id, *Request(job.function.encode(), b"", unique, True))
        connect().send(machine.data_to_send(), NEVER)
