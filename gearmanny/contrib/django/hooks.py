"""What Django does around a request, around a job."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import close_old_connections, reset_queries

from gearmanny.gearman_api import GearmanJob


@contextmanager
def healthy_connections(job: GearmanJob) -> Iterator[None]:
    """Closes database connections that broke or outlived CONN_MAX_AGE, before and after a job,
    also between its attempts, and empties the log of queries, which grows for ever under DEBUG."""
    reset_queries()
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()
