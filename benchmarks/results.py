"""The lines of a run's results."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from benchmarks.programs import Tell, failure


class Results:
    """The lines of the results: printed, and kept for a file."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failed: list[str] = []
        """The titles of the parts that failed."""

    def tell(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)

    @contextlib.contextmanager
    def part(self, title: str) -> Iterator[Tell]:
        """Begins a part of the results; tells how long it took on stderr. One that fails says so,
        and leaves the others alone."""
        self.tell(f"## {title}")
        self.tell("")
        started = time.monotonic()
        try:
            yield self.tell
        except Exception as error:
            traceback.print_exc()
            self.failed.append(title)
            for line in ("", f"This part {failure(error)}", ""):
                self.tell(line)
        print(f"{title}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    def check(self) -> None:
        """Ends this process with an error if a part failed."""
        if self.failed:
            sys.exit(f"Failed: {', '.join(self.failed)}.")

    def write(self, path: Path, title: str, below: str) -> None:
        """Replaces the figures of a file. What people wrote below a heading stays."""
        written = path.read_text(encoding="utf-8").partition(below) if path.exists() else ()
        text = f"# {title}\n\n" + "\n".join(self.lines) + "\n" + "".join(written[1:])
        path.write_text(text, encoding="utf-8")
