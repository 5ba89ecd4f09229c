"""A bar on a terminal that shows how far a job is."""

from __future__ import annotations

from typing import TextIO

from gearmanny.calling.values import Progress

_WIDTH = 30

_TENTHS = 10


class Bar:
    """A bar that is drawn over itself; where there is no terminal, a line for each tenth."""

    def __init__(self, stream: TextIO) -> None:
        """
        Args:
            stream: where it is drawn.
        """
        self._stream = stream
        self._redraws = stream.isatty()
        self._is_drawn = False
        self._tenth = -1

    def show(self, progress: Progress) -> None:
        """Shows a progress.

        Args:
            progress: as the worker reported it.
        """
        if self._redraws:
            self._stream.write(f"\r\033[K{drawn(progress)}")
            self._is_drawn = True
        else:
            tenth = int((progress.fraction or 0) * _TENTHS)
            if tenth == self._tenth:
                return
            self._tenth = tenth
            self._stream.write(f"{_numbers(progress)}\n")
        self._stream.flush()

    def end(self) -> None:
        """Ends the line of the bar, so that others can follow."""
        if self._is_drawn:
            self._stream.write("\n")
            self._stream.flush()
            self._is_drawn = False


def drawn(progress: Progress) -> str:
    """Returns a bar as text.

    Args:
        progress: what it shows.
    """
    fraction = progress.fraction
    if fraction is None:
        return _numbers(progress)
    full = int(max(fraction, 0.0) * _WIDTH)
    return f"[{'#' * full}{'.' * (_WIDTH - full)}] {_numbers(progress)}"


def _numbers(progress: Progress) -> str:
    fraction = progress.fraction
    if fraction is None:
        return f"{progress.done:g} done"
    return f"{max(fraction, 0.0):4.0%}  {progress.done:g} of {progress.total:g}"
