import django_rq
import jobs
from django.db import transaction
from rq import Queue


def add(a, b):
    return jobs.add(a, b)


def write(value):
    with transaction.atomic():
        jobs.write(value)


def seen():
    jobs.seen()


TASKS = {"add": add, "write": write, "seen": seen}


def enqueue(name, **arguments):
    """Enqueues a job: at the COMMIT, where a transaction is open."""
    return django_rq.get_queue().enqueue(TASKS[name], kwargs=arguments)


def enqueue_many(name, arguments):
    jobs = [Queue.prepare_data(TASKS[name], kwargs=each) for each in arguments]
    transaction.on_commit(lambda: django_rq.get_queue().enqueue_many(jobs))


def result(job):
    return job.latest_result(timeout=60).return_value
