"""Errors for visitors: an HTTP status, and a sentence."""

from __future__ import annotations

from gearmanny.errors import (
    GearmanException,
    InvalidOption,
    JobServerError,
    JobServerUnavailable,
    StoreUnavailable,
    TaskError,
    TaskTimeout,
)


class BadInput(ValueError):
    """The request is invalid."""


def status_of(error: BadInput | GearmanException) -> int:
    """Returns the HTTP status of an error."""
    match error:
        case BadInput():
            return 400
        case TaskError(type="corpus.packages.PackageNotFound"):
            return 404
        case JobServerUnavailable() | JobServerError() | StoreUnavailable():
            return 503
        case TaskTimeout():
            return 504
        case InvalidOption():
            return 500
        case _:
            return 502


def explain(error: BadInput | GearmanException) -> str:
    """Returns a sentence that says what happened."""
    if isinstance(error, TaskError) and error.message:
        return error.message  # they did not call a function, and know of no exceptions
    return str(error)
