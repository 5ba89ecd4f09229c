import jobs
from celery_app import app
from django.db import transaction


@app.task
def add(a, b):
    return jobs.add(a, b)


@app.task
def write(value):
    with transaction.atomic():
        jobs.write(value)


@app.task
def seen():
    jobs.seen()


TASKS = {"add": add, "write": write, "seen": seen}


def enqueue(name, **arguments):
    task = TASKS[name]
    if transaction.get_connection().in_atomic_block:
        return task.delay_on_commit(**arguments)
    return task.delay(**arguments)


def result(job):
    return job.get(timeout=60, interval=0.002)
