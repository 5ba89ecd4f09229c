"""The field's peers as contestants, each with Redis, through its public API.

    peers.py celery|dramatiq|huey|rq REDIS_PORT work          one worker process, for ever
    peers.py celery|dramatiq|huey|rq REDIS_PORT roundtrip N   N calls, one at a time
    peers.py celery|dramatiq|huey|rq REDIS_PORT batch N       N calls submitted, then awaited
    peers.py celery|dramatiq|huey|rq REDIS_PORT open RATE SECONDS   an open loop: percentiles, in ms

Runs in a virtual environment of its own, `make bench-peers`. Prints the seconds
that it took. Every answer is checked. Of several ways that a peer offers to run
one worker process, and to wait for an answer, this takes the fastest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import openloop

PATIENCE = 60
"""Seconds."""

Submit = Callable[[], Any]
Await = Callable[[Any], int]
Work = Callable[[], object]


def add(a: int, b: int) -> int:
    return a + b


def celery(url: str) -> tuple[Submit, Await, Work]:
    from celery import Celery

    app = Celery("peers", broker=url, backend=url)
    app.conf.broker_connection_retry_on_startup = True
    task = app.task(name="add")(add)
    options = ["--pool=solo", "--loglevel=ERROR"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return (
        lambda: task.delay(a=1, b=2),
        lambda result: result.get(timeout=PATIENCE),
        lambda: app.worker_main(["worker", *options]),
    )


def dramatiq(url: str) -> tuple[Submit, Await, Work]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker = RedisBroker(url=url)
    broker.add_middleware(Results(backend=RedisBackend(url=url)))
    dramatiq.set_broker(broker)
    actor = dramatiq.actor(add, store_results=True)

    def work() -> None:
        worker = dramatiq.Worker(broker)
        worker.start()
        while True:
            time.sleep(1)

    return (
        lambda: actor.send(a=1, b=2),
        lambda message: message.get_result(block=True, timeout=PATIENCE * 1000),
        work,
    )


def huey(url: str) -> tuple[Submit, Await, Work]:
    from huey import RedisHuey

    app = RedisHuey(url=url, notify_result=True)
    task = app.task()(add)
    return (
        lambda: task(a=1, b=2),
        lambda result: result(blocking=True, timeout=PATIENCE),
        lambda: app.create_consumer(workers=1).run(),
    )


def rq(url: str) -> tuple[Submit, Await, Work]:
    from redis import Redis
    from rq import Queue, SimpleWorker

    connection = Redis.from_url(url)
    queue = Queue(connection=connection)

    def wait(job: Any) -> int:
        result = job.latest_result(timeout=PATIENCE)
        return result.return_value if result else 0

    return (
        lambda: queue.enqueue("peers.add", a=1, b=2),
        wait,
        lambda: SimpleWorker([queue], connection=connection).work(logging_level="ERROR"),
    )


PEERS = {"celery": celery, "dramatiq": dramatiq, "huey": huey, "rq": rq}


def main() -> None:
    name, port, mode, *rest = sys.argv[1:]
    submit, wait, work = PEERS[name](f"redis://127.0.0.1:{port}/0")
    if mode == "work":
        work()
        return
    assert wait(submit()) == 3  # connecting is not part of it

    def call() -> None:
        assert wait(submit()) == 3

    if mode == "open":
        rate, seconds = map(float, rest)
        openloop.tell(openloop.threaded(call, rate, seconds))
        return
    count = int(rest[0])
    started = time.perf_counter()
    if mode == "roundtrip":
        assert all(wait(submit()) == 3 for _ in range(count))
    else:
        submitted = [submit() for _ in range(count)]
        assert all(wait(job) == 3 for job in submitted)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
