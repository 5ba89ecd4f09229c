"""Run by the tests of little memory, as a program of its own: memory_script.py WHAT ROOM HOST

WHAT is `worker`, `client`, `aio` or `server`; ROOM the MiB that it may take once it has begun.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, RawClient, SimpleClient
from gearmanny.embedded import JobServer
from gearmanny.errors import EncodingError
from gearmanny.vocabulary.gearman_api import DataEncoder
from gearmanny.worker import BaseWorker, RawWorker
from gearmanny.workrunner import WorkRunner
from tests.support.memory import MIB, limit_memory


class Heavy(BaseWorker):
    name = "heavy"

    def task_pid(self) -> int:
        return os.getpid()

    def task_length(self, text: str) -> int:
        return len(text)

    def task_grow(self, size: int) -> str:
        return "x" * size

    def task_fill(self) -> None:
        kept, size = [b""], MIB
        while True:
            try:
                kept.append(bytes(size))
            except MemoryError:
                size //= 2
                if not size:
                    raise

    def task_raise(self, size: int) -> None:
        raise ValueError("x" * size)

    async def task_later(self, text: str) -> int:
        return len(text)


class HeavyRaw(BaseWorker):
    name = "raw"
    work_class = RawWorker

    def task_length(self, data: bytes) -> bytes:
        return b"%d" % len(data)

    def task_grow(self, data: bytes) -> bytes:
        return bytes(int(data))


class Zeros(DataEncoder):
    """Sends as many bytes as it is told to."""

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        return bytes(encodable_object["size"])

    @classmethod
    def decode(cls, decodable_string: bytes) -> Any:
        return decodable_string


def run_worker(host: str) -> None:
    WorkRunner([Heavy, HeavyRaw], hosts=[host]).start()


def run_client(host: str) -> None:
    """Calls for more than there is memory for, then for little, on the same connection."""
    with SimpleClient([host], timeout=60) as client, RawClient([host], timeout=60) as raw:
        assert client.big_length(text="abc") == 3
        before = client._connections
        told(lambda: client.big_grow(size=80 * MIB))
        told(lambda: client.big_length(text="x" * (30 * MIB)))
        assert client.big_length(text="abc") == 3
        assert client._connections is before
        # Once in memory, and sent without a second copy.
        assert raw.call("bigraw_length", b"x" * (40 * MIB)) == b"%d" % (40 * MIB)
    with AsyncClient([host]) as work_client:
        works = [work_client.big_grow(size=size) for size in (3, 80 * MIB, 4)]
        assert works[0].get_result(60) == "xxx"
        told(lambda: works[1].get_result(60))
        assert works[2].get_result(60) == "xxxx"


async def run_aio(host: str) -> None:
    async with AioClient([host], timeout=60) as client:
        small, large, other = await asyncio.gather(
            *(client.big_grow(size=size) for size in (3, 80 * MIB, 4)), return_exceptions=True
        )
        assert (small, other) == ("xxx", "xxxx")
        assert isinstance(large, EncodingError), repr(large)
        assert "not enough memory" in str(large)
    async with AioClient([host], timeout=60, data_encoder=Zeros) as client:
        assert await client.call("bigraw_length", size=40 * MIB) == b"%d" % (40 * MIB)


def told(call: Any) -> None:
    try:
        call()
    except EncodingError as error:
        assert "not enough memory" in str(error), error
    else:
        raise AssertionError("that was enough memory")


def main(what: str, room: str, host: str) -> None:
    if what == "server":
        with JobServer(int(host.rpartition(":")[2])):
            limit_memory(int(room) * MIB)
            sys.stdin.read()
        return
    limit_memory(int(room) * MIB)
    if what == "worker":
        run_worker(host)
    elif what == "client":
        run_client(host)
    else:
        asyncio.run(run_aio(host))


if __name__ == "__main__":
    main(*sys.argv[1:])
