import jobs
from huey.contrib.djhuey import task

seen = task()(jobs.seen)


def enqueue(name):
    seen()
