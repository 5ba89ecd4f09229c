"""Small drawings in the pages: SVG, without styles of its own, which strict policies forbid."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

from gearmanny.records.states import State
from gearmanny.records.summaries import Run

WIDTH, HEIGHT = 72, 18
"""Size of a drawing, in pixels."""

_BAR = 3


def line_through(numbers: Sequence[int]) -> SafeString:
    """Returns a line through numbers, the newest at its end.

    Args:
        numbers: two or more, of which one is above 0.
    """
    step, most = WIDTH / (len(numbers) - 1), max(numbers)
    points = " ".join(
        f"{index * step:.1f},{_height(number, most):.1f}" for index, number in enumerate(numbers)
    )
    return _drawing(", ".join(map(str, numbers)), format_html('<polyline points="{}"/>', points))


def bars(runs: Sequence[Run]) -> SafeString:
    """Returns a bar for each job, as high as it took long.

    Args:
        runs: the jobs, the newest at the end.
    """
    most = max(run.seconds for run in runs) or 1.0
    tops = [_height(run.seconds, most) for run in runs]
    shapes = format_html_join(
        "",
        '<rect class="gm-{}" x="{}" y="{}" width="{}" height="{}"/>',
        (
            (run.state.value, index * (_BAR + 1), f"{top:.1f}", _BAR, f"{HEIGHT - top:.1f}")
            for index, (run, top) in enumerate(zip(runs, tops, strict=True))
        ),
    )
    failed = sum(run.state is State.FAILED for run in runs)
    text = ngettext("%(number)d job", "%(number)d jobs", len(runs)) % {"number": len(runs)}
    text += ngettext(", %(number)d failed", ", %(number)d failed", failed) % {"number": failed}
    return _drawing(text, shapes)


def _height(number: float, most: float) -> float:
    return HEIGHT - 1 - (HEIGHT - 2) * number / most


def _drawing(text: str, shapes: SafeString) -> SafeString:
    return format_html(
        '<svg class="gm-spark" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" '
        'aria-label="{2}">{3}</svg>',
        *(WIDTH, HEIGHT, text, shapes),
    )
