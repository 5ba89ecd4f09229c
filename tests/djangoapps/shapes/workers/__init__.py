"""Imports of all kinds, beside the modules of the package."""

from gearmanny.worker import RawWorker  # noqa: F401
from tests.djangoapps.good.workers import Good  # noqa: F401  as code that calls it does

from .mail import Mail  # noqa: F401
