import time

import jobs
from django.db import transaction
from django_tasks import task


@task()
def add(a, b):
    return jobs.add(a, b)


@task()
def write(value):
    with transaction.atomic():
        jobs.write(value)


@task()
def seen():
    jobs.seen()


TASKS = {"add": add, "write": write, "seen": seen}


def enqueue(name, **arguments):
    return TASKS[name].enqueue(**arguments)


def result(job):
    while not job.is_finished:
        time.sleep(0.002)
        job.refresh()
    return job.return_value
