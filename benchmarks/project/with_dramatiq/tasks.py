import dramatiq
import jobs

seen = dramatiq.actor(jobs.seen)


def enqueue(name):
    seen.send()
