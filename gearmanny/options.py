"""How a call is made: what `client.using(…)` changes."""

from __future__ import annotations

from typing import Any, NamedTuple

from gearmanny.errors import InvalidOption
from gearmanny.transport import Deadline


class CallOptions(NamedTuple):
    """The options of a call. They cannot be changed, only replaced."""

    timeout: float | None = None
    """Seconds that a call waits for its answer; None waits for as long as the job takes."""
    background: bool = False
    """Whether nobody waits for an answer: the job server keeps the job until it is done."""
    idempotent: bool = False
    """Whether a job may run twice: it is sent again when its connection is lost."""

    def changed(self, **changes: Any) -> CallOptions:
        """Returns these options with some of them replaced.

        Raises:
            InvalidOption: there is no such option, or its value cannot be.
        """
        unknown = changes.keys() - set(self._fields)
        if unknown:
            raise InvalidOption(
                f"There is no option {', '.join(sorted(unknown))}. "
                f"There are {', '.join(self._fields)}."
            )
        options = self._replace(**changes)
        Deadline(options.timeout)
        for name in ("background", "idempotent"):
            value = getattr(options, name)
            if not isinstance(value, bool):
                raise InvalidOption(f"{name} is True or False, not {value!r}.")
        return options
