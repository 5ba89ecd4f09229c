"""Signals about jobs, sent in the process that runs them.

The sender of each is the class of the worker, and `job` is the job: its function is `job.function`,
its arguments are `job.data`, and the number of the attempt is `job.attempt`. An error of a receiver
is logged, by Django's logger `django.dispatch`, and does not hurt the job.
"""

from django.dispatch import Signal

__all__ = ["job_failed", "job_started", "job_succeeded"]

job_started = Signal()
"""An attempt at a job begins. Arguments: `job`."""

job_succeeded = Signal()
"""A job has its result. Arguments: `job`."""

job_failed = Signal()
"""An attempt at a job has failed, or the job was refused before it began. Arguments: `job`;
`exception`; and `will_retry`, which is False once for a job that fails for good, and True for the
attempts before."""
