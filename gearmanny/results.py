"""Work objects, and waiting for several of them."""

from gearmanny.blocking.results import WorkResult, as_completed, wait
from gearmanny.calling.values import Data, Progress, Warning

__all__ = ["Data", "Progress", "Warning", "WorkResult", "as_completed", "wait"]
