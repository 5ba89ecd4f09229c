import jobs
from django.db import transaction
from django_q.tasks import async_task
from django_q.tasks import result as wait_for


def add(a, b):
    return jobs.add(a, b)


def write(value):
    with transaction.atomic():
        jobs.write(value)


def seen():
    jobs.seen()


def enqueue(name, **arguments):
    return async_task(f"with_django_q.tasks.{name}", **arguments)


def result(job):
    return wait_for(job, wait=60_000)
