"""The README's sentence on speed, made of the figures of RESULTS.md."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

_ROUND_TRIPS, _BATCH = "round trips, one at a time", "batch of 1,000"
_PEERS = ["Celery", "Dramatiq", "Huey", "RQ"]
_WIDTH = 110

_PARAGRAPH = re.compile(r"^One worker process\b.*?(?=\n\n|\n\Z)", re.DOTALL | re.MULTILINE)

_MORE = (
    "Figures: [RESULTS.md](benchmarks/RESULTS.md), and of recorded jobs "
    "[DURABLE.md](benchmarks/DURABLE.md)."
)


def speed(results: str) -> str:
    """Returns the sentence.

    Args:
        results: RESULTS.md.

    Raises:
        LookupError: figures that it needs are missing.
    """
    one, many = (
        {peer: 1 / ratio for peer, ratio in ratios(results, title, "gearmanny").items()}
        for title in (_ROUND_TRIPS, _BATCH)
    )
    peers = [peer for peer in _PEERS if peer in one and peer in many]
    names = f"{', '.join(peers[:-1])} and {peers[-1]}"
    return (
        f"One worker process, small JSON jobs, one run: single calls at {one['C']:.2f} × the rate "
        f"of libgearman in C, and at {span(one, peers)} that of {names}; many at a time at "
        f"{span(many, peers)} theirs."
    )


def span(times: dict[str, float], peers: list[str]) -> str:
    found = [times[peer] for peer in peers]
    return f"{min(found):.0f} to {max(found):.0f} ×"


def ratios(results: str, title: str, base: str) -> dict[str, float]:
    """Returns the ratios of the contestants of a row to one of them, from the first table that
    tells them."""
    found: dict[str, float] = {}
    column = 0
    for line in results.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if f"× {base}" in cells:
            column = cells.index(f"× {base}")
        elif not line.startswith("|"):
            column = 0
        if column and cells[0] == title and len(cells) > column and re.match(r"\d", cells[column]):
            found[cells[1]] = float(cells[column])
    return found


def write_speed(results: Path, readme: Path) -> None:
    """Writes the sentence into the README, unless figures that it needs are missing."""
    try:
        sentence = speed(results.read_text(encoding="utf-8"))
    except LookupError:
        print(f"{readme.name} is left as it is: figures are missing", file=sys.stderr)
        return
    text = readme.read_text(encoding="utf-8")
    paragraph = textwrap.fill(f"{sentence} {_MORE}", _WIDTH)
    readme.write_text(_PARAGRAPH.sub(paragraph, text, count=1), encoding="utf-8")
