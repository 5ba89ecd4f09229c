import jobs

from gearmanny.contrib.django import client
from gearmanny.worker import BaseWorker, task

background = client.using(background=True)


class Bench(BaseWorker):
    name = "bench"

    def task_add(self, a: int, b: int) -> int:
        return jobs.add(a, b)

    @task(atomic=True)
    def task_write(self, value: int) -> None:
        jobs.write(value)

    def task_seen(self) -> None:
        jobs.seen()


def enqueue(name, **arguments):
    return getattr(background, f"bench_{name}")(**arguments)


def enqueue_many(name, arguments):
    client.submit_many(f"bench_{name}", arguments)


def result(work):
    return work.get_result(timeout=60)
